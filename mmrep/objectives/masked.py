"""Masked reconstruction (MAE)."""

from typing import Any

import jax
import jax.numpy as jnp

from mmrep.core.types import Array, Batch, Encoded, Objective
from mmrep.decoders.masked import MaskedDecoder
from mmrep.objectives.views import as_view


def masked(view: str | dict = "image", *, ratio: float = 0.75, norm_pixels: bool = True, width: int = 128, depth: int = 2,
           heads: int = 4, remat: bool = False, scan: bool = False, dtype: Any = jnp.float32) -> Objective:
    """Mean squared error on the patches the encoder did not see (MAE, He 2022).

    The patches are the encoder's own, `out["patches"]`: f[B, *grid, P]. ratio: share of them hidden. norm_pixels: each
    target patch is standardized (the paper's better targets). width, depth, heads, remat, scan, dtype: the decoder's.
    """
    if not 0 < ratio < 1:
        raise ValueError(f"ratio: {ratio} is no share of hidden patches between 0 and 1")
    views = {"visible": as_view(view)._replace(mask=ratio)}

    def target(encoded: Encoded) -> tuple[Array, tuple[int, ...]]:
        if "patches" not in encoded.out:
            raise ValueError(f"the encoder of {views['visible'].modality!r} has no patches to hide")
        x = jax.lax.stop_gradient(encoded.out["patches"])
        grid, x = x.shape[1:-1], x.reshape(len(x), -1, x.shape[-1])
        if norm_pixels:
            x = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x, grid

    def decoder(out: int, grid: tuple[int, ...]) -> MaskedDecoder:
        return MaskedDecoder(out, grid, width, depth, heads, remat, scan, dtype)

    def visible(encoded: Encoded) -> tuple[Array, Array]:
        keep = encoded.out["keep"]
        return encoded.tokens[:, encoded.tokens.shape[1] - keep.shape[1]:], keep  # without a cls token

    def init(rng: Array, shapes: dict, hp: dict) -> tuple[dict, dict]:
        encoded = jax.tree.map(lambda s: jnp.zeros((1, *s.shape[1:]), s.dtype), shapes["visible"])
        x, grid = target(encoded)
        if encoded.out["keep"].shape[1] == x.shape[1]:
            raise ValueError(f"ratio: {ratio} of {x.shape[1]} patches hides none; raise it, or take smaller patches")
        return decoder(x.shape[-1], grid).init(rng, *visible(encoded))["params"], {}

    def loss(params: dict, state: dict, encodings: dict[str, Encoded], batch: Batch, keys: Array, hp: dict, nets: dict
             ) -> tuple[Array, dict]:
        x, grid = target(encodings["visible"])
        tokens, keep = visible(encodings["visible"])
        predicted = decoder(x.shape[-1], grid).apply({"params": params}, tokens, keep)
        hidden = ~(keep[:, None, :] == jnp.arange(x.shape[1])[:, None]).any(-1)
        error = ((predicted - x) ** 2).mean(-1)
        return (error * hidden).sum(1) / jnp.maximum(hidden.sum(1), 1), {}

    return Objective(views, loss, coupled=False, init=init)
