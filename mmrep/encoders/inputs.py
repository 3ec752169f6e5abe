"""What an encoder gets of a batch: its raw fields, the wanted sample of them, as floats; on the device."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mmrep.core.names import nearest
from mmrep.core.types import Array, Batch, View

Fields = dict[str, int | None]  # batch key -> axes of one example, None where an encoder does not say
META = ("index", "present", "valid", "rows")


def fields_of(encoder: Any, modality: str) -> Fields:
    """The batch keys that an encoder reads and the axes of one example of each, from its attribute `reads`.

    `reads`: a number of axes (of the modality's own key; 3 for an image [H, W, C]), or {key: axes} for an encoder of
    several keys, which gets a dict of arrays (a table's numbers and its categories). Without it the key is read whole.
    """
    reads = getattr(encoder, "reads", None)
    return dict(reads) if isinstance(reads, Mapping) else {modality: reads}


def keys_of(view: View, fields: Fields) -> list[str]:
    """The batch keys that a view reads."""
    return [f"{key}/{view.crop}" if view.crop else key for key in fields]


def read(batch: Batch, view: View, fields: Fields) -> Array | dict[str, Array]:
    """The raw input of a view: the crop's key, and the wanted sample where an example has several, [B, S, ...].

    An array for an encoder of one field, a dict for one of several. Raises ValueError where the batch has no such field
    or sample.
    """
    found = {}
    for (key, axes), name in zip(fields.items(), keys_of(view, fields)):
        if name not in batch:
            raise ValueError(f"the data have no {name!r}; {nearest(name, set(batch) - set(META))}")
        x = batch[name]
        several = axes is not None and x.ndim == axes + 2
        if view.sample >= (x.shape[1] if several else 1):
            raise ValueError(f"reads sample {view.sample} of {name!r}, of which an example has {x.shape[1] if several else 1}; "
                             "give several, e.g. by the transform `views`, or name another view")
        found[key] = x[:, view.sample] if several else x
    return found if len(found) > 1 else found[key]


def to_float(x: jax.Array, mean: Any = 0.5, std: Any = 0.5) -> jax.Array:
    """u8 or u16 -> f32, scaled to [0, 1], then (x - mean) / std (numbers, or one a channel); other dtypes pass through."""
    if x.dtype == jnp.uint8:
        x = x.astype(jnp.float32) / 255.0
    elif x.dtype == jnp.uint16:
        x = x.astype(jnp.float32) / 65535.0
    else:
        return x
    return (x - jnp.asarray(mean, jnp.float32)) / jnp.asarray(std, jnp.float32)
