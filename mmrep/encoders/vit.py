"""The patch transformer for 1-D signals, 2-D images and 3-D volumes (ViT, Dosovitskiy et al. 2021)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from mmrep.core.names import within
from mmrep.core.types import Encoded
from mmrep.encoders.layers import POSITION_INIT, Dense, Pool, Stack, uniform

Array = jax.Array
KEEP_TAG = 1


def patchify(x: Array, patch: tuple[int, ...]) -> tuple[Array, tuple[int, ...]]:
    """f[B, *spatial, C] -> f[B, N, prod(patch)*C] and the grid. Raises ValueError where a patch does not divide."""
    if x.ndim != len(patch) + 2:
        raise ValueError(f"a {len(patch)}-D patch {patch} needs [B, {len(patch)} axes, C] input, not shape {x.shape}")
    if any(s % p for s, p in zip(x.shape[1:], patch)):
        raise ValueError(f"input {x.shape[1:-1]} is not a multiple of the patch {patch}; resize or change the patch")
    grid = tuple(s // p for s, p in zip(x.shape[1:], patch))
    axes = "xyz"[: len(patch)]
    pattern = "b " + " ".join(f"({a} p{a})" for a in axes) + " c -> b (" + " ".join(axes) + ") (" + " ".join(
        f"p{a}" for a in axes) + " c)"
    return rearrange(x, pattern, **{f"p{a}": p for a, p in zip(axes, patch)}), grid


def sincos(grid: tuple[int, ...], width: int) -> np.ndarray:
    """Fixed sine-cosine position embedding f32[1, N, width], the width shared out over the axes (MAE appendix A)."""
    per = width // (2 * len(grid))
    frequency = 1.0 / 10000 ** (np.arange(per) / per)
    axes = np.meshgrid(*[np.arange(g) for g in grid], indexing="ij")
    parts = [f(a.reshape(-1, 1) * frequency) for a in axes for f in (np.sin, np.cos)]
    table = np.concatenate(parts, 1)
    return np.pad(table, ((0, 0), (0, width - table.shape[1])))[None].astype(np.float32)


class PatchTransformer(nn.Module):
    """A transformer over patches.

    patch: patch size, one entry an axis of the input. pool: cls | mean | map. positions: learned | sincos.
    grid: the grid that learned positions are made for (default: of the first input); another one at apply is met by
    linear interpolation. drop: share of tokens dropped in training (FLIP, Li 2023); a view's mask comes before it.
    """

    patch: tuple[int, ...] = (16, 16)
    width: int = 192
    depth: int = 12
    heads: int = 3
    mlp_ratio: float = 4.0
    pool: str = "mean"
    positions: str = "learned"
    grid: tuple[int, ...] | None = None
    drop: float = 0.0
    dropout: float = 0.0
    drop_path: float = 0.0
    remat: bool = False
    scan: bool = False
    dtype: Any = jnp.float32

    @property
    def reads(self) -> int:
        """Axes of one example: the patch's and channels."""
        return len(self.patch) + 1

    @nn.compact
    def __call__(self, x: Array, keys: Array | None = None, mask: float | None = None, causal: bool = False) -> Encoded:
        """x: f[B, *spatial, C]; keys: [B] in training, None otherwise; mask: share of tokens to drop, in [0, 1)."""
        if causal:
            raise ValueError("a patch transformer has no causal form")
        within("drop", self.drop, 0, 1, high_open=True)
        patches, grid = patchify(x, tuple(self.patch))
        x = Dense(self.width, self.dtype, nn.initializers.lecun_normal(), name="embed")(patches)
        x = x + self.position(grid).astype(self.dtype)
        out = {"patches": patches.reshape(len(x), *grid, -1)}  # what masked modeling predicts
        rate = mask if mask is not None else (self.drop if keys is not None else 0.0)
        if rate:
            x, out["keep"] = drop_tokens(x, rate, keys)
        if self.pool == "cls":
            token = self.param("cls", nn.initializers.normal(0.02), (1, 1, self.width))
            x = jnp.concatenate([jnp.broadcast_to(token, (len(x), 1, self.width)).astype(x.dtype), x], 1)
        here = jnp.ones(x.shape[:2], bool)
        x, blocks = Stack(self.depth, self.heads, self.mlp_ratio, self.dropout, self.drop_path, self.remat, self.scan,
                          self.dtype, name="stack")(x, None, keys)
        pooled = Pool(self.pool, self.heads, self.dtype, name="pool")(x, here)
        return Encoded(tokens=x, mask=here, pooled=pooled, out=out | blocks)

    def position(self, grid: tuple[int, ...]) -> Array:
        if self.positions == "sincos":
            return jnp.asarray(sincos(grid, self.width))
        if self.positions != "learned":
            raise ValueError(f"unknown positions {self.positions!r}; valid: learned, sincos")
        own = self.get_variable("params", "positions") if self.has_variable("params", "positions") else None
        home = tuple(self.grid) if self.grid else (own.shape[1:-1] if own is not None else grid)
        table = self.param("positions", POSITION_INIT, (1, *home, self.width))
        if home != grid:
            table = jax.image.resize(table, (1, *grid, self.width), "linear")
        return table.reshape(1, -1, self.width)


def drop_tokens(x: Array, rate: float, keys: Array | None) -> tuple[Array, Array]:
    """Keep a random round((1-rate)*N) of N tokens an example: f[B, n, D], ids i32[B, n] in ascending order."""
    if keys is None:
        raise ValueError("dropping tokens needs per-example keys")
    n = max(1, round(x.shape[1] * (1 - rate)))
    order = jnp.argsort(uniform(keys, KEEP_TAG, (x.shape[1],)), 1)
    keep = jnp.sort(order[:, :n], 1)
    return jnp.take_along_axis(x, keep[..., None], 1), keep
