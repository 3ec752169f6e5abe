"""Corruption of rows of numbers and categories: `tabular` f32[F] with `category` i32[K], and vectors `features` f32[D].

What a column's values are like comes from the training rows: `training`, which the program gives, opens them; they are read once, at the
first row.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mmrep.data.example import Example, Transform
from mmrep.data.reading import read_rows
from mmrep.data.sources import BadRow, spread
from mmrep.data.transforms.checks import field, names, number, whole
from mmrep.data.transforms.pixels import on

TABLE = ("tabular", "category")
Marginals = dict[str, tuple[np.ndarray, np.ndarray]]


def marginals(source: Any, keys: Sequence[str], rows: int) -> Marginals:
    """Key -> values [R, M] of at most `rows` rows of the source, spread evenly, and i64[M], how many of each column are known.

    In each column the known values (`mask/KEY` not 0) come first; one with none counts as all known. Raises ValueError where no row that
    was read holds a key, or where it is no vector.
    """
    chosen, found = spread(len(source), rows), {key: [] for key in keys}
    marks: dict[str, list] = {key: [] for key in keys}
    for part in np.array_split(chosen, -(-len(chosen) // 64)):
        for row in read_rows(source, part):
            for key in keys if not isinstance(row, BadRow) else ():
                if key in row:
                    value = np.asarray(row[key])
                    if value.ndim != 1:
                        raise ValueError(f"scarf: {key} has the shape {value.shape}, not that of one vector")
                    found[key].append(value)
                    marks[key].append(np.broadcast_to(np.asarray(row.get(f"mask/{key}", True)) != 0, value.shape))
    out = {}
    for key in keys:
        if not found[key]:
            raise ValueError(f"none of {len(chosen)} training rows that were read has {key!r}")
        known = np.stack(marks[key])
        known |= ~known.any(0)
        out[key] = np.take_along_axis(np.stack(found[key]), np.argsort(~known, axis=0, kind="stable"), 0), known.sum(0)
    return out


def _rows_of(name: str, training: Callable[[], Any] | None, keys: Sequence[str], rows: int) -> Callable[[], Marginals]:
    whole(f"{name}: rows", rows)
    if training is None:
        raise ValueError(f"{name}: draws from the training rows, which only `augment` of a config's stream knows; put it there, or pass "
                         "training=lambda: SOURCE")
    return functools.lru_cache(maxsize=1)(lambda: marginals(training(), keys, rows))


def scarf(rate: float = 0.6, keys: Sequence[str] = TABLE, rows: int = 1024, training: Callable[[], Any] | None = None) -> Transform:
    """Replace floor(rate * M) of a row's M columns, chosen at random, each by a draw of the values that training rows have in that column.

    keys: which vectors, together one row of M columns; those an example lacks are none of them. Entries that are not known (`mask/KEY` 0)
    stay. rows: how many training rows give the values, spread evenly (all where there are fewer). Two views, the row itself and a
    corrupted one, as in the paper: {"name": "views", "count": 2, "first": True, "key": ("tabular", "category"), "transforms":
    ({"name": "scarf"},)}. Source: SCARF (Bahri et al. 2022, algorithm 1), rate 0.6; MMCL (Hager et al. 2023) has 0.3.
    """
    number("scarf: rate", rate, 0, 1)
    keys = names("scarf: keys", keys)
    known = _rows_of("scarf", training, keys, rows)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        here = [key for key in keys if field(example, key) is not None]
        if not here:
            return example
        pools = known()
        sizes = [len(example[key]) for key in here]
        chosen = np.zeros(sum(sizes), bool)
        chosen[rng.permutation(len(chosen))[:int(rate * len(chosen))]] = True
        draws, out = rng.random(len(chosen)), {}
        for key, mine, draw in zip(here, np.split(chosen, np.cumsum(sizes)[:-1]), np.split(draws, np.cumsum(sizes)[:-1])):
            (values, counts), x = pools[key], example[key]
            if x.shape != counts.shape:
                raise ValueError(f"scarf: {key} has the shape {list(x.shape)}, that of the training rows {list(counts.shape)}")
            new = values[(draw * counts).astype(np.int64), np.arange(len(counts))]
            out[key] = np.where(mine & (np.asarray(example.get(f"mask/{key}", True)) != 0), new, x).astype(x.dtype)
        return {**example, **out}

    return apply


def feature_noise(std: float = 0.1, key: str = "features", rows: int = 256, training: Callable[[], Any] | None = None) -> Transform:
    """Gaussian noise on every entry, of `std` times the deviation that its column has over the training rows (of which `rows` are read).

    For `tabular` or `features`, whose columns have units of their own; a constant column stays as it is.
    """
    number("feature_noise: std", std, 0)
    known = _rows_of("feature_noise", training, (key,), rows)

    @functools.lru_cache(maxsize=1)
    def deviations() -> np.ndarray:
        values, counts = known()[key]
        return np.array([values[:n, j].std(dtype=np.float64) for j, n in enumerate(counts)], np.float32)

    def change(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if x.shape[-1:] != deviations().shape:
            raise ValueError(f"feature_noise: {key} has the shape {list(x.shape)}, that of the training rows {list(deviations().shape)}")
        return (x + np.float32(std) * deviations() * rng.standard_normal(x.shape, np.float32)).astype(x.dtype)

    return on("feature_noise", key, change)


def drop_features(p: float = 0.1, value: float = 0.0, key: str = "features") -> Transform:
    """Set every entry to `value` with probability p: dropout of genes, without scaling the rest. Of a bag [N, D] each tile for itself."""
    number("drop_features: p", p, 0, 1)
    number("drop_features: value", value)
    return on("drop_features", key, lambda x, rng: np.where(rng.random(x.shape) < p, x.dtype.type(value), x))
