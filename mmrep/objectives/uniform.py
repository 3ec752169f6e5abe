"""Alignment and uniformity, apart and weighted (Wang & Isola 2020)."""

import jax
import jax.numpy as jnp

from mmrep.core.names import within
from mmrep.core.step import presence
from mmrep.core.types import Array, Batch, Encoded, Objective
from mmrep.objectives.views import as_view


def uniformity(u: Array, here: Array, t: Array) -> Array:
    """log of the mean of exp(-t |u_i - u_j|^2) over pairs i != j of present rows; f32[], 0 for fewer than two. u: f[B, D], unit norm."""
    u = u.astype(jnp.float32)
    pairs = (here[:, None] & here[None]) & ~jnp.eye(len(u), dtype=bool)
    logits = jnp.where(pairs, 2 * t * (u @ u.T - 1), -1e9)
    n = pairs.sum()
    return jnp.where(n > 0, jax.nn.logsumexp(logits) - jnp.log(jnp.maximum(n, 1)), 0.0)


def align_uniform(a: str | dict = "image", b: str | dict = "text", *, align: float = 1.0, uniform: float = 1.0, power: float = 2.0,
                  t: float = 2.0) -> Objective:
    """L = align mean |u - v|^power + uniform (U(u) + U(v)) / 2, U as `uniformity` (Wang & Isola 2020, section 4.1).

    align, uniform: the weights, traced; one of them may be 0: without uniformity all embeddings fall together, without alignment pairs do
    not meet.
    """
    views = {"a": as_view(a), "b": as_view(b)}
    for name, value, open_ in (("align", align, False), ("uniform", uniform, False), ("power", power, True), ("t", t, True)):
        within(name, value, 0, low_open=open_)

    def loss(params: dict, state: dict, encodings: dict[str, Encoded], batch: Batch, keys: Array, hp: dict, nets: dict
             ) -> tuple[Array, dict]:
        u, v = encodings["a"].embedding, encodings["b"].embedding
        here = presence(batch, views.values())
        distance = (jnp.square(u - v).sum(-1) + 1e-12) ** (hp["power"] / 2)
        aligned = jnp.where(here, distance, 0.0).sum() / jnp.maximum(here.sum(), 1)
        spread = (uniformity(u, here, hp["t"]) + uniformity(v, here, hp["t"])) / 2
        return hp["align"] * aligned + hp["uniform"] * spread, {"align": aligned, "uniform": spread}

    return Objective(views, loss, coupled=True, needs={"a": ("embedding",), "b": ("embedding",)},
                     hp={"align": align, "uniform": uniform, "power": power, "t": t})
