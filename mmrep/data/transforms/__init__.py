"""Transforms of one example in numpy, by modality: images `geometry`, `warp`, `pixels`, `filters`, with volumes `laterality`; `volume`,
`signal`, `table`, `bags`, `text`; several samples `samples`; absent modalities `modalities`; what papers use `recipes`.

A transform is `(example, np.random.Generator) -> example`; a factory takes keyword arguments and returns one.
Every transform leaves an example without its modality alone, returns a new dict and never writes into an array.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mmrep import config as cfg
from mmrep.data.example import Example, Transform
from mmrep.data.sources import BadRow
from mmrep.data.transforms.bags import sample_tiles
from mmrep.data.transforms.filters import blur, clahe, erase, noise
from mmrep.data.transforms.geometry import center_crop, crop, random_crop, resize
from mmrep.data.transforms.laterality import flip
from mmrep.data.transforms.modalities import drop, drop_modalities
from mmrep.data.transforms.pixels import color_jitter, intensity, normalize, standardize, to_channels, to_uint8
from mmrep.data.transforms.samples import choose, each, views
from mmrep.data.transforms.signal import (
    bandpass,
    baseline_wander,
    crop_signal,
    drop_leads,
    mask_time,
    normalize_signal,
    pad_signal,
    powerline,
    resample_signal,
    scale_signal,
)
from mmrep.data.transforms.table import drop_features, feature_noise, scarf
from mmrep.data.transforms.text import (
    choose_section,
    lowercase,
    remove_priors,
    remove_words,
    sample_sentences,
    shuffle_sentences,
    text_views,
    tokenize,
)
from mmrep.data.transforms.volume import crop_volume, pad_volume, random_crop_volume, resize_volume, rotate90, sample_patch
from mmrep.data.transforms.warp import affine, elastic, rotate

TRANSFORMS: dict[str, Callable[..., Transform]] = {
    # images; the second line volumes (and signals, vectors), too, by key=
    "resize": resize, "center_crop": center_crop, "crop": crop, "random_crop": random_crop, "rotate": rotate, "affine": affine,
    "elastic": elastic, "clahe": clahe, "to_channels": to_channels, "flip": flip,
    "intensity": intensity, "color_jitter": color_jitter, "to_uint8": to_uint8, "normalize": normalize, "standardize": standardize,
    "blur": blur, "noise": noise, "erase": erase,
    # volumes
    "resize_volume": resize_volume, "pad_volume": pad_volume, "crop_volume": crop_volume, "random_crop_volume": random_crop_volume,
    "sample_patch": sample_patch, "rotate90": rotate90,
    # signals
    "crop_signal": crop_signal, "pad_signal": pad_signal, "resample_signal": resample_signal, "drop_leads": drop_leads,
    "baseline_wander": baseline_wander, "powerline": powerline, "scale_signal": scale_signal, "mask_time": mask_time, "bandpass": bandpass,
    "normalize_signal": normalize_signal,
    # tables, vectors, bags
    "scarf": scarf, "feature_noise": feature_noise, "drop_features": drop_features, "sample_tiles": sample_tiles,
    # text
    "lowercase": lowercase, "remove_words": remove_words, "sample_sentences": sample_sentences, "shuffle_sentences": shuffle_sentences,
    "remove_priors": remove_priors, "choose_section": choose_section, "text_views": text_views, "tokenize": tokenize,
    # samples and modalities
    "views": views, "each": each, "choose": choose, "drop": drop, "drop_modalities": drop_modalities,
}


# what the transforms of a module change, where they have no key= or keys=
_CHANGES = {"geometry": ("image",), "warp": ("image",), "filters": ("image",), "pixels": ("image",), "laterality": ("image", "volume"),
            "volume": ("volume",), "signal": ("signal",), "text": ("text",)}


def changes(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields that a transform {name, **kwargs} changes, of which an example needs one; () where that depends on the example."""
    make = TRANSFORMS[spec["name"]]
    given = {name: p.default for name, p in inspect.signature(make).parameters.items() if p.default is not p.empty} | dict(spec)
    keys = given.get("key", given.get("keys", _CHANGES.get(make.__module__.rpartition(".")[2], ())))
    return (keys,) if isinstance(keys, str) else tuple(keys)


def compose(parts: Sequence[Transform | dict], where: str = "transforms", training: Callable[[], Any] | None = None) -> Transform:
    """One transform of several, in order: each a transform, or {name, **kwargs} as a config writes it.

    training: opens the source of training rows, for those transforms that draw from it (`scarf`). Raises ValueError naming `where` (the
    config path) and the nearest valid name or keyword; so does what is composed, for an example that a part of it refuses.
    """
    if isinstance(parts, (str, Mapping)) or not isinstance(parts, Sequence):
        raise ValueError(f"{where}: needs a tuple of transforms or {{name, ...}} dicts; got {parts!r}")
    given = {} if training is None else {"training": training}
    built = [part if callable(part) else _named(cfg.build(TRANSFORMS, part, f"{where}[{i}]", **given), f"{where}[{i}]", part["name"])
             for i, part in enumerate(parts)]

    def apply(example: Example, rng: np.random.Generator) -> Example:
        for transform in built:
            example = transform(example, rng)
        return example

    return apply


def _named(transform: Transform, where: str, name: str) -> Transform:
    """The transform, whose errors begin with the config path and its name."""
    def apply(example: Example, rng: np.random.Generator) -> Example:
        try:
            return transform(example, rng)
        except BadRow:
            raise
        except ValueError as error:
            text = str(error)
            raise ValueError(f"{where}: {'' if text.startswith(f'{name}: ') else f'{name}: '}{text}") from error

    return apply
