"""Raw batch fields to floats, on the device."""

import jax
import jax.numpy as jnp


def to_float(x: jax.Array, mean: float = 0.5, std: float = 0.5) -> jax.Array:
    """u8 or u16 -> f32, scaled to [0, 1], then (x - mean) / std; other dtypes pass through."""
    if x.dtype == jnp.uint8:
        x = x.astype(jnp.float32) / 255.0
    elif x.dtype == jnp.uint16:
        x = x.astype(jnp.float32) / 65535.0
    else:
        return x
    return (x - mean) / std
