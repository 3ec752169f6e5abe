"""Fusion by cross-attention: one modality's tokens attend to another's in every block (ALBEF, Li 2021)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmrep.core.names import nearest
from mmrep.core.types import Array, Encoded, Net
from mmrep.encoders.layers import Dense, Stack


class CrossAttention(nn.Module):
    """Queries' tokens through blocks of self- and cross-attention."""

    width: int
    depth: int
    heads: int
    remat: bool = False
    scan: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, mask: Array, context: Array, context_mask: Array, causal: bool = False) -> Array:
        """x: f[B, N, D], mask: bool[B, N], context: f[B, M, C], context_mask: bool[B, M] -> f[B, N, width]."""
        x = Dense(self.width, self.dtype, name="embed")(x)
        context = Dense(self.width, self.dtype, name="embed_context")(context)
        attend = mask[:, None, None]
        if causal:
            attend = attend & jnp.tril(jnp.ones((x.shape[1],) * 2, bool))
        return Stack(self.depth, self.heads, remat=self.remat, scan=self.scan, dtype=self.dtype, name="stack")(
            x, attend, None, context, context_mask[:, None, None])[0]


def cross_attention(queries: str = "text", context: str = "image", *, width: int = 128, depth: int = 2,
                    heads: int = 4, remat: bool = False, scan: bool = False, dtype: Any = jnp.float32) -> Net:
    """A net that terms share; apply(params, x, mask, context, context_mask, causal=False) -> f[B, N, width]."""
    module = CrossAttention(width, depth, heads, remat, scan, dtype)

    def init(rng: Array, encoded: dict[str, Encoded]) -> dict:
        for modality in (queries, context):
            if modality not in encoded:
                raise ValueError(f"reads {modality!r}, which no encoder gives; {nearest(modality, encoded)}")
        x, c = (jax.tree.map(lambda s: jnp.zeros((1, *s.shape[1:]), s.dtype), (e.tokens, e.mask))
                for e in (encoded[queries], encoded[context]))
        return module.init(rng, *x, *c)["params"]

    return Net(init, lambda params, *args, **kwargs: module.apply({"params": params}, *args, **kwargs), width)
