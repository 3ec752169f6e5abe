"""Which modalities an example has: dropped at random, or left out."""

from collections.abc import Mapping, Sequence

import numpy as np

from mmrep.core.names import nearest
from mmrep.data.example import MODALITIES, Example, Transform
from mmrep.data.transforms.checks import names as checked
from mmrep.data.transforms.checks import number
from mmrep.data.transforms.masks import PICTURES, masks_of


def drop(keys: Sequence[str]) -> Transform:
    """The example without these keys."""
    if isinstance(keys, str) or not keys:
        raise ValueError(f"drop: keys: give a tuple of keys, got {keys!r}")
    keys = checked("drop: keys", keys)
    return lambda example, rng: {key: value for key, value in example.items() if key not in keys}


def drop_modalities(p: float | Mapping[str, float] = 0.3) -> Transform:
    """Make each modality absent with probability p, never all that an example has: the one whose draw exceeds its p by most stays.

    p: one probability, or {modality: its own} (others stay). What belongs to a modality goes with it: its crops (`image/local`), its
    masks, of a table its categories. Losses mask what is absent, as they do what the data lack. For `augment`: evaluation sees all.
    Source: ModDrop (Neverova et al. 2016), there independent; a whole-empty example would be no example.
    """
    names = [name for name in MODALITIES if name != "category"]
    given = dict(p) if isinstance(p, Mapping) else dict.fromkeys(names, number("drop_modalities: p", p, 0, 1))
    for name, value in given.items():
        if name not in names:
            raise ValueError(f"drop_modalities: p names {name!r}; "
                             + ("categories go with tabular" if name == "category" else nearest(name, names)))
        number(f"drop_modalities: p of {name}", value, 0, 1)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        here = [name for name in names if name in example or name == "tabular" and "category" in example]
        if not here:
            return example
        draws = dict(zip(names, rng.random(len(names))))  # of all, so that one's draw does not hang on which others are there
        margins = np.array([draws[name] - given.get(name, 0.0) for name in here])
        gone = {name for name, margin in zip(here, margins) if margin < 0 and margin < margins.max()}
        masks = {mask for name in gone.intersection(PICTURES) for mask in masks_of(example, name)}
        gone |= {"category"} if "tabular" in gone else set()

        def stays(key: str) -> bool:
            return key.removeprefix("mask/").partition("/")[0] not in gone and key not in masks

        out = {key: value for key, value in example.items() if stays(key)}
        if "present" in example:
            out["present"] = {key: flag for key, flag in example["present"].items() if stays(key)}
        return out

    return apply
