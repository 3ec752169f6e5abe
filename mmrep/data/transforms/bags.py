"""Bags of tile features, `features` f32[N, D]: as many tiles of every slide."""

from collections.abc import Sequence

import numpy as np

from mmrep.data.example import Example, Transform
from mmrep.data.transforms.checks import field, names, switch, whole


def sample_tiles(count: int, random: bool = True, key: str = "features", along: Sequence[str] = ("features/coords",)) -> Transform:
    """A bag [N, D] of any N to [count, D] and `mask/KEY` u8[count]: 1 for a tile, 0 for the padding of zeros behind fewer.

    random: a subset without repetition in the bag's order, or else tiles spread evenly over it, the same each time: for `prepare`, or a
    stream's `evaluate`. Tiles that `mask/KEY` marks as padding already are none. along: keys with a row a tile (coordinates), which are
    chosen and padded alike. Encoder: {"name": "bag"}, which reads the mask. Raises ValueError for a vector, or an `along` of other length.
    """
    whole("sample_tiles: count", count)
    switch("sample_tiles: random", random)
    names("sample_tiles: key", key)
    along = names("sample_tiles: along", along) if along else ()

    def apply(example: Example, rng: np.random.Generator) -> Example:
        bag, mark = field(example, key), f"mask/{key}"
        if bag is None:
            return example
        if bag.ndim != 2:
            raise ValueError(f"sample_tiles: {key} is {list(bag.shape)}, not a bag [tiles, features]")
        if mark in example and example[mark].shape != bag.shape[:1]:
            raise ValueError(f"sample_tiles: {mark} is {list(example[mark].shape)} for {len(bag)} tiles")
        real = np.flatnonzero(example[mark]) if mark in example else np.arange(len(bag))
        if len(real) > count:
            even = np.linspace(0, len(real) - 1, count).astype(np.int64)
            real = np.sort(rng.choice(real, count, replace=False)) if random else real[even]
        out = {mark: (np.arange(count) < len(real)).astype(np.uint8)}
        for name in (key, *(name for name in along if name in example)):
            if len(example[name]) != len(bag):
                raise ValueError(f"sample_tiles: {name} has {len(example[name])} rows for {len(bag)} tiles")
            out[name] = np.zeros((count, *example[name].shape[1:]), example[name].dtype)
            out[name][:len(real)] = example[name][real]
        return {**example, **out}

    return apply
