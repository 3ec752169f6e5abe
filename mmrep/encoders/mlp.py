"""The vector encoder, for omics and embeddings that another model made: residual layers (Gorishniy et al. 2021)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmrep.core.types import Encoded
from mmrep.encoders.layers import MLP, Dense, drop_path, dropout, residual_init

Array = jax.Array
INPUT_TAG = 2  # below the blocks' tags


class ResidualMLP(nn.Module):
    """`depth` residual blocks over a vector: x + dropout(down(gelu(up(norm(x))))), then a norm.

    "ResNet" of Gorishniy et al. 2021, section 3.2, with layer norm for batch norm and GELU for ReLU. Its one token is what is pooled.
    input_dropout: share of the input's entries dropped in training, as is usual for omics.
    """

    width: int = 256
    depth: int = 3
    mlp_ratio: float = 2.0
    dropout: float = 0.0
    drop_path: float = 0.0
    input_dropout: float = 0.0
    dtype: Any = jnp.float32
    reads = 1  # axes of one example: its entries

    @nn.compact
    def __call__(self, x: Array, keys: Array | None = None, mask: float | None = None, causal: bool = False) -> Encoded:
        """x: f32[B, D]. Raises ValueError for a bag f32[B, N, D], for a view's `mask` or `causal`."""
        if mask is not None or causal:
            raise ValueError("a vector takes no `mask` of dropped tokens and has no causal form")
        if x.ndim != 2:
            raise ValueError(f"a vector [B, D] is needed, not shape {x.shape}; {{'name': 'bag'}} reads bags [B, N, D]")
        x, out = dropout(x.astype(self.dtype), self.input_dropout, keys, INPUT_TAG), {}
        x = Dense(self.width, self.dtype, name="embed")(x)
        for i in range(self.depth):
            y = nn.LayerNorm(dtype=self.dtype, name=f"norm{i:02d}")(x)
            y = MLP(int(self.mlp_ratio * self.width), self.dtype, residual_init(self.depth), name=f"mlp{i:02d}")(y)
            y = dropout(y, self.dropout, keys, 8 * (i + 1))
            x = x + drop_path(y[:, None], self.drop_path, keys, 8 * (i + 1) + 1)[:, 0]
            out[f"block{i:02d}"] = x
        x = nn.LayerNorm(dtype=self.dtype, name="norm")(x)
        return Encoded(tokens=x[:, None], mask=jnp.ones((len(x), 1), bool), pooled=x, out=out)
