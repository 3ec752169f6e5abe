"""Masked reconstruction (MAE)."""

import math

import jax
import jax.numpy as jnp

from mmrep.core.step import input_name, read
from mmrep.core.types import Array, Batch, Encoded, Objective
from mmrep.decoders.masked import MaskedDecoder
from mmrep.encoders.inputs import to_float
from mmrep.encoders.vit import patchify
from mmrep.objectives.contrastive import as_view


def masked(view: str | dict = "image", *, patch: tuple[int, ...], ratio: float = 0.75, norm_pixels: bool = True,
           width: int = 128, depth: int = 2, heads: int = 4) -> Objective:
    """Mean squared error on the patches the encoder did not see (MAE, He 2022).

    patch: the encoder's patch. ratio: share of patches hidden. norm_pixels: each target patch is standardized
    (the paper's better targets). width, depth, heads: the decoder's.
    """
    patch = tuple(patch)
    views = {"visible": as_view(view)._replace(mask=ratio)}

    def target(batch: Batch) -> tuple[Array, tuple[int, ...]]:
        x, grid = patchify(to_float(read(batch, views["visible"])), patch)
        if norm_pixels:
            x = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x, grid

    def decoder(out: int, grid: tuple[int, ...]) -> MaskedDecoder:
        return MaskedDecoder(out, grid, width, depth, heads)

    def visible(encoded: Encoded) -> tuple[Array, Array]:
        keep = encoded.out["keep"]
        return encoded.tokens[:, encoded.tokens.shape[1] - keep.shape[1]:], keep  # without a cls token

    def init(rng: Array, shapes: dict, hp: dict) -> tuple[dict, dict]:
        shape = shapes["batch"][input_name(views["visible"])].shape
        grid = tuple(s // p for s, p in zip(shape[-len(patch) - 1:-1], patch))
        tokens, keep = visible(jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes["visible"]))
        return decoder(math.prod(patch) * shape[-1], grid).init(rng, tokens[:1], keep[:1])["params"], {}

    def loss(params: dict, state: dict, encodings: dict[str, Encoded], batch: Batch, keys: Array, hp: dict, nets: dict
             ) -> tuple[Array, dict]:
        x, grid = target(batch)
        tokens, keep = visible(encodings["visible"])
        predicted = decoder(x.shape[-1], grid).apply({"params": params}, tokens, keep)
        hidden = ~(keep[:, None, :] == jnp.arange(x.shape[1])[:, None]).any(-1)
        error = ((predicted - x) ** 2).mean(-1)
        return (error * hidden).sum(1) / jnp.maximum(hidden.sum(1), 1), {}

    return Objective(views, loss, coupled=False, init=init)
