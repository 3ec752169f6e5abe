"""The light decoder of masked autoencoding (MAE, He 2022, section 3)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmrep.core.types import Array
from mmrep.encoders.layers import Dense, Stack
from mmrep.encoders.vit import sincos


class MaskedDecoder(nn.Module):
    """Visible tokens, mask tokens and fixed positions through a small transformer to `out` values a token."""

    out: int
    grid: tuple[int, ...]
    width: int = 128
    depth: int = 2
    heads: int = 4
    remat: bool = False
    scan: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: Array, keep: Array) -> Array:
        """tokens: f[B, n, D] of the patches `keep`: i32[B, n] -> f32[B, N, out]."""
        x = Dense(self.width, self.dtype, name="embed")(tokens)
        n = 1
        for g in self.grid:
            n *= g
        hole = self.param("mask", nn.initializers.normal(0.02), (1, 1, self.width)).astype(self.dtype)
        # the place of each patch among the visible ones; a gather shards over rows where a scatter would not
        here = keep[:, None, :] == jnp.arange(n)[:, None]
        x = jnp.where(here.any(-1)[..., None], jnp.take_along_axis(x, here.argmax(-1)[..., None], 1), hole)
        x = x + jnp.asarray(sincos(self.grid, self.width), self.dtype)
        x, _ = Stack(self.depth, self.heads, remat=self.remat, scan=self.scan, dtype=self.dtype, name="stack")(x)
        return Dense(self.out, jnp.float32, name="head")(x)
