"""Transforms of one example in numpy: `geometry`, `pixels`, `text`, and here views and composition.

A transform is `(example, np.random.Generator) -> example`; a factory takes keyword arguments and returns one.
Every transform leaves an example without its modality alone, returns a new dict and never writes into an array.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mmrep import config as cfg
from mmrep.core.names import within
from mmrep.data.example import Example, Transform
from mmrep.data.transforms.geometry import center_crop, flip, random_crop, resize, rotate
from mmrep.data.transforms.pixels import intensity, normalize, to_channels, to_uint8
from mmrep.data.transforms.text import lowercase, remove_words, sample_sentences, tokenize


def views(count: int, transforms: Sequence[Transform | dict], key: str = "image", to: str | None = None) -> Transform:
    """`count` independently augmented samples of `key` on a new first axis, under `to` (default: the same key).

    transforms: {name, **kwargs} each, as a config writes them. An image's masks become samples with it; under another key
    the samples have none. Raises ValueError for a count below 1.
    """
    within("views: count", count, 1)
    inner = compose(transforms)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        if key not in example:
            return example
        masks = [k for k in example if k.startswith("mask/")] if key == "image" else []
        samples = [inner({k: example[k] for k in (key, *masks)}, rng) for _ in range(count)]
        moved = {} if to not in (None, key) else {k: np.stack([sample[k] for sample in samples]) for k in masks}
        return {**example, to or key: np.stack([sample[key] for sample in samples]), **moved}

    return apply


TRANSFORMS: dict[str, Callable[..., Transform]] = {
    "resize": resize, "center_crop": center_crop, "random_crop": random_crop, "flip": flip, "rotate": rotate,
    "intensity": intensity, "to_channels": to_channels, "to_uint8": to_uint8, "normalize": normalize,
    "lowercase": lowercase, "remove_words": remove_words, "sample_sentences": sample_sentences, "tokenize": tokenize, "views": views,
}


def compose(parts: Sequence[Transform | dict], where: str = "transforms") -> Transform:
    """One transform of several, in order: each a transform, or {name, **kwargs} as a config writes it.

    Raises ValueError naming `where` (the config path) and the nearest valid name or keyword.
    """
    if isinstance(parts, (str, Mapping)) or callable(parts):
        raise ValueError(f"{where}: needs a tuple of transforms or {{name, ...}} dicts; got {parts!r}")
    built = [part if callable(part) else cfg.build(TRANSFORMS, part, f"{where}[{i}]") for i, part in enumerate(parts)]

    def apply(example: Example, rng: np.random.Generator) -> Example:
        for transform in built:
            example = transform(example, rng)
        return example

    return apply
