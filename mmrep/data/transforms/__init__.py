"""Transforms of one example in numpy: `geometry`, `pixels`, `text`, and here views and composition.

A transform is `(example, np.random.Generator) -> example`; a factory takes keyword arguments and returns one.
Every transform leaves an example without its modality alone, returns a new dict and never writes into an array.
"""

from collections.abc import Callable, Sequence

import numpy as np

from mmrep import config as cfg
from mmrep.core.names import within
from mmrep.data.example import Example, Transform
from mmrep.data.transforms.geometry import center_crop, flip, random_crop, resize, rotate
from mmrep.data.transforms.pixels import intensity, normalize, to_channels, to_uint8
from mmrep.data.transforms.text import lowercase, remove_words, sample_sentences, tokenize


def views(count: int, transforms: Sequence[Transform | dict], key: str = "image", to: str | None = None) -> Transform:
    """`count` independently augmented samples of `key` on a new first axis, under `to` (default: the same key).

    transforms: {name, **kwargs} each, as a config writes them. Raises ValueError for a count below 1.
    """
    within("count", count, 1)
    inner = compose(transforms)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        if key not in example:
            return example
        one = {key: example[key]}
        return {**example, to or key: np.stack([inner(one, rng)[key] for _ in range(count)])}

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
    built = [part if callable(part) else cfg.build(TRANSFORMS, part, f"{where}[{i}]") for i, part in enumerate(parts)]

    def apply(example: Example, rng: np.random.Generator) -> Example:
        for transform in built:
            example = transform(example, rng)
        return example

    return apply
