"""Self-distillation from an EMA teacher (BYOL)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmrep.core.types import Array, Batch, Encoded, Objective
from mmrep.objectives.views import as_view


class Predictor(nn.Module):
    """A two-layer MLP back to the embedding's width."""

    hidden: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        y = nn.LayerNorm(name="norm")(nn.Dense(self.hidden, dtype=self.dtype, name="up")(x))
        return nn.Dense(x.shape[-1], dtype=self.dtype, name="down")(nn.gelu(y)).astype(jnp.float32)


def distill(student: str | dict = "image", teacher_view: str | dict | None = None, *, teacher: str = "teacher",
            hidden: int = 256, symmetric: bool = True,
            dtype: Any = jnp.float32) -> Objective:
    """2 - 2 cos(predictor(student), teacher) an example (BYOL, Grill 2020, eq. 2).

    teacher_view: the other view (default: sample 1 of the same modality), through the EMA `teacher`. symmetric: also
    with the two views exchanged, and the mean taken. dtype: of the predictor's products.
    """
    one = as_view(student)
    two = as_view(teacher_view or {"modality": one.modality, "sample": 1})
    views = {"a": one, "b_teacher": two._replace(net=teacher)}
    if symmetric:
        views |= {"b": two, "a_teacher": one._replace(net=teacher)}

    def init(rng: Array, shapes: dict, hp: dict) -> tuple[dict, dict]:
        width = shapes["a"].embedding.shape[-1]
        return Predictor(hidden, dtype).init(rng, jnp.zeros((1, width)))["params"], {}

    def loss(params: dict, state: dict, encodings: dict[str, Encoded], batch: Batch, keys: Array, hp: dict, nets: dict
             ) -> tuple[Array, dict]:
        def side(source: str, target: str) -> Array:
            p = Predictor(hidden, dtype).apply({"params": params}, encodings[source].embedding)
            p = p / jnp.maximum(jnp.linalg.norm(p, axis=-1, keepdims=True), 1e-6)
            return 2 - 2 * (p * encodings[target].embedding).sum(-1)

        value = side("a", "b_teacher")
        return (0.5 * (value + side("b", "a_teacher")) if symmetric else value), {}

    return Objective(views, loss, coupled=False, init=init)
