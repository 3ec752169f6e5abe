"""Random generators of the data pipeline, each a pure function of what it is for."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

# tags that keep the random streams of one seed apart; component i of a mixture has COMPONENT + i
ORDER, AUGMENT, MIX, PART, COMPONENT = 1, 2, 3, 4, 16


def philox(seed: int, tag: int, a: int = 0, b: int = 0) -> np.random.Generator:
    """Generator that is a pure function of (seed, tag, a, b); distinct arguments never share a stream.

    Philox is keyed by (seed, tag) and its 256-bit counter starts at (0, 0, a, b): 2**128 draws before two could meet.
    """
    mask = 2**64 - 1
    key = np.array([seed & mask, tag & mask], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, a & mask, b & mask], np.uint64)))


class Later:
    """A generator that is made at its first draw: most transforms draw nothing, and a Philox costs a tenth of a decoded picture."""

    def __init__(self, make: Callable[[], np.random.Generator]):
        self._make = make

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if "_made" not in self.__dict__:
            self._made = self._make()
        return getattr(self._made, name)


def apart(rng: np.random.Generator, n: int) -> list[np.random.Generator]:
    """n generators that start from one draw of `rng` each, so that how much one is used changes no other.

    They are made when first used. The first k of n are those of `apart(rng, k)`.
    """
    seeds: list[int] = []

    def own(i: int) -> np.random.Generator:
        if not seeds:
            seeds.extend(rng.integers(2**63, size=n).tolist())
        return philox(seeds[i], PART)

    return [Later(functools.partial(own, i)) for i in range(n)]
