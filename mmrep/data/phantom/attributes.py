"""The phantom as lists of attributes: one view shows all of them, the other, a caption, names one and a few others.

The information imbalance of MAD (Schrodi et al. 2025, section 5: Morpho-MNIST images whose captions name the digit and n random other
attributes) without pictures: each view is its attributes' one-hot vectors through a fixed random two-layer network, plus noise.
"""

import numpy as np

from mmrep.data.phantom.latents import SPLITS
from mmrep.data.phantom.philox import bits, choice, normal, uniform


class Attributes:
    """Rows of one split: two views f32[D] under `fields`, attribute values as labels; build it with `attributes`."""

    def __init__(self, split: str, seed: int, n: int, options: dict):
        self.split, self.seed, self._options = split, seed, options
        self.fields = options["names"]
        self.index = np.arange(n, dtype=np.int32) + SPLITS[split]
        size = options["count"] * options["values"]
        self._nets = tuple(_net(seed, view, size, options["width"]) for view in (0, 1))

    def __len__(self) -> int:
        return len(self.index)

    def block(self, rows: np.ndarray) -> dict:
        """Rows i[B] -> the two views f32[B, width], label/object i32[B] (attribute 0), label/attribute_1, ... i32[B], label/mentioned
        u8[B, count], index and case i32[B]. Raises IndexError for rows out of range."""
        rows, o = np.asarray(rows, np.int64), self._options
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"phantom {self.split}: rows {rows.min()}..{rows.max()} asked for, but it has {len(self)}")
        ids = self.index[rows].astype(np.int64)
        raw = bits(self.seed, ids, {"attributes/value": o["count"], "attributes/order": o["count"], "attributes/noise": 2 * o["width"]})
        value = choice(raw["attributes/value"], o["values"])
        order = raw["attributes/order"].copy()
        order[:, 0] = 0  # the object comes first
        rank = np.argsort(np.argsort(order, axis=1, kind="stable"), axis=1, kind="stable")
        mentioned = rank < o["mentioned"]
        hot = np.eye(o["values"])[value]
        noise = np.split(o["noise"] * normal(uniform(raw["attributes/noise"])), 2, axis=1)
        named = (hot * mentioned[..., None]).reshape(len(rows), -1)
        views = (named if o["balanced"] else hot.reshape(len(rows), -1), named)
        out = {name: (_through(net, view) + e).astype(np.float32) for name, net, view, e in zip(self.fields, self._nets, views, noise)}
        labels = {"object" if i == 0 else f"attribute_{i}": value[:, i].astype(np.int32) for i in range(o["count"])}
        out |= {f"label/{k}": v for k, v in labels.items()} | {"label/mentioned": mentioned.astype(np.uint8)}
        return out | {"index": self.index[rows], "case": self.index[rows]}

    def __getitem__(self, row: int) -> dict:
        """One row: as `block` without the leading axis."""
        return {name: values[0] for name, values in self.block(np.array([int(row)])).items()}


def _net(seed: int, view: int, size: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.Generator(np.random.Philox(key=[seed, 31_337 + view]))
    return rng.standard_normal((size, width)) * np.sqrt(2 / size), rng.standard_normal((width, width)) / np.sqrt(width)


def _through(net: tuple[np.ndarray, np.ndarray], x: np.ndarray) -> np.ndarray:
    """tanh(x A) B in a fixed order of summation, whatever the number of rows."""
    for k, matrix in enumerate(net):
        total = np.zeros((len(x), matrix.shape[1]))
        for i in range(matrix.shape[0]):
            total = total + x[:, i, None] * matrix[i]
        x = np.tanh(total) if k == 0 else total
    return x


def attributes(split: str, seed: int = 0, n: int = 65_536, count: int = 6, values: int = 4, mentioned: int = 6, width: int = 64,
               noise: float = 0.1, names: tuple[str, str] = ("x1", "x2"), balanced: bool = False) -> Attributes:
    """Source of two views of `count` attributes of `values` values; row i is a pure function of (seed, split, i, options).

    mentioned: how many of them the second view names, the first (the object) always among them; width: of the views; noise: deviation of
    what is added; balanced: the first view shows no more than the second names. Raises ValueError for anything out of range.
    """
    if split not in SPLITS or count < 1 or values < 2 or not 1 <= mentioned <= count or width < 1 or not 0 <= noise < np.inf:
        raise ValueError("phantom attributes: needs count >= 1, values >= 2, mentioned in 1..count, width >= 1, noise >= 0; got "
                         f"{split=} {count=} {values=} {mentioned=} {width=} {noise=}")
    names = tuple(names)
    if len(names) != 2 or names[0] == names[1]:
        raise ValueError(f"phantom attributes: names must be two batch keys, got {names}")
    return Attributes(split, seed, n, {"count": count, "values": values, "mentioned": mentioned, "width": width, "noise": noise,
                                       "names": names, "balanced": balanced})
