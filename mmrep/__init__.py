"""mmrep: representation learning for medical multimodal data in JAX."""
