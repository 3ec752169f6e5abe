"""Axes of a sweep as plain lists of points: a grid, named settings, random draws, and products of them.

    def sweep(scale):
        loss = named("loss", softmax={"objectives.clip.name": "contrastive"}, sigmoid={"objectives.clip.name": "sigmoid"})
        return product(loss, grid({"optim.lr": (1e-4, 1e-3)}))
"""

import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class Point(NamedTuple):
    """One setting. axes: {name: value as tables show it}; changes: {config path: value}, of which `arg.NAME` is an argument of the
    config's file (`configs/x.py:NAME=value`) and None removes a key."""

    axes: dict[str, Any]
    changes: dict[str, Any]


def grid(axes: Mapping[str, Sequence[Any]]) -> list[Point]:
    """Every combination of the values: grid({"optim.lr": (1e-4, 1e-3), "data.main.batch": (64, 128)}) has four points.

    Raises ValueError for an axis without values, or whose values are no list.
    """
    for key, values in axes.items():
        if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
            raise ValueError(f"axis {key}: {values!r} is no list of values; write ({values!r},)")
    axes = {key: list(values) for key, values in axes.items()}
    for key, values in axes.items():
        if not values:
            raise ValueError(f"axis {key}: has no values, so the grid is empty; give at least one")
    return [Point(dict(zip(axes, values)), dict(zip(axes, values))) for values in itertools.product(*axes.values())]


def named(axis: str, /, settings: Mapping[str, Mapping[str, Any]] | None = None, **more: Mapping[str, Any]) -> list[Point]:
    """An axis whose values are names, each of several changes: named("loss", softmax={...}, sigmoid={...})."""
    settings = dict(settings or {}) | more
    if not settings:
        raise ValueError(f"axis {axis}: has no values, so the grid is empty; give at least one")
    return [Point({axis: name}, dict(changes)) for name, changes in settings.items()]


def fixed(changes: Mapping[str, Any]) -> list[Point]:
    """What is the same in every run, and so is no axis: one point, for `product`."""
    return [Point({}, dict(changes))]


def sample(axes: Mapping[str, Callable[[np.random.Generator], Any] | Sequence[Any]], n: int, seed: int = 0) -> list[Point]:
    """`n` random points: of each axis a function of a numpy Generator (`log_uniform(1e-5, 1e-2)`), or a list to choose from.

    The draws depend on (seed, number of the point, name of the axis) alone: more points, or another axis, leave the others as they are. A
    point that was drawn before is left out, so lists alone may give fewer than `n`.
    """
    if n < 1 or not axes:
        raise ValueError(f"random points: {n} of {len(axes)} axes is an empty sweep; give at least one of each")
    points = []
    for i in range(n):
        values = {}
        for key, of in axes.items():
            word = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")  # of the whole name: many end in ".weight"
            rng = np.random.Generator(np.random.Philox(key=np.array([seed, i], np.uint64), counter=np.array([0, 0, 0, word], np.uint64)))
            values[key] = of(rng) if callable(of) else list(of)[int(rng.integers(len(of)))]
        if Point(values, values) not in points:
            points.append(Point(values, dict(values)))
    return points


class Range(NamedTuple):
    """The numbers from low to high, drawn evenly, or evenly in their logarithm, to 4 digits."""

    low: float
    high: float
    log: bool = False

    def __call__(self, rng: np.random.Generator) -> float:
        drawn = math.exp(rng.uniform(math.log(self.low), math.log(self.high))) if self.log else rng.uniform(self.low, self.high)
        return float(f"{drawn:.4g}")


def uniform(low: float, high: float) -> Range:
    """Evenly in [low, high), to 4 digits. Raises ValueError where low is not below high."""
    if not low < high:
        raise ValueError(f"uniform: needs low < high, got {low} and {high}")
    return Range(low, high)


def log_uniform(low: float, high: float) -> Range:
    """Evenly in the logarithm in [low, high), to 4 digits. Raises ValueError for bounds that are not above 0."""
    if not 0 < low < high:
        raise ValueError(f"log_uniform: needs 0 < low < high, got {low} and {high}")
    return Range(low, high, log=True)


def product(*axes: Iterable[Point | Mapping[str, Any]]) -> list[Point]:
    """Every combination of the lists' points. Raises ValueError where two of them set the same axis or key, or one is empty."""
    found = [Point({}, {})]
    for number, points in enumerate(axes, 1):
        points = [as_point(p) for p in points]
        if not points:
            raise ValueError(f"product: list {number} of {len(axes)} has no points, so the grid is empty")
        for key in (key for of in Point._fields for key in sorted(_keys(found, of) & _keys(points, of))):
            raise ValueError(f"product: {key} is set by two of its lists; name it in one")
        found = [Point(a.axes | b.axes, a.changes | b.changes) for a in found for b in points]
    return found


def _keys(points: list[Point], of: str) -> set[str]:
    """The axes, or the changed keys, of any of the points."""
    return {key for point in points for key in getattr(point, of)}


def as_point(point: Point | Mapping[str, Any]) -> Point:
    """A Point as it is; a plain dict {config path: value} as one whose axes are its keys. `config.` before a path may be left out."""
    if not isinstance(point, Mapping | Point):
        raise ValueError(f"sweep: {point!r} is no point; yield dicts of overrides, such as {{'optim.lr': 1e-3}}")
    both = point if isinstance(point, Point) else (point, point)
    return Point(*({key.removeprefix("config."): value for key, value in of.items()} for of in both))
