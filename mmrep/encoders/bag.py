"""The bag encoder, for tile features of slides: gated attention (Ilse et al. 2018) or a transformer over tiles without positions."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmrep.core.types import Encoded
from mmrep.encoders.layers import INIT, Dense, Pool, Stack, dropout

Array = jax.Array
INPUT_TAG = 2  # below the blocks' tags


class GatedAttention(nn.Module):
    """Tiles to one vector: sum_n a_n h_n, a = softmax(w . (tanh(V h) * sigmoid(U h))) (Ilse et al. 2018, equations 7 and 9)."""

    hidden: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, mask: Array) -> tuple[Array, Array]:
        """x: f[B, N, D], mask: bool[B, N] -> f[B, D] (zeros of an empty bag) and the attention f32[B, N]."""
        gate = jnp.tanh(Dense(self.hidden, self.dtype, name="value")(x)) * nn.sigmoid(Dense(self.hidden, self.dtype, name="gate")(x))
        logits = Dense(1, self.dtype, name="score")(gate)[..., 0].astype(jnp.float32)
        weights = jax.nn.softmax(jnp.where(mask, logits, -1e9)) * mask
        return (weights.astype(x.dtype)[:, None] @ x)[:, 0], weights


class BagTransformer(nn.Module):
    """A bag of features to tokens and one vector, whatever the order of its members.

    depth: blocks of self-attention between the tiles (0: none, attention MIL as published; memory grows with N^2 otherwise).
    pool: gated (Ilse et al. 2018, the attention in `out["attention"]`) | mean | map | cls (a token of its own, as TransMIL, Shao et al.
    2021). masked: `mask/features` marks the real tiles; in a config the data's own, if not given. input_dropout: of the
    features' entries.
    """

    width: int = 256
    depth: int = 0
    heads: int = 4
    mlp_ratio: float = 4.0
    pool: str = "gated"
    masked: bool = False
    dropout: float = 0.0
    drop_path: float = 0.0
    input_dropout: float = 0.0
    remat: bool = False
    scan: bool = False
    dtype: Any = jnp.float32

    @property
    def reads(self) -> dict[str, int]:
        """Axes of one example: tiles and features; and of the marks of its real tiles."""
        return {"features": 2} | ({"mask/features": 1} if self.masked else {})

    @nn.compact
    def __call__(self, x: Any, keys: Array | None = None, mask: float | None = None, causal: bool = False) -> Encoded:
        """x: f32[B, N, D], or {"features": that, "mask/features": [B, N], 0 on padding}. Raises ValueError for a vector, for a view's
        `mask` or `causal`."""
        if mask is not None or causal:
            raise ValueError("a bag takes no `mask` of dropped tokens and has no causal form")
        x, marks = (x["features"], x.get("mask/features")) if isinstance(x, dict) else (x, None)
        if x.ndim != 3:
            raise ValueError(f"a bag [B, N, D] is needed, not shape {x.shape}; {{'name': 'mlp'}} reads vectors [B, D]")
        here = jnp.ones(x.shape[:2], bool) if marks is None else marks != 0
        x = dropout(x.astype(self.dtype), self.input_dropout, keys, INPUT_TAG)
        x = nn.gelu(Dense(self.width, self.dtype, name="embed")(x))
        if self.pool == "cls":
            token = self.param("cls", INIT, (1, 1, self.width)).astype(self.dtype)
            x = jnp.concatenate([jnp.broadcast_to(token, (len(x), 1, self.width)), x], 1)
            here = jnp.concatenate([jnp.ones((len(x), 1), bool), here], 1)
        out: dict = {}
        if self.depth:
            x, out = Stack(self.depth, self.heads, self.mlp_ratio, self.dropout, self.drop_path, self.remat, self.scan, self.dtype,
                           name="stack")(x, here[:, None, None], keys)
        elif self.pool == "cls":
            raise ValueError("pool='cls' without blocks sees no tile; give depth, or pool='gated', 'mean' or 'map'")
        if self.pool == "gated":
            pooled, out["attention"] = GatedAttention(self.width // 2, self.dtype, name="pool")(x, here)
        else:
            pooled = Pool(self.pool, self.heads, self.dtype, name="pool")(x, here)
        return Encoded(tokens=x, mask=here, pooled=pooled, out=out)
