"""What a transform refuses, as one line: an argument when it is built, a field of another form when it is applied."""

import math
import numbers
from collections.abc import Iterable, Sequence

import numpy as np

from mmrep.core.names import within
from mmrep.data.example import Example

AXES = {"image": "[H, W, C]", "volume": "[D, H, W, C]", "signal": "[T, leads]"}  # of one sample


def number(name: str, value: float, low: float = -math.inf, high: float = math.inf, low_open: bool = False, high_open: bool = False
           ) -> float:
    """A finite number in [low, high], or without the ends that are open. Raises ValueError naming the argument, "transform: argument"."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ValueError(f"{name}: {value!r} is no number")
    within(name, value, low, high, low_open, high_open)
    return value


def whole(name: str, value: int, low: int = 1) -> int:
    """A whole number of at least `low`. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ValueError(f"{name}: {value!r} is no whole number")
    within(name, value, low)
    return int(value)


def switch(name: str, value: bool) -> bool:
    """True or False. Raises ValueError for what only counts as one, such as the text "no"."""
    if not isinstance(value, bool):
        raise ValueError(f"{name}: {value!r} is not True or False")
    return value


def among(name: str, value: str, known: Iterable[str]) -> str:
    """One of the known words. Raises ValueError."""
    known = tuple(known)
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} {value!r} is not one of {', '.join(known)}")
    return value


def limits(name: str, ends: Sequence[float], low: float = -math.inf, high: float = math.inf, low_open: bool = False
           ) -> tuple[float, float]:
    """A pair (low, high) of numbers within [low, high]. Raises ValueError for anything else."""
    if isinstance(ends, str) or not isinstance(ends, Sequence) or len(ends) != 2:
        raise ValueError(f"{name} {ends!r} is no pair (low, high)")
    for end in ends:
        number(name, end, low, high, low_open)
    if ends[0] > ends[1]:
        raise ValueError(f"{name} {ends!r} is no pair (low, high)")
    return float(ends[0]), float(ends[1])


def sides(name: str, size: int | Sequence[int], axes: Sequence[str]) -> tuple[int, ...]:
    """The sides of a picture or volume along `axes`, from one number or one each. Raises ValueError."""
    found = (size,) * len(axes) if isinstance(size, numbers.Integral) else size
    if isinstance(found, str) or not isinstance(found, Sequence) or len(found) != len(axes) or any(
            isinstance(side, bool) or not isinstance(side, numbers.Integral) or side < 1 for side in found):
        raise ValueError(f"{name}: {size!r} is no whole number above 0, nor ({', '.join(axes)}) of such")
    return tuple(map(int, found))


def names(name: str, keys: str | Sequence[str]) -> tuple[str, ...]:
    """Keys of an example, from one or several. Raises ValueError for what are no words."""
    found = (keys,) if isinstance(keys, str) else keys
    if not isinstance(found, Sequence) or not found or not all(isinstance(key, str) and key for key in found):
        raise ValueError(f"{name}: {keys!r} is no name of a field, nor a tuple of them")
    return tuple(found)


def field(example: Example, key: str, several: bool = False) -> np.ndarray | None:
    """The array of `key`, None where there is none. Raises ValueError for text, for an array without the axes of AXES, and for one of
    several samples, which has one more (crops under "image/NAME" have it, too), unless `several`."""
    value, of = example.get(key), key.partition("/")[0]
    if value is None:
        return None
    if not isinstance(value, np.ndarray):
        advice = "; of several sizes, put this into `each`" if isinstance(value, list) else ""
        raise ValueError(f"{key} is no array but {type(value).__name__}{advice}")
    if of in AXES:
        axes = AXES[of].count(",") + 1
        if value.ndim != axes and not (value.ndim == axes + 1 and several):
            raise ValueError(f"the {key} has shape {value.shape}, not {AXES[of]}; of several samples, put this before or into `views`, or "
                             "into `each`")
    return value
