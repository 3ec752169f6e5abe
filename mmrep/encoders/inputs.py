"""What an encoder gets of a batch: its raw fields, the wanted sample of them, as floats; on the device."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mmrep.core.names import nearest
from mmrep.core.types import Array, Batch, View

Fields = dict[str, int | None]  # batch key -> axes of one example, None where an encoder does not say
META = ("index", "present", "valid", "rows")


def fields_of(encoder: Any, modality: str) -> Fields:
    """The batch keys that an encoder reads and the axes of one example of each, from its attribute `reads`.

    modality: the key that it reads where `reads` names none (the encoder's name in the config, or its `field` there).
    `reads`: a number of axes (of that key; 3 for an image [H, W, C]), or {key: axes} for an encoder of
    several keys, which gets a dict of arrays (a table's numbers and its categories). Without it the key is read whole.
    """
    reads = getattr(encoder, "reads", None)
    return dict(reads) if isinstance(reads, Mapping) else {modality: reads}


def keys_of(view: View, fields: Fields, given: Iterable[str]) -> dict[str, str]:
    """Field -> the batch key that a view reads for it: of a crop the crop's, for the others only where `given` has one."""
    own = view.modality if view.modality in fields else next(iter(fields))
    crops = {key: f"{key}/{view.crop}" for key in fields}
    return {key: crops[key] if view.crop and (key == own or crops[key] in given) else key for key in fields}


def read(batch: Batch, view: View, fields: Fields) -> Array | dict[str, Array]:
    """The raw input of a view: the crop's key, and the wanted sample of a field of several, [B, S, ...].

    An array for an encoder of one field, a dict for one of several. Raises ValueError where the batch has no such field
    or sample.
    """
    found, samples = {}, {}
    for key, name in keys_of(view, fields, batch).items():
        if name not in batch:
            raise ValueError(f"the data have no {name!r}; {nearest(name, set(batch) - set(META))}")
        x, axes = batch[name], fields[key]
        samples[name] = x.shape[1] if axes is not None and x.ndim == axes + 2 else None
        found[key] = x if samples[name] is None else x[:, min(view.sample, samples[name] - 1)]
    least = min((n for n in samples.values() if n is not None), default=1)  # a field of one serves every sample
    if view.sample >= least:
        name = next((n for n, count in samples.items() if count == least), next(iter(samples)))
        raise ValueError(f"reads sample {view.sample} of {name!r}, of which an example has {least}; "
                         "give several, e.g. by the transform `views`, or name another view")
    return found if len(found) > 1 else next(iter(found.values()))


def complete(batch: Batch, fields: dict[str, Fields]) -> Batch:
    """The batch with a modality present where all that its encoder reads is. fields: modality -> of its encoder."""
    present = dict(batch.get("present", {}))
    for modality, of in fields.items():
        marks = [batch["present"][key] for key in of if key in present]
        if marks and list(of) != [modality]:
            several = max(mark.ndim for mark in marks)
            marks = [mark if mark.ndim == several else mark[:, None] for mark in marks]
            present[modality] = jnp.stack(jnp.broadcast_arrays(*marks)).all(0)
    return batch | {"present": present} if "present" in batch else batch


def to_float(x: jax.Array, mean: Any = 0.5, std: Any = 0.5, between: Callable[[jax.Array], jax.Array] = lambda x: x,
             numbers: bool = False) -> jax.Array:
    """u8 or u16 -> f32, scaled to [0, 1], then (x - mean) / std (numbers, or one a channel).

    Floats pass through as standardized already, unless they are `numbers` (a table's), which are not. between: what pixels in [0, 1] and
    floats go through before (augmentation).
    """
    pixels = x.dtype in (jnp.uint8, jnp.uint16)
    if pixels:
        x = x.astype(jnp.float32) / float(jnp.iinfo(x.dtype).max)
    x = between(x)
    if not pixels and not numbers:
        return x
    return (x - jnp.asarray(mean, jnp.float32)) / jnp.asarray(std, jnp.float32)
