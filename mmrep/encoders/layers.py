"""The transformer block that every encoder and decoder here is made of.

Matrix products run on flattened (B*N, D) operands: measured x0.88 a step on CPU against 3-D ones. Normalization is
linen's one-pass layer norm (two-pass costs x1.3). Randomness comes in as one key an example, so that it depends
neither on mesh nor on micro-batches.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmrep.core.names import within

Array = jax.Array
INIT = nn.initializers.xavier_uniform()
# Token and position embeddings: with the usual 0.02 the first blocks' outputs drown them, and a small model learns slowly
# (measured on the quickstart: R@1 after 500 steps 0.30 with 0.02).
EMBED_INIT, POSITION_INIT = nn.initializers.normal(0.2), nn.initializers.normal(0.1)


def residual_init(depth: int) -> Any:
    """Start of what a block adds to the residual stream, scaled by 1 / sqrt(2 depth) (GPT-2, Radford 2019)."""
    return nn.initializers.variance_scaling(1.0 / (2 * depth), "fan_avg", "uniform")


def uniform(keys: Array, tag: int, shape: tuple[int, ...]) -> Array:
    """f32[B, *shape] in [0, 1) from per-example keys and a tag that names the use."""
    return jax.vmap(lambda k: jax.random.uniform(jax.random.fold_in(k, tag), shape))(keys)


def drop_path(x: Array, rate: float, keys: Array | None, tag: int) -> Array:
    """Drop a residual branch for whole examples (stochastic depth, Huang et al. 2016); x: f[B, N, D]."""
    within("drop_path", rate, 0, 1, high_open=True)
    if not rate or keys is None:
        return x
    keep = uniform(keys, tag, ()) >= rate
    return x * (keep / (1 - rate)).astype(x.dtype)[:, None, None]


def dropout(x: Array, rate: float, keys: Array | None, tag: int) -> Array:
    """Dropout with per-example keys; x: f[B, ...]."""
    within("dropout", rate, 0, 1, high_open=True)
    if not rate or keys is None:
        return x
    keep = uniform(keys, tag, x.shape[1:]) >= rate
    return jnp.where(keep, x / (1 - rate), 0).astype(x.dtype)


class Dense(nn.Module):
    """A dense layer on the last axis, multiplied as one flat matrix."""

    features: int
    dtype: Any = jnp.float32
    kernel_init: Any = INIT

    @nn.compact
    def __call__(self, x: Array) -> Array:
        y = nn.Dense(self.features, dtype=self.dtype, kernel_init=self.kernel_init, name="flat")
        # the wrapper's scope is skipped so that paths read `qkv/kernel`
        nn.share_scope(self, y)
        return y(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], self.features)


class Attention(nn.Module):
    """Multi-head attention; self-attention without `context`, cross-attention with it."""

    heads: int
    dtype: Any = jnp.float32
    out_init: Any = INIT

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None, mask: Array | None = None) -> tuple[Array, Array]:
        """x: f[B, N, D]; context: f[B, M, D]; mask: bool, broadcastable to [B, H, N, M]. Gives f[B, N, D] and the
        attention f[B, H, N, M]."""
        width = x.shape[-1]
        if width % self.heads:
            raise ValueError(f"width {width} is no multiple of heads {self.heads}")
        if context is None:
            q, k, v = jnp.split(Dense(3 * width, self.dtype, name="qkv")(x), 3, -1)
        else:
            q = Dense(width, self.dtype, name="q")(x)
            k, v = jnp.split(Dense(2 * width, self.dtype, name="kv")(context), 2, -1)
        q, k, v = (a.reshape(*a.shape[:2], self.heads, -1).swapaxes(1, 2) for a in (q, k, v))
        logits = (q @ k.swapaxes(2, 3)).astype(jnp.float32) / q.shape[-1] ** 0.5
        if mask is not None:
            logits = jnp.where(mask, logits, -1e9)  # finite: a fully masked row must not become NaN
        weights = jax.nn.softmax(logits).astype(self.dtype)
        y = (weights @ v).swapaxes(1, 2).reshape(x.shape)
        return Dense(width, self.dtype, self.out_init, name="out")(y), weights


class MLP(nn.Module):
    """Two dense layers with a tanh-approximated GELU between."""

    hidden: int
    dtype: Any = jnp.float32
    out_init: Any = INIT

    @nn.compact
    def __call__(self, x: Array) -> Array:
        y = nn.gelu(Dense(self.hidden, self.dtype, name="up")(x))
        return Dense(x.shape[-1], self.dtype, self.out_init, name="down")(y)


class Block(nn.Module):
    """Pre-norm transformer block, with cross-attention where a context is given. depth: of its stack, for the init."""

    heads: int
    mlp_ratio: float = 4.0
    dropout: float = 0.0
    drop_path: float = 0.0
    dtype: Any = jnp.float32
    depth: int = 1

    @nn.compact
    def __call__(self, x: Array, mask: Array | None = None, keys: Array | None = None, layer: Any = 0,
                 context: Array | None = None, context_mask: Array | None = None) -> tuple[Array, Array]:
        """x: f[B, N, D]; gives f[B, N, D] and the self-attention f[B, H, N, N]. `layer` tags the random draws."""
        tag, out = 8 * (layer + 1), residual_init(self.depth)
        y, weights = Attention(self.heads, self.dtype, out, name="attention")(self.norm("norm1", x), None, mask)
        x = x + drop_path(dropout(y, self.dropout, keys, tag), self.drop_path, keys, tag + 1)
        if context is not None:
            y, _ = Attention(self.heads, self.dtype, out, name="cross")(self.norm("norm_cross", x), context, context_mask)
            x = x + drop_path(dropout(y, self.dropout, keys, tag + 2), self.drop_path, keys, tag + 3)
        y = MLP(int(self.mlp_ratio * x.shape[-1]), self.dtype, out, name="mlp")(self.norm("norm2", x))
        return x + drop_path(dropout(y, self.dropout, keys, tag + 4), self.drop_path, keys, tag + 5), weights

    def norm(self, name: str, x: Array) -> Array:
        return nn.LayerNorm(dtype=self.dtype, name=name)(x)


class Stack(nn.Module):
    """`depth` blocks and a last norm.

    remat: recompute each block in the backward pass. scan: one compiled block over stacked params (compiles faster,
    x1.3 a step on CPU; with remat it is the low-memory mode; optimizers that measure whole leaves, adafactor and lamb, then
    measure all layers as one).
    """

    depth: int
    heads: int
    mlp_ratio: float = 4.0
    dropout: float = 0.0
    drop_path: float = 0.0
    remat: bool = False
    scan: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, mask: Array | None = None, keys: Array | None = None, context: Array | None = None,
                 context_mask: Array | None = None) -> tuple[Array, dict]:
        """x: f[B, N, D]; mask: bool, broadcastable to [B, H, N, N]. Gives f[B, N, D] and {block00: f[B, N, D], ...,
        attention00: f[B, H, N, N], ...} (under scan: `blocks`, `attentions`, stacked on a leading layer axis)."""
        block, out = nn.remat(Block, prevent_cse=not self.scan) if self.remat else Block, {}
        options = dict(heads=self.heads, mlp_ratio=self.mlp_ratio, dropout=self.dropout, drop_path=self.drop_path,
                       dtype=self.dtype, depth=self.depth)
        if self.scan:
            def body(module, carry, layer):
                y, weights = module(carry, mask, keys, layer, context, context_mask)
                return y, (y, weights)

            over = nn.scan(body, variable_axes={"params": 0}, split_rngs={"params": True}, length=self.depth)
            x, (out["blocks"], out["attentions"]) = over(block(**options, name="blocks"), x, jnp.arange(self.depth))
        else:
            for i in range(self.depth):
                x, out[f"attention{i:02d}"] = block(**options, name=f"block{i:02d}")(
                    x, mask, keys, i, context, context_mask)
                out[f"block{i:02d}"] = x
        return nn.LayerNorm(dtype=self.dtype, name="norm")(x), out


class Pool(nn.Module):
    """Tokens to one vector: `cls` (first token), `last` (last unmasked), `mean`, or `map` (attention, Zhai 2022)."""

    kind: str
    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, mask: Array) -> Array:
        """x: f[B, N, D], mask: bool[B, N] -> f[B, D]."""
        if self.kind == "cls":
            return x[:, 0]
        if self.kind == "last":
            last = jnp.maximum(mask.sum(1) - 1, 0)
            return jnp.take_along_axis(x, last[:, None, None], 1)[:, 0]
        if self.kind == "mean":
            weights = mask.astype(x.dtype)[..., None]
            return (x * weights).sum(1) / jnp.maximum(weights.sum(1), 1)
        if self.kind == "map":
            probe = self.param("probe", INIT, (1, 1, x.shape[-1])).astype(self.dtype)
            probe = jnp.broadcast_to(probe, (len(x), 1, x.shape[-1]))
            y, _ = Attention(self.heads, self.dtype, name="attention")(probe, x, mask[:, None, None])
            return (y + MLP(4 * x.shape[-1], self.dtype, name="mlp")(
                nn.LayerNorm(dtype=self.dtype, name="norm")(y)))[:, 0]
        raise ValueError(f"unknown pooling {self.kind!r}; valid: cls, last, mean, map")
