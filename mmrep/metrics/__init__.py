"""Pure metric functions on numpy arrays: similarity, geometry, retrieval, classification, intervals."""
