"""The text transformer, causal or bidirectional."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmrep.core.types import Encoded
from mmrep.encoders.layers import EMBED_INIT, POSITION_INIT, Pool, Stack

Array = jax.Array


class TextTransformer(nn.Module):
    """A transformer over token ids (0 is padding).

    length: longest input, in tokens. pool: cls (first token) | last | mean | map. causal: attend to the left only.
    """

    vocab: int
    length: int = 64
    width: int = 192
    depth: int = 12
    heads: int = 3
    mlp_ratio: float = 4.0
    pool: str = "mean"
    causal: bool = False
    dropout: float = 0.0
    drop_path: float = 0.0
    remat: bool = False
    scan: bool = False
    dtype: Any = jnp.float32
    reads = 1  # axes of one example: its tokens

    @nn.compact
    def __call__(self, x: Array, keys: Array | None = None, mask: float | None = None, causal: bool = False) -> Encoded:
        """x: i32[B, L], L <= length. Raises ValueError for a longer one or for a mask, which text does not take."""
        if mask is not None:
            raise ValueError("a text view takes no `mask` of dropped tokens")
        if self.pool == "cls" and self.causal:  # one view may be causal: a decoder reads its tokens, not what is pooled
            raise ValueError("pool='cls' of a causal text encoder sees the first token alone, the same in every text; use pool='last', "
                             "'mean' or 'map'")
        if x.shape[1] > self.length:
            raise ValueError(f"text of {x.shape[1]} tokens is longer than the encoder's `length` {self.length}")
        ids, here = x, x != 0
        x = nn.Embed(self.vocab, self.width, dtype=self.dtype, embedding_init=EMBED_INIT,
                     name="embed")(ids)
        positions = self.param("positions", POSITION_INIT, (1, self.length, self.width))
        x = x + positions[:, : x.shape[1]].astype(self.dtype)
        attend = here[:, None, None]
        if self.causal or causal:
            attend = attend & jnp.tril(jnp.ones((x.shape[1],) * 2, bool))
        x, out = Stack(self.depth, self.heads, self.mlp_ratio, self.dropout, self.drop_path, self.remat, self.scan,
                       self.dtype, name="stack")(x, attend, keys)
        pooled = Pool(self.pool, self.heads, self.dtype, name="pool")(x, here)
        return Encoded(tokens=x, mask=here, pooled=pooled, word_ids=ids, out=out)
