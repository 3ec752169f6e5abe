"""What an example is: a dict of numpy arrays and scalars, a modality, label or mask a key. A transform changes one."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

MODALITIES = ("image", "volume", "signal", "text", "tabular", "category", "features")
Example = dict[str, Any]
Transform = Callable[[Example, np.random.Generator], Example]


def is_field(key: str) -> bool:
    """Whether a key of an example is an input, whose absence is tracked: all but labels, soft targets, ids and what the pipeline
    sets."""
    return key.partition("/")[0] not in ("label", "soft", "group", "case", "index", "row", "present", "valid")


def fields_among(keys: Iterable[str]) -> tuple[str, ...]:
    """The inputs among an example's keys, but masks, which come with their picture: the usual ones first."""
    found = [key for key in keys if is_field(key) and not key.startswith("mask/")]
    return tuple(sorted(found, key=lambda k: (MODALITIES.index(k) if k in MODALITIES else len(MODALITIES), k)))
