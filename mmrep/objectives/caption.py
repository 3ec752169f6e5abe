"""Captioning: next-token prediction of the text given the image's tokens."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmrep.core.types import Array, Batch, Encoded, Objective
from mmrep.objectives.views import as_view, shared_net


def caption(image: str | dict = "image", text: str | dict = "text", *, vocab: int, net: str = "fusion",
            dtype: Any = jnp.float32) -> Objective:
    """Mean next-token cross-entropy an example, teacher-forced (CoCa, Yu 2022, eq. 3).

    text is encoded causally, then the fusion `net` of `config.nets` reads it, causally, with the image as context.
    vocab: the tokenizer's size; dtype: of the head's product (the loss is f32). Padding does not count.
    """
    views = {"image": as_view(image), "text": as_view(text)._replace(causal=True)}
    head = nn.Dense(vocab, dtype=dtype)

    def init(rng: Array, shapes: dict, hp: dict) -> tuple[dict, dict]:
        return head.init(rng, jnp.zeros((1, shared_net(shapes, net).width)))["params"], {}

    def loss(params: dict, state: dict, encodings: dict[str, Encoded], batch: Batch, keys: Array, hp: dict, nets: dict
             ) -> tuple[Array, dict]:
        image, text = encodings["image"], encodings["text"]
        fused = nets[net](text.tokens, text.mask, image.tokens, image.mask, causal=True)[:, :-1]
        logits = jax.nn.log_softmax(head.apply({"params": params}, fused).astype(jnp.float32))
        target, here = text.word_ids[:, 1:], text.mask[:, 1:]
        each = -jnp.take_along_axis(logits, target[..., None], 2)[..., 0]
        right = (logits.argmax(-1) == target) & here
        count = jnp.maximum(here.sum(1), 1)
        return jnp.where(here, each, 0.0).sum(1) / count, {"accuracy": right.sum(1) / count}

    return Objective(views, loss, coupled=False, init=init)
