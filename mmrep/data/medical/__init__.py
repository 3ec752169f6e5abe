"""Medical file formats: each reader gives an array and metadata that cannot identify a patient."""
