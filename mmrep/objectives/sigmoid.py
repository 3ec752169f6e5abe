"""The pairwise sigmoid loss (SigLIP)."""

import jax.numpy as jnp

from mmrep.core.names import within
from mmrep.core.step import presence
from mmrep.core.types import Array, Batch, Encoded, Objective
from mmrep.objectives.allpairs import sigmoid as pairwise_sigmoid
from mmrep.objectives.contrastive import logit_scale
from mmrep.objectives.views import as_view, need


def sigmoid(a: str | dict = "image", b: str | dict = "text", *, temperature: float = 0.1, bias: float = -10.0,
            max_scale: float = 1000.0, group: bool = True, soft: bool = False,
            method: str = "auto") -> Objective:
    """L = -1/n sum_ij log sigmoid(z_ij (s u_i.v_j + b)), z = +1 on positives, -1 elsewhere (SigLIP, Zhai 2023, eq. 1).

    temperature, bias: starting values of 1/s and b, both learned. group, soft: as in `contrastive`.
    """
    for name, value in (("temperature", temperature), ("max_scale", max_scale)):
        within(name, value, 0, low_open=True)
    views = {"a": as_view(a), "b": as_view(b)}

    def init(rng: Array, shapes: dict, hp: dict) -> tuple[dict, dict]:
        if soft:
            need(shapes["batch"], "soft")
        return {"logit_scale": -jnp.log(hp["temperature"]), "logit_bias": jnp.asarray(hp["bias"], jnp.float32)}, {}

    def loss(params: dict, state: dict, encodings: dict[str, Encoded], batch: Batch, keys: Array, hp: dict, nets: dict
             ) -> tuple[Array, dict]:
        scale = logit_scale(params, hp)
        value = pairwise_sigmoid(encodings["a"].embedding, encodings["b"].embedding, scale, params["logit_bias"],
                                 group=batch.get("group") if group and not soft else None,
                                 soft=batch["soft"] if soft else None, valid=presence(batch, views.values()),
                                 method=method)
        return value, {"scale": scale, "bias": params["logit_bias"]}

    return Objective(views, loss, coupled=True, needs={"a": ("embedding",), "b": ("embedding",)}, init=init,
                     hp={"temperature": temperature, "bias": bias, "max_scale": max_scale})
