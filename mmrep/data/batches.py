"""Rows to batches: find out the shapes of their examples, stack them with masks for what is absent."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mmrep.data.example import Example, Transform, fields_among, is_field
from mmrep.data.mixture import Mixture
from mmrep.data.reading import presence, read_row, transformed
from mmrep.data.rng import AUGMENT, philox
from mmrep.data.sources import BadRow

DRAWS = 32  # of an augmentation, in search of a modality that it may drop
META = {"present", "index", "row"}  # keys of a batch that are no data: the pipeline sets them, whatever a source gives

Spec = dict[str, tuple[tuple[int, ...] | None, np.dtype | None]]  # key -> (shape, dtype) of one row; None for str


def _array(key: str, value: Any) -> np.ndarray:
    """Numbers as the batch holds them: i32 and f32; pixels keep u8 or u16, labels do not: they need a -1 for unknown.

    Raises ValueError for integers beyond int32.
    """
    value = np.asarray(value)
    if value.dtype.kind in "iu" and value.dtype.itemsize >= 4 and value.dtype != np.int32 and value.size and (
            value.max() > 2**31 - 1 or value.min() < -2**31):
        raise ValueError(f"{key} holds {max(value.max(), -value.min())}, which does not fit 32 bits; number its values from 0")
    small = value.dtype in (np.uint8, np.uint16, np.bool_) and not key.startswith("label/")
    if value.dtype.kind in "iub" and not small:
        return value.astype(np.int32)
    return value.astype(np.float32) if value.dtype.kind == "f" else value


def probe(source: Any, transform: Transform | None = None, seed: int = 0, on_error: str | None = None) -> Spec:
    """Shape and dtype of every key, from the first readable rows (of every component) that hold each modality.

    Deterministic, so every host zero-fills an absent modality alike. Raises ValueError when no row holds a field.
    """
    spec: Spec = {}
    for part in source.components if isinstance(source, Mixture) else (source,):
        found: set[str] = set()
        for field in dict.fromkeys((*part.fields, *getattr(part, "has", ()))) or ("",):
            if field in found:
                continue
            first_bad: BadRow | None = None
            rows = np.flatnonzero(part.has[field]) if field in getattr(part, "has", {}) else range(len(part))
            for row in rows:
                example = read_row(part, int(row))
                if not isinstance(example, BadRow) and field and field not in example:
                    continue
                draws = [example] if isinstance(example, BadRow) else _draws(part, int(row), example, transform, seed)
                if bad := next((one for one in draws if isinstance(one, BadRow)), None):
                    if on_error == "raise" or on_error is None and not bad.skip:
                        raise bad
                    first_bad = first_bad or bad
                    continue
                found |= set(example)
                for key, value in ((key, value) for one in draws for key, value in one.items()):
                    if key not in META and key not in spec:
                        value = None if isinstance(value, (str, list)) else _array(key, value)  # text not yet tokenized
                        spec[key] = (None, None) if value is None else (value.shape, value.dtype)
                break
            else:
                if first_bad is not None:
                    raise ValueError(f"no row of {len(part)} with modality {field!r} can be used: {first_bad}")
                raise ValueError(f"no row of {len(part)} has modality {field!r}: leave it out of the source's "
                                 f"columns, or pass spec= of a split that has it")
    return spec


def _draws(part: Any, row: int, example: Example, transform: Transform | None, seed: int) -> list[Example | BadRow]:
    """The example as `transform` makes it, as often as it takes to see each of its modalities, or its crops, once: a transform may drop
    some (DRAWS times at most, for one may drop it always). Ends with a BadRow where it refuses the row."""
    if transform is None:
        return [example]
    draws: list[Example | BadRow] = []
    wanted = set(fields_among(example))
    for epoch in range(DRAWS):
        draws.append(transformed(part, row, dict(example), transform, philox(seed, AUGMENT, row, epoch)))
        if isinstance(draws[-1], BadRow):
            break
        wanted -= {name for key in draws[-1] for name in (key, key.partition("/")[0])}
        if not wanted:
            break
    return draws


def _fill(key: str, shape: tuple, dtype: np.dtype, index: int) -> np.ndarray:
    """Value of an absent key: zeros for modalities and masks, -1 or NaN for labels, an id of its own for groups."""
    if key in ("group", "case"):
        return np.full(shape, -2 - index, dtype)  # equal ids mean "positive pair": an unknown one must match nothing
    if key.startswith("label/"):
        return np.full(shape, np.nan if dtype.kind == "f" else -1, dtype)
    return np.zeros(shape, dtype)


def _stacked(key: str, values: list, shape: tuple, dtype: np.dtype) -> np.ndarray | None:
    """All rows at once, which is several times faster; None where they are not alike."""
    if shape and len({np.asarray(value).dtype for value in values}) > 1:
        return None  # stacked, u8 among u16 would be turned into it, and stay dark
    try:
        array = _array(key, values if not shape else np.stack(values))
    except ValueError:
        return None
    return array if array.shape == (len(values), *shape) and array.dtype == dtype else None


def _checked(key: str, value: Any, shape: tuple, dtype: np.dtype, name: Callable[[int], str], place: int
             ) -> np.ndarray:
    """The value, or a ValueError that says how the row differs from the batch; to name a row may read its whole file."""
    try:
        value = _array(key, value)
    except ValueError as error:
        raise ValueError(f"{name(place)}: {error}") from None
    if value.dtype != dtype:
        advice = "add to_uint8" if key == "image" else "make the rows alike"
        raise ValueError(f"{name(place)}: {key} is {value.dtype} where the batch has {dtype}; {advice}")
    return value


def misfit(example: Example, spec: Spec) -> str:
    """How an example differs from what the spec says of a row, in key, shape or dtype, with advice; "" where it does not."""
    for key, value in example.items():
        if key in META:
            continue
        if key not in spec:
            return f"has {key!r}, which the source's first rows lack; name it in the source's fields"
        shape, dtype = spec[key]
        if shape is not None and np.shape(value) != shape:
            advice = "add resize" if key == "image" or key.startswith("mask/") else "make the rows alike"
            return f"{key} is {np.shape(value)} where the batch has {shape}; {advice}"
        if shape and isinstance(value, np.ndarray) and value.dtype != dtype and _array(key, value[:0]).dtype != dtype:
            return f"{key} is {value.dtype} where the batch has {dtype}; {'add to_uint8' if key == 'image' else 'make the rows alike'}"
    return ""


def stack(examples: list[Example | None], spec: Spec, index: np.ndarray, name: Callable[[int], str] | None = None
          ) -> dict[str, Any]:
    """Batch of examples (None = a masked row): every key of the spec, `present`, `index` i32[B], `valid` bool[B].

    `name` gives what an error calls the row at a place of the batch. Raises ValueError naming row and shape where rows
    differ from the spec, or hold a key that the spec lacks.
    """
    name = name or (lambda place: f"row {index[place]}")
    batch: dict[str, Any] = {}
    rows = [example or {} for example in examples]
    for place, example in enumerate(rows):
        if why := misfit(example, spec):
            raise ValueError(f"{name(place)}: {why}")
    for key, (shape, dtype) in spec.items():
        values = [example.get(key) for example in rows]
        if shape is None:
            batch[key] = ["" if value is None else value for value in values]
        elif any(value is None for value in values) or (alike := _stacked(key, values, shape, dtype)) is None:
            batch[key] = np.stack([_fill(key, shape, dtype, int(index[i])) if value is None else
                                   _checked(key, value, shape, dtype, name, i)
                                   for i, value in enumerate(values)])
        else:
            batch[key] = alike
    batch["present"] = {}
    for key in spec:
        if is_field(key):
            flags = [example.get("present", {}).get(key, key in example) for example in rows]
            samples = next((np.shape(flag) for flag in flags if not isinstance(flag, bool)), ())
            if samples:  # [B, S]: a row without the modality lacks every sample
                flags = [np.broadcast_to(flag, samples) for flag in flags]
            batch["present"][key] = np.array(flags, bool)
    batch["index"] = np.asarray(index, np.int32)
    batch["valid"] = np.array([example is not None for example in examples])
    return batch


def stack_block(block: Mapping[str, Any], spec: Spec, index: np.ndarray) -> dict[str, Any] | None:
    """A whole block as a batch, not row by row; None where it does not fit, and `stack` must say why."""
    batch: dict[str, Any] = {"present": {}, "index": np.asarray(index, np.int32), "valid": np.ones(len(index), bool)}
    if set(block) - META != set(spec):
        return None
    present = presence(block)
    for key, (shape, dtype) in spec.items():
        value = block[key] if shape is None else _array(key, block[key])
        here = np.asarray(present.get(key, True), bool)
        if here.ndim > 1 or shape is not None and (value.shape[1:] != shape or value.dtype != dtype):
            return None
        if not here.all():
            if shape is None:
                value = [text if flag else "" for text, flag in zip(value, here)]
            else:
                value = value.copy()
                value[~here] = 0
        batch[key] = value
        if is_field(key):
            batch["present"][key] = np.broadcast_to(here, len(index)).copy()
    return batch
