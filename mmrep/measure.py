"""What encoders of tables and vectors need to know of the training rows: means and deviations, numbers of values and columns."""

from typing import Any

import numpy as np

from mmrep import config as cfg
from mmrep.data.mixture import Mixture
from mmrep.data.reading import read_rows
from mmrep.data.sources import BadRow, spread

NOTHING = {"scales": {}, "columns": 0, "cardinalities": (), "masks": ()}
ROWS = 256  # a mean is known to 6 % of a deviation from them, and no encoder needs it better
OTHERS = ("image", "volume", "signal", "text", "category")  # fields that are no vectors of numbers


def measure(config: Any, sources: dict[str, Any], specs: dict[str, dict]) -> dict[str, Any]:
    """{"scales": {field: {"mean", "std"}}, "columns", "cardinalities", "masks"} of what the encoders read, as plain values.

    scales: of `tabular`, `features` and other vectors (`protein_features`) over the training rows, a number a column, from a manifest's own
    statistics or from at most 256 rows, spread evenly, of the first stream that has the field; known entries (`mask/FIELD`) alone count,
    and a column that is constant has deviation 1. columns: of numbers; cardinalities: of every category its number of values; masks: of
    `specs`. Nothing is read where no encoder reads such a field.
    """
    encoders = cfg.plain(config.encoders)
    read = {spec.get("field") or m for m, spec in encoders.items() if isinstance(spec, dict)}
    read |= {{"table": "tabular", "bag": "features"}.get(spec.get("name")) for spec in encoders.values() if isinstance(spec, dict)}
    masks = tuple(sorted({key for spec in specs.values() for key in spec if key.startswith("mask/")}))
    found: dict[str, Any] = NOTHING | {"scales": {}, "masks": masks}
    floats = {key for spec in specs.values() for key, (shape, dtype) in spec.items() if shape is not None and np.dtype(dtype).kind == "f"}
    wanted = sorted(field for field in read & floats if field not in OTHERS and "/" not in field) + ["category"] * ("tabular" in read)
    for name, source in sources.items():
        new = [field for field in wanted if field in specs[name] and not (found["cardinalities"] if field == "category" else
                                                                          field in found["scales"])]
        if "category" in new and not found["cardinalities"]:
            found["cardinalities"] = _own_sizes(source)
        rows = _rows(source, new) if new else []
        for field in new:
            values = [row for row in rows if field in row]
            if field == "category":
                found["cardinalities"] = found["cardinalities"] or tuple(
                    1 + int(n) for n in np.max([row[field].reshape(-1, row[field].shape[-1]).max(0) for row in values], 0))
            else:
                found["scales"][field] = _own_scale(source, field) or _scale(values, field)
    found["columns"] = len(found["scales"].get("tabular", {}).get("mean", ()))
    return found


def _own_sizes(source: Any) -> tuple[int, ...]:
    """Numbers of values that a manifest counted over its whole table, or none."""
    return tuple(len(names) for names in getattr(source, "category_names", {}).values())


def _own_scale(source: Any, field: str) -> dict | None:
    """A manifest's own statistics, over all of its training rows, unless `prepare` may have changed what they are of."""
    if field != "tabular" or not hasattr(source, "tabular_mean") or getattr(source, "prepare", None):
        return None
    return _plain(np.atleast_1d(source.tabular_mean), np.atleast_1d(source.tabular_std))


def _rows(source: Any, fields: list[str]) -> list[dict]:
    """At most ROWS readable rows of a source that hold one of the fields, spread evenly; of a mixture, of every part."""
    if isinstance(source, Mixture):
        return [row for part in source.components for row in _rows(part, fields)]
    rows, found = spread(len(source), ROWS), []
    for part in np.array_split(rows, -(-len(rows) // 64)):
        found += [row for row in read_rows(source, part) if not isinstance(row, BadRow) and any(field in row for field in fields)]
    return found


def _scale(rows: list[dict], field: str) -> dict:
    values, known = [], []
    for row in rows:
        x = np.asarray(row[field], np.float64)
        mark = np.asarray(row.get(f"mask/{field}", np.ones(())), bool)
        known.append(np.broadcast_to(mark[..., None] if mark.ndim == x.ndim - 1 and mark.ndim else mark, x.shape).reshape(-1, x.shape[-1]))
        values.append(x.reshape(-1, x.shape[-1]))
    x, here = np.concatenate(values), np.concatenate(known)
    count = np.maximum(here.sum(0), 1)
    mean = np.where(here, x, 0).sum(0) / count
    return _plain(mean, np.sqrt((np.where(here, x - mean, 0) ** 2).sum(0) / count))


def _plain(mean: np.ndarray, std: np.ndarray) -> dict:
    """As JSON keeps it: f32 values as numbers, deviations of nothing as 1."""
    std = np.where(std > 1e-5, std, 1.0)
    return {"mean": tuple(np.float32(mean).tolist()), "std": tuple(np.float32(std).tolist())}
