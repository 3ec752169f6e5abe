"""Supervised heads on an encoder (O-cls): cross-entropy and binary cross-entropy, several tasks at once."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmrep.core.step import presence
from mmrep.core.types import Array, Batch, Encoded, Objective
from mmrep.objectives.views import as_view, need


def _check_label(batch: dict, name: str, head: dict) -> None:
    """Raise ValueError where the data have no such label, or one of another form than the head's."""
    try:
        need({k.removeprefix("label/") for k in batch if k.startswith("label/")}, name)
    except ValueError as error:
        raise ValueError(f"heads.{name}: {error}") from None
    label = batch[f"label/{name}"]
    wanted = () if head["kind"] == "ce" else (head["classes"],)
    if label.shape[1:] != wanted or not jnp.issubdtype(label.dtype, jnp.integer):
        raise ValueError(f"heads.{name}: {head['kind']} of {head['classes']} classes needs whole numbers "
                         f"[B{''.join(f', {n}' for n in wanted)}]; the label is {label.dtype} {label.shape}")


def supervised(view: str | dict = "image", *, heads: dict[str, dict], feature: str = "pooled") -> Objective:
    """Weighted sum over the heads of CE (one class) or BCE (several findings) on `batch["label/NAME"]`.

    heads: {label name: {"kind": "ce" | "bce", "classes": K, "weight": 1.0}}. Labels are i32[B] classes for ce and
    [B, K] in {0, 1} for bce; negative labels are unknown and add 0 to the sum over heads, which is averaged over the rows
    that know a label of any head (the metrics over the rows that know this one's). feature: pooled | embedding. Full or
    partial fine-tuning is a matter of `config.init` and of freezing in `config.rules`.
    """
    views, heads = {"x": as_view(view)}, {n: dict(h) for n, h in heads.items()}
    for name, head in heads.items():
        unknown = set(head) - {"kind", "classes", "weight"}
        if unknown or head.get("kind") not in ("ce", "bce") or "classes" not in head:
            raise ValueError(f"heads.{name}: needs kind ('ce' or 'bce') and classes, and takes weight; got {head}")
    if feature not in ("pooled", "embedding"):
        raise ValueError(f"feature: {feature!r}; valid: pooled, embedding")

    def init(rng: Array, shapes: dict, hp: dict) -> tuple[dict, dict]:
        for name, head in heads.items():
            _check_label(shapes["batch"], name, head)
        width = getattr(shapes["x"], feature).shape[-1]
        return {n: nn.Dense(h["classes"]).init(jax.random.fold_in(rng, i), jnp.zeros((1, width)))["params"]
                for i, (n, h) in enumerate(sorted(heads.items()))}, {}

    def loss(params: dict, state: dict, encodings: dict[str, Encoded], batch: Batch, keys: Array, hp: dict, nets: dict
             ) -> tuple[Array, dict]:
        x = getattr(encodings["x"], feature).astype(jnp.float32)
        total, metrics = jnp.zeros(len(x)), {}
        for name, head in heads.items():
            logits = nn.Dense(head["classes"]).apply({"params": params[name]}, x)
            label = batch[f"label/{name}"].astype(jnp.int32)
            if head["kind"] == "ce":
                picked = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.maximum(label, 0)[:, None], 1)[:, 0]
                value, right, known = -picked, logits.argmax(1) == label, label >= 0
            else:
                mark = label >= 0
                each = jnp.where(mark, jnp.logaddexp(0.0, logits) - logits * label, 0.0)
                count = jnp.maximum(mark.sum(1), 1)
                value, known = each.sum(1) / count, mark.any(1)
                right = (((logits > 0) == (label > 0)) & mark).sum(1) / count
            total = total + head.get("weight", 1.0) * jnp.where(known, value, 0.0)
            metrics |= {f"{name}/loss": (value, known), f"{name}/accuracy": (right, known)}
        return total, metrics

    def weight(batch: Batch, keys: Array) -> Array:
        known = jnp.zeros(batch["index"].shape, bool)
        for name in heads:
            label = batch[f"label/{name}"] >= 0
            known = known | (label.any(1) if label.ndim == 2 else label)
        return presence(batch, views.values()) & known

    return Objective(views, loss, coupled=False, init=init, weight=weight)
