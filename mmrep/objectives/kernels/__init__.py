"""Memory-linear kernels of the all-pairs losses."""
