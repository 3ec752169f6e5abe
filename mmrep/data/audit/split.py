"""Splits of one's own: no patient in two of them, classes in proportion, near-identical pictures together if asked for."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.core.names import nearest
from mmrep.data.rng import philox
from mmrep.data.tables import Table

NAMES = ("train", "val", "test")
TAG = 0x5911  # of the stream of random numbers


def assign(units: np.ndarray, labels: np.ndarray, fractions: Sequence[float], seed: int = 0) -> np.ndarray:
    """Split number of every row, i64[n]: rows of a unit stay together, and every split has its fraction of the rows and of each class.

    units i64[n]; labels f64[n, K], how much a row counts for each of K classes (K may be 0); fractions sum to 1. Units are taken from the
    largest to the smallest, a rare class weighing as much as a frequent one (ties in an order drawn by `seed`), each put where the
    chi-square distance of all counts, as shares of their class, from the fractions ends smallest: the greedy rule of scikit-learn's
    StratifiedGroupKFold, for splits of unequal size.
    Raises ValueError where a split would stay empty.
    """
    fractions = np.asarray(fractions, np.float64)
    if fractions.ndim != 1 or (fractions <= 0).any() or abs(fractions.sum() - 1) > 1e-6:
        raise ValueError(f"--fractions {' '.join(map(str, fractions.tolist()))}: give positive shares that sum to 1")
    _, unit = np.unique(units, return_inverse=True)
    n = int(unit.max()) + 1
    if n < len(fractions):
        raise ValueError(f"split: {n} patients (or groups of rows that must stay together) cannot be divided into {len(fractions)} splits")
    whole = np.concatenate([np.ones((len(unit), 1)), labels], 1)
    counts = np.zeros((n, whole.shape[1]))
    np.add.at(counts, unit, whole)
    totals = np.maximum(counts.sum(0), 1e-12)
    shares = counts / totals  # of each class, so that a rare one weighs as much as a frequent one
    order = philox(seed, TAG, 0).permutation(n)
    order = order[np.argsort(-np.round((shares[order] ** 2).sum(1), 12), kind="stable")]
    filled = np.zeros((len(fractions), shares.shape[1]))
    out, empty = np.zeros(n, np.int64), set(range(len(fractions)))
    for at, u in enumerate(order.tolist()):
        # the change of sum((filled - fraction)^2 / fraction) over all splits and classes, by adding the unit to each split: relative to
        # the fraction, or the largest split would be filled first, and with the classes that come first
        gain = (shares[u] * (shares[u] + 2 * (filled - fractions[:, None])) / fractions[:, None]).sum(1)
        if len(empty) == n - at:  # as many units are left as splits are empty
            gain[[k for k in range(len(fractions)) if k not in empty]] = np.inf
        best = int(np.argmin(np.round(gain, 15)))
        out[u] = best
        filled[best] += shares[u]
        empty.discard(best)
    return out[unit]


def classes(labels: Mapping[str, np.ndarray], rows: int) -> np.ndarray:
    """f64[n, K] of labels: a column a class, a finding, or a quarter of a number's range of ranks; unknown counts for none."""
    columns = [np.zeros((rows, 0))]
    for values in labels.values():
        if values.ndim > 1:
            columns.append((np.nan_to_num(values.reshape(rows, -1).astype(np.float64)) > 0).astype(np.float64))
            continue
        if values.dtype.kind == "f":
            known = np.isfinite(values)
            bounds = np.quantile(values[known], (0.25, 0.5, 0.75)) if known.any() else ()
            values = np.where(known, np.searchsorted(bounds, values, "right"), -1)
        found = np.unique(values[values >= 0])
        columns.append((values[:, None] == found).astype(np.float64))
    return np.concatenate(columns, 1)


def joined(*same: np.ndarray) -> np.ndarray:
    """i64[n]: rows that share a value in any of the arrays (patient, cluster of pictures), directly or by way of others, share a number.

    Negative values are rows of none.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(same[0])
    rows, ids, offset = [], [], n
    for values in same:
        known = np.flatnonzero(values >= 0)
        _, number = np.unique(values[known], return_inverse=True)
        rows.append(known)
        ids.append(number + offset)
        offset += int(number.max(initial=-1)) + 1
    i, j = np.concatenate(rows), np.concatenate(ids)
    _, label = connected_components(coo_array((np.ones(len(i), bool), (i, j)), shape=(offset, offset)), directed=False)
    return label[:n].astype(np.int64)


def _linked(n: int, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """i64[n]: a number that rows share which share a value, directly or by way of others; -1 for those without any."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    number = np.unique(values, return_inverse=True)[1]
    size = n + int(number.max(initial=-1)) + 1
    _, label = connected_components(coo_array((np.ones(len(rows), bool), (rows, n + number)), shape=(size, size)), directed=False)
    return np.where(np.isin(np.arange(n), rows), label[:n], -1).astype(np.int64)


def split_rows(opened: Mapping[str, Any], fractions: Sequence[float], by: Sequence[str] = (), seed: int = 0, together: str = "no",
               names: Sequence[str] = NAMES) -> tuple[np.ndarray, list[str], list[str]]:
    """(row of the file i64[n], its split's name [n], what was done, in lines) of all rows of the sources (split -> source) anew.

    by: labels to keep in proportion, all of them where none is named; together: "exact" or "near" keeps equal, or near-identical, pictures
    in one split, whoever the patient. Pictures are read for that only. Raises ValueError.
    """
    from mmrep.data.audit.scan import scan
    from mmrep.data.audit.validate import shared_values

    if together not in ("no", "exact", "near"):
        raise ValueError(f"--together {together}: is not no, exact or near")
    if len(names) != len(fractions):
        raise ValueError(f"split: {len(fractions)} fractions for {len(names)} splits {', '.join(names)}")
    sources, said = list(opened.values()), []
    known = together == "no" and all(hasattr(source, "labels") and hasattr(source, "rows") for source in sources)
    same: list[np.ndarray] = []
    if known:
        bad = sum(int(getattr(source, "skipped", 0)) for source in sources)
        why = next((why for source in sources for _, why in getattr(source, "problems", {}).values()), "")
        rows = np.concatenate([source.rows for source in sources])
        labels = {label: np.concatenate([source.labels[label] for source in sources]) for label in sources[0].labels}
        cases = [getattr(source, "cases", None) for source in sources]
        same += [] if any(c is None for c in cases) else [np.concatenate(cases).astype(np.int64)]
    else:
        scanned = scan(opened)
        bad, why = sum(scanned.skipped.values()), next((why for _, _, why in scanned.problems), "")
        rows, labels = scanned.row, scanned.labels
        same += [scanned.ids["case"]] if "case" in scanned.ids else []
        for key in ("image_near", "image") if together == "near" else ("image",) if together == "exact" else ():
            if marks := shared_values(scanned).get(key):
                same.append(_linked(len(rows), *marks))
    if bad:
        said.append(f"{bad:,} bad rows are in no split (their cell is empty), e.g. {why}")
    if not same:
        said.append("no patients or cases are named: rows are split one by one, and two of one patient may part")
        same = [np.full(len(rows), -1, np.int64)]
    for label in by:
        if label not in labels:
            raise ValueError(f"--by {label}: no such label; {nearest(label, labels)}")
    chosen = {label: labels[label] for label in by or labels}
    which = assign(joined(*same), classes(chosen, len(rows)), fractions, seed)
    for k, name in enumerate(names):
        said.append(f"{name}: {int((which == k).sum()):,} rows" + "".join(
            f", {label} " + " / ".join(f"{n:,}" for n in np.bincount(values[(which == k) & (values >= 0)], minlength=int(values.max()) + 1))
            for label, values in chosen.items() if values.ndim == 1 and values.dtype.kind == "i" and 0 <= values.max() < 12))
    return rows, [names[k] for k in which], said


def write_table(table: Path, out: Path, split: Mapping[int, str], column: str = "split") -> Path:
    """Copy a table with the column that holds each row's split (rows left out: null), as .csv, .tsv, .jsonl or .parquet by `out`'s suffix.

    Raises ValueError where `out` exists, or the table has the column already, or its cells do not fit the format.
    """
    source = Table(table)
    if column in source.names:
        raise ValueError(f"{table}: has a column {column!r} already; name another by --column")
    cells = {name: source[name] for name in source.names} | {column: [split.get(row) for row in range(source.length)]}
    return _write(out, cells)


def write_rows(out: Path, rows: Sequence[int], split: Sequence[str], column: str = "split") -> Path:
    """A table of row (in the source, from 0) and split alone, for a source that is no table. Raises ValueError where `out` exists."""
    return _write(out, {"row": [int(row) for row in rows], column: list(split)})


def _write(out: Path, cells: Mapping[str, list[Any]]) -> Path:
    kind = out.suffix.lower()
    if kind not in (".csv", ".tsv", ".jsonl", ".parquet"):
        raise ValueError(f"--out {out}: write to a .csv, .tsv, .jsonl or .parquet file")
    if out.exists():
        raise ValueError(f"--out {out}: is there already, and is not written over; name another file")
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + ".part")
    if kind == ".jsonl":
        rows = (dict(zip(cells, values)) for values in zip(*cells.values()))
        part.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    else:
        import pyarrow
        from pyarrow import csv, parquet

        table = pyarrow.table(dict(cells))
        if kind == ".parquet":
            parquet.write_table(table, part)
        elif any(pyarrow.types.is_nested(form) for form in table.schema.types):
            raise ValueError(f"--out {out}: cells hold lists; write to a .jsonl or .parquet file")
        else:  # texts are quoted, so that an empty one is told from a null
            csv.write_csv(table, part, csv.WriteOptions(delimiter="\t" if kind == ".tsv" else ","))
    part.rename(out)
    return out
