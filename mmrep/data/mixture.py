"""Mixtures of sources by weight: a fixed number of examples of each component in every batch."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from mmrep.data.example import Example
from mmrep.data.reading import read_rows
from mmrep.data.sources import BadRow, fingerprint, identify, recoded, rows_of, skips, where


def largest_remainder(weights: Mapping[str, float], batch: int) -> dict[str, int]:
    """Whole numbers of examples that sum to `batch`, nearest the weights (Hamilton's method; ties to the first named).

    Raises ValueError on a weight that is not positive, or one so small that its component gets no example.
    """
    bad = [name for name, weight in weights.items() if not weight > 0]
    if bad or not weights:
        raise ValueError(f"mixture: every weight must be positive, got {dict(weights)}")
    total = sum(weights.values())
    exact = {name: batch * weight / total for name, weight in weights.items()}
    counts = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: counts[name] - exact[name])  # stable: ties keep the given order
    for name in by_remainder[:batch - sum(counts.values())]:
        counts[name] += 1
    empty = [name for name, count in counts.items() if count == 0]
    if empty:
        raise ValueError(f"mixture: {empty[0]!r} has weight {weights[empty[0]]:g} of {total:g} and gets no example in "
                         f"a batch of {batch}; raise its weight or the batch size")
    return counts


class Mixture:
    """Several sources as one: row ids are offset, so that `index` is unique; ids of groups and cases never collide."""

    def __init__(self, sources: Mapping[str, Any], weights: Mapping[str, float]):
        if not sources:
            raise ValueError("mixture: has no sources")
        if set(sources) != set(weights):
            raise ValueError(f"mixture: sources {sorted(sources)} and weights {sorted(weights)} must name the same; give all sources a "
                             "weight, or none (then they count by their rows)")
        self.names = tuple(sources)
        self.category_names = _vocabulary(sources)
        self.components = tuple(recoded(source, self.category_names) for source in sources.values())
        self.weights = {name: float(weights[name]) for name in self.names}
        self.offsets = np.concatenate([[0], np.cumsum([len(s) for s in self.components])])
        self.fields = tuple(dict.fromkeys(field for source in self.components for field in source.fields))
        self.label_names: dict[str, list[str]] = {}
        for name, source in sources.items():
            for label, classes in getattr(source, "label_names", {}).items():
                if self.label_names.setdefault(label, classes) != classes:
                    raise ValueError(f"mixture: label {label!r} of {name!r} has classes {classes[:5]}, another has "
                                     f"{self.label_names[label][:5]}: one number would mean two things; rename one")

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def locate(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Component number and row within it of global ids: i64[n], i64[n]."""
        which = np.searchsorted(self.offsets, ids, side="right") - 1
        return which, np.asarray(ids) - self.offsets[which]

    def adapt(self, example: Example, component: int) -> Example:
        """The component's example with group and case ids made unique across the mixture (id * components + c)."""
        example = dict(example)
        for key in ("group", "case"):
            if key in example and example[key] < 0:
                del example[key]  # "no group": the pipeline gives it an id of its own
            elif key in example:
                value = int(example[key]) * len(self.components) + component
                if value >= 2**31:
                    raise ValueError(f"mixture: {key} {example[key]} of {self.names[component]!r} is too large to keep "
                                     f"apart from {len(self.components)} components in int32; number them from 0")
                example[key] = np.int32(value)
        return example

    def __getitem__(self, row: int) -> Example:
        (which,), (inner,) = self.locate(np.asarray([row]))
        try:
            return self.adapt(self.components[which][int(inner)], int(which))
        except BadRow as error:
            raise self._named(error, int(which)) from None

    def read(self, rows: np.ndarray) -> list[Example | BadRow]:
        """Examples of many rows, those of a component read together."""
        out: list[Any] = [None] * len(rows)
        for component, places, inner in self._parts(rows):
            for place, example in zip(places, read_rows(self.components[component], inner)):
                out[place] = self._named(example, component) if isinstance(example, BadRow) else self.adapt(example, component)
        return out

    def _named(self, error: BadRow, component: int) -> BadRow:
        return BadRow(f"{self.names[component]}: {error}", error.skip)

    def _parts(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Component, places among `rows` and row numbers within the component, of each component that has any."""
        which, inner = self.locate(rows)
        for component in np.unique(which):
            places = np.flatnonzero(which == component)
            yield int(component), places, inner[places]

    def counts(self, batch: int) -> dict[str, int]:
        """Examples of each component in every batch of this size."""
        return largest_remainder(self.weights, batch)

    def where(self, row: int) -> str:
        """What an error message calls a row: its component's name before what that calls it."""
        (which,), (inner,) = self.locate(np.asarray([row]))
        return f"{self.names[which]}: {where(self.components[which], inner)}"

    def identify(self, rows: np.ndarray) -> dict[str, list]:
        """Where rows come from, as `sources.identify`, and the component's name as "source"."""
        found: dict[str, list] = {"source": [self.names[c] for c in self.locate(rows)[0]]}
        for component, places, inner in self._parts(rows):
            for key, values in identify(self.components[component], inner).items():
                column = found.setdefault(key, [None] * len(rows))
                for place, value in zip(places, values):
                    column[place] = value
        return found

    def rows_of(self, rows: np.ndarray) -> np.ndarray:
        """Row numbers in the components' files, as the function `rows_of`."""
        found = np.empty(len(rows), np.int64)
        for component, places, inner in self._parts(rows):
            found[places] = rows_of(self.components[component], inner)
        return found

    def fingerprint(self) -> str:
        """Text that changes with the components' rows, as the function `fingerprint`."""
        return "+".join(map(fingerprint, self.components))

    def skips(self, row: int) -> bool:
        """Whether a bad row is to be masked: what its component asks."""
        (which,), (inner,) = self.locate(np.asarray([row]))
        return skips(self.components[which], int(inner))

    @property
    def skipped(self) -> int:
        """Rows that the components left out as bad when they were opened."""
        return sum(getattr(source, "skipped", 0) for source in self.components)

    @property
    def notes(self) -> list[str]:
        """What the components say of their data."""
        return [f"{name}: {note}" for name, source in zip(self.names, self.components) for note in getattr(source, "notes", ())]

    @property
    def problems(self) -> dict[tuple[str, int], tuple[type[Exception], str]]:
        """(component, row of its file) -> (kind of error, why) of what `skipped` counts."""
        return {(name, row): why for name, source in zip(self.names, self.components)
                for row, why in getattr(source, "problems", {}).items()}


def _vocabulary(sources: Mapping[str, Any]) -> dict[str, list[str]]:
    """Column of `category` -> its values over all sources, in the order in which they come: {} where none names any. Columns are matched by
    their order. Raises ValueError where sources differ in how many they have, or only some name their values."""
    union: dict[str, list[str]] = {}
    those = {name: source for name, source in sources.items() if "category" in source.fields}
    for name, source in those.items():
        found = getattr(source, "category_names", {})
        if bool(found) != bool(getattr(next(iter(those.values())), "category_names", {})):
            raise ValueError(f"mixture: only some of {', '.join(those)} name the values of `category`, whose numbers would mean two "
                             "things; leave it out of one")
        if union and len(found) != len(union):
            raise ValueError(f"mixture: {name!r} has {len(found)} columns of `category`, another {len(union)}; name as many, in one order")
        union = union or {column: [] for column in found}
        for values, known in zip(found.values(), union.values()):
            before = set(known)
            known += [value for value in map(str, values) if value not in before]
    return union


def tempered(sizes: Mapping[str, int], temperature: float) -> dict[str, float]:
    """Weights n ** (1 / temperature), relative to the largest: 1 by rows, infinity equal ones, between them small sources count for more.

    Source: Arivazhagan et al. 2019, "Massively multilingual neural machine translation in the wild". Raises ValueError for 0 and below.
    """
    if isinstance(temperature, bool) or not isinstance(temperature, (int, float)) or not temperature > 0:
        raise ValueError(f"temperature: {temperature!r} is no number above 0; 1 mixes by rows, float('inf') equally")
    largest = max(sizes.values(), default=1)
    return {name: (n / largest) ** (1 / temperature) for name, n in sizes.items()}


def mixture(sources: Mapping[str, Any], weights: Mapping[str, float] | None = None, temperature: float | None = None) -> Mixture:
    """Mix sources by weight (default: by size), or by size with a temperature (`tempered`). Raises ValueError for both of them, and when
    names or label classes disagree."""
    if weights and temperature is not None:
        raise ValueError(f"temperature: {temperature!r} beside a weight of {next(iter(weights))!r}; give one of them")
    sizes = {name: len(source) for name, source in sources.items()}
    return Mixture(sources, weights or (sizes if temperature is None else tempered(sizes, temperature)))


def interleave(plans: tuple[Callable, ...], offsets: np.ndarray, order: Callable[[int], np.ndarray]) -> Callable:
    """Join component plans: step -> (ids i64[batch], epochs i64[batch]), in the order `order(step)` (a permutation).

    The order is mixed so that each host's contiguous block, and each micro-batch, holds every component.
    """
    def rows(step: int) -> tuple[np.ndarray, np.ndarray]:
        parts = [plan(step) for plan in plans]
        ids = np.concatenate([part + offset for (part, _), offset in zip(parts, offsets)])
        epochs = np.concatenate([np.full(len(part), epoch) for part, epoch in parts])
        mixed = order(step)
        return ids[mixed], epochs[mixed]

    return rows
