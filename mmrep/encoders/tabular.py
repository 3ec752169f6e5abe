"""The table encoder: a token a column, and a transformer over them (FT-Transformer, Gorishniy et al. 2021)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mmrep.core.types import Encoded
from mmrep.encoders.layers import EMBED_INIT, POSITION_INIT, Pool, Stack

Array = jax.Array


class TableTransformer(nn.Module):
    """A transformer over the columns of a table: numbers under `tabular`, categories under `category`, either or both.

    Gorishniy et al. 2021, "Revisiting Deep Learning Models for Tabular Data", section 3.3, in the house's pre-norm blocks: a number's
    token is its column's bias + value x its column's vector, a category's its column's bias + the vector of its value.
    columns: how many numbers; cardinalities: how many values each category has, counted from 0; masked: `mask/tabular` marks the known
    numbers, and the others become their column's learned `absent` token. In a config all three are the data's own, if not given.
    pool: cls | mean | map.
    """

    columns: int = 0
    cardinalities: tuple[int, ...] = ()
    masked: bool = False
    width: int = 192
    depth: int = 3
    heads: int = 3
    mlp_ratio: float = 4.0
    pool: str = "cls"
    dropout: float = 0.0
    drop_path: float = 0.0
    remat: bool = False
    scan: bool = False
    dtype: Any = jnp.float32

    @property
    def reads(self) -> dict[str, int]:
        """The fields that it reads, one axis each: numbers, which of them are known, categories."""
        numbers = {"tabular": 1} | ({"mask/tabular": 1} if self.masked else {}) if self.columns else {}
        return (numbers | ({"category": 1} if self.cardinalities else {})) or {"tabular": 1}

    @nn.compact
    def __call__(self, x: Any, keys: Array | None = None, mask: float | None = None, causal: bool = False) -> Encoded:
        """x: tabular f32[B, F] (standardized) or category i32[B, K], or a dict of them and mask/tabular [B, F] (0: not known).

        Raises ValueError for another number of columns than it was made for, or for a view's `mask` or `causal`. A category beyond
        its cardinality, which training did not have, is one of its own.
        """
        if mask is not None or causal:
            raise ValueError("a table takes no `mask` of dropped tokens and has no causal form")
        given = x if isinstance(x, dict) else {next(iter(self.reads)): x}
        tokens = []
        for key, wanted in (("tabular", self.columns), ("category", len(self.cardinalities))):
            if given[key].shape[1:] != (wanted,) if key in self.reads else key in given:
                raise ValueError(f"{key} of shape {given[key].shape}, of an encoder of {wanted} columns (columns, cardinalities)")
        if self.columns:
            tokens.append(self.numbers(given["tabular"], given.get("mask/tabular")))
        if self.cardinalities:
            tokens.append(self.categories(given["category"]))
        x = jnp.concatenate(tokens, 1)
        if self.pool == "cls":
            token = self.param("cls", EMBED_INIT, (1, 1, self.width))
            x = jnp.concatenate([jnp.broadcast_to(token, (len(x), 1, self.width)).astype(x.dtype), x], 1)
        here = jnp.ones(x.shape[:2], bool)
        x, out = Stack(self.depth, self.heads, self.mlp_ratio, self.dropout, self.drop_path, self.remat, self.scan, self.dtype,
                       name="stack")(x, None, keys)
        return Encoded(tokens=x, mask=here, pooled=Pool(self.pool, self.heads, self.dtype, name="pool")(x, here), out=out)

    def numbers(self, values: Array, known: Array | None) -> Array:
        weight = self.param("weight", EMBED_INIT, (1, self.columns, self.width))
        tokens = values.astype(jnp.float32)[..., None] * weight
        if self.masked:
            tokens = jnp.where(known[..., None] != 0, tokens, self.param("absent", EMBED_INIT, (1, self.columns, self.width)))
        return (tokens + self.param("bias", POSITION_INIT, (1, self.columns, self.width))).astype(self.dtype)

    def categories(self, values: Array) -> Array:
        sizes = np.array(self.cardinalities)
        starts = np.cumsum(sizes + 1) - sizes - 1  # one more each: of values that are none of them
        ids = jnp.where((values >= 0) & (values < sizes), values, sizes) + starts
        tokens = nn.Embed(int((sizes + 1).sum()), self.width, dtype=self.dtype, embedding_init=EMBED_INIT, name="embed")(ids)
        return tokens + self.param("positions", POSITION_INIT, (1, len(sizes), self.width)).astype(self.dtype)
