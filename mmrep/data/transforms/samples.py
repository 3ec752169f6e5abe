"""Several samples of a modality, [S, ...]: augmented views of one, the pictures of a study."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mmrep.data.example import Example, Transform
from mmrep.data.rng import apart
from mmrep.data.transforms.checks import AXES, field, names, switch, whole
from mmrep.data.transforms.masks import BOXES, PICTURES, masks_of


def _beside(example: Example, key: str) -> list[str]:
    """Keys that are to be changed with `key`: its masks, and the image's boxes."""
    if key in PICTURES:
        return [*masks_of(example, key), *([BOXES] if key == "image" and BOXES in example else [])]
    return [name for name in example if name == f"mask/{key}"]


def views(count: int, transforms: Sequence[Transform | dict], key: str | Sequence[str] = "image", to: str | None = None,
          first: bool = False, training: Callable[[], Any] | None = None) -> Transform:
    """`count` independently augmented samples of `key` on a new first axis, under `to` (default: the same key).

    transforms: {name, **kwargs} each, as a config writes them. Masks (and an image's boxes) become samples with it; under another key
    the samples have none. key: several that belong together ("tabular", "category") are augmented together. first: sample 0 is left as it
    is. Crops of another size under "image/local", before the global ones, make DINO's multi-crop (Caron et al. 2021). The text can be
    read (by `flip`) but not changed: it is that of all views. Raises ValueError for a count below 1.
    """
    from mmrep.data.transforms import compose

    whole("views: count", count)
    switch("views: first", first)
    keys = names("views: key", key)
    if "text" in keys:
        raise ValueError("views: key 'text'; samples of a text are made by text_views")
    if to is not None:
        names("views: to", to)
    if to is not None and len(keys) > 1:
        raise ValueError(f"views: to={to!r} for {len(keys)} keys; it renames one")
    inner = compose(transforms, training=training)
    _share_text("views", transforms)

    def one(example: Example, rng: np.random.Generator, number: int) -> Example:
        if first and number == 0:
            return example
        changed = inner(example, rng)
        if changed.get("text") is not example.get("text"):
            raise ValueError("views: a transform changed the text, which all views share; put it before views, or leave the text as it is")
        return changed

    def apply(example: Example, rng: np.random.Generator) -> Example:
        here = [key for key in keys if field(example, key) is not None]
        if not here:
            return example
        along = [name for key in here for name in _beside(example, key)]
        seen = {name: example[name] for name in (*here, *along, "text") if name in example}
        samples = [one(seen, draws, number) for number, draws in enumerate(apart(rng, count))]
        renamed = to not in (None, here[0])
        return {**example, **{to or name: _stacked("views", name, [sample[name] for sample in samples])
                              for name in (here if renamed else (*here, *along))}}

    return apply


def _share_text(what: str, transforms: Sequence[Transform | dict]) -> None:
    """Raise ValueError for a flip that would exchange the words of a text that all samples share."""
    if any(isinstance(part, Mapping) and part.get("laterality") == "swap" for part in transforms):
        raise ValueError(f"{what}: flip with laterality='swap' would change the text of all samples by one of them; flip before, or keep")


def _stacked(what: str, name: str, values: list[np.ndarray]) -> np.ndarray:
    if len({np.shape(value) for value in values}) > 1:
        shapes = " and ".join(sorted({str(list(np.shape(value))) for value in values}))
        raise ValueError(f"{what}: samples of {name} are {shapes}; make them alike by transforms")
    return np.stack(values)


def _several(what: str, key: str) -> None:
    if names(f"{what}: key", key) != (key,) or key == "text":
        raise ValueError(f"{what}: key {key!r} is no array of several samples")


def _samples(what: str, example: Example, key: str) -> np.ndarray | list[np.ndarray]:
    """The samples of `key`, one an entry. Raises ValueError for a lone one."""
    many = example[key]
    if isinstance(many, (list, tuple)):
        return many
    axes = AXES.get(key, "").count(",") + 2
    if not isinstance(many, np.ndarray) or many.ndim < axes or key in AXES and many.ndim != axes:
        raise ValueError(f"{what}: {key} is {list(np.shape(many))}, one sample and not several on a first axis; give several, e.g. by "
                         "`views` or several columns")
    return many


def each(transforms: Sequence[Transform | dict], key: str = "image", training: Callable[[], Any] | None = None) -> Transform:
    """The transforms on every sample of `key` [S, ...] by itself (or of a list of S arrays of different sizes), stacked again.

    Masks [S, ...] go along with their sample. Raises ValueError where the samples then differ in size, and for a transform that changes
    the text.
    """
    from mmrep.data.transforms import compose

    _several("each", key)
    inner = compose(transforms, training=training)
    _share_text("each", transforms)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        if key not in example:
            return example
        many = _samples("each", example, key)
        along = [name for name in example if name.startswith("mask/") and len(example[name]) == len(many)
                 and all(np.shape(m)[:-1] == np.shape(x)[:-1] for m, x in zip(example[name], many))]
        text = {"text": example["text"]} if "text" in example else {}
        samples = [inner({name: np.asarray(example[name][i]) for name in (key, *along)} | text, draws)
                   for i, draws in enumerate(apart(rng, len(many)))]
        if any(sample.get("text") is not example.get("text") for sample in samples):
            raise ValueError("each: a transform changed the text, which all samples share; put it before")
        return {**example, **{name: _stacked("each", name, [sample[name] for sample in samples]) for name in (key, *along)}}

    return apply


def choose(count: int, random: bool = True, key: str = "image") -> Transform:
    """`count` samples of `key` [S, ...] (a study's pictures): drawn without repetition, in their order, or the first ones.

    Absent ones (`present[key]` bool[S]) are not chosen; fewer than `count` are padded by zeros, and `present[key]` bool[count] says which
    are there. A list of S arrays of different sizes stays a list, of `count` at most: it is for `each`, then `choose` with random=False.
    Masks [S, ...] go along. Evaluation: random=False, in `prepare` or a stream's `evaluate`.
    """
    whole("choose: count", count)
    switch("choose: random", random)
    _several("choose", key)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        if key not in example:
            return example
        many = _samples("choose", example, key)
        flags = np.asarray(example.get("present", {}).get(key, True), bool)
        if flags.ndim and flags.shape != (len(many),):
            raise ValueError(f"choose: present[{key!r}] is {list(flags.shape)} for {len(many)} samples")
        there = np.broadcast_to(flags, len(many))
        found = np.flatnonzero(there)
        if len(found) > count:
            found = np.sort(rng.choice(found, count, replace=False)) if random else found[:count]
        along = [name for name in example if name == f"mask/{key}" or name.startswith("mask/") and not isinstance(many, list)
                 and example[name].shape[:-1] == many.shape[:-1]]
        out: dict[str, Any] = {}
        for name in (key, *along):
            if isinstance(example[name], (list, tuple)):
                out[name] = [example[name][i] for i in found]
                continue
            out[name] = np.zeros((count, *example[name].shape[1:]), example[name].dtype)
            out[name][:len(found)] = example[name][found]
        size = len(found) if isinstance(many, (list, tuple)) else count
        return {**example, **out, "present": {**example.get("present", {}), key: np.arange(size) < len(found)}}

    return apply
