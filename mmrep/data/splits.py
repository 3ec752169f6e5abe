"""Which rows of a table a manifest serves: splits, filters, and what may be wrong with them."""

from collections import Counter
from collections.abc import Mapping
from difflib import get_close_matches

import numpy as np

from mmrep.data.tables import Table, matches, vocabulary

SPLITS = ("train", "val", "test")


def split_rows(table: Table, split: str, columns: Mapping, splits: Mapping) -> np.ndarray:
    """Rows of a split, i64[n]; of all where it is "all". Raises ValueError for a column or a split that is not there."""
    if split == "all":
        return np.arange(table.length)
    column = columns.get("split", "split")
    if column not in table.names and "split" not in columns:
        near = get_close_matches("split", table.names, 1, 0.5)
        raise ValueError(f"manifest {table.path}: no column 'split'" + (f" (is it {near[0]!r}?)" if near else "")
                         + "; name one with columns={'split': ...}, which says train, val or test of every row (of a patient's "
                         "rows alike)")
    wanted = splits.get(split, split)
    rows = np.flatnonzero([matches(cell, wanted) for cell in table[column]])
    if not len(rows):
        raise ValueError(f"manifest {table.path}: column {column!r} has no split {wanted!r}; it has "
                         f"{', '.join(vocabulary(table[column])[:12])} (rename with splits={{{split!r}: ...}})")
    return rows


def filter_rows(table: Table, rows: np.ndarray, filters: Mapping) -> np.ndarray:
    """The rows that every filter keeps. Raises ValueError where one keeps none."""
    for column, wanted in filters.items():
        cells = table[column]
        kept = np.array([row for row in rows if matches(cells[row], wanted)], np.int64)
        if not len(kept):
            has = ", ".join(vocabulary([cells[row] for row in rows])[:8])
            raise ValueError(f"manifest {table.path}: no row of {len(rows)} has {column!r} = {wanted!r}; it has {has}")
        rows = kept
    return rows


def train_rows(table: Table, columns: Mapping, splits: Mapping, filters: Mapping) -> np.ndarray:
    """Rows that statistics may be taken from: the training split, or all where the file has no splits."""
    if columns.get("split", "split") not in table.names:
        return filter_rows(table, np.arange(table.length), filters)
    return filter_rows(table, split_rows(table, "train", columns, splits), filters)


def _named(table: Table, columns: Mapping, splits: Mapping, filters: Mapping) -> tuple[np.ndarray, list, list]:
    """The rows that the filters keep, the split each of them is of (None for none), and the cells that say so."""
    rows = np.arange(table.length)
    for column, wanted in filters.items():
        cells = table[column]
        rows = np.array([row for row in rows if matches(cells[row], wanted)], np.int64)
    cells = [table[columns.get("split", "split")][row] for row in rows]
    return rows, [next((s for s in SPLITS if matches(cell, splits.get(s, s))), None) for cell in cells], cells


def check_cases(table: Table, columns: Mapping, splits: Mapping, filters: Mapping) -> None:
    """Raise ValueError for a case with rows in several splits: what is known of it from training would be tested on it."""
    if "case" not in columns or columns.get("split", "split") not in table.names:
        return
    rows, names, _ = _named(table, columns, splits, filters)
    cases, found = table[columns["case"]], {}
    for row, name in zip(rows, names):
        if name is not None and cases[row] is not None:
            found.setdefault(str(cases[row]), {}).setdefault(name, int(row))
    shared = [of for of in found.values() if len(of) > 1]
    if shared:
        first = ", ".join(f"row {row + 1} in {name}" for name, row in shared[0].items())
        raise ValueError(f"manifest {table.path}: {len(shared)} of {len(found)} cases ({columns['case']!r}) have rows in several "
                         f"splits, e.g. {first}: give all rows of a case one split, or pass shared_cases=True to test on "
                         "cases that were trained on")


def of_no_split(table: Table, columns: Mapping, splits: Mapping, filters: Mapping) -> list[str]:
    """A line on the rows that no split takes, with what their cells hold."""
    if columns.get("split", "split") not in table.names:
        return []
    _, names, cells = _named(table, columns, splits, filters)
    lost = Counter(cell if cell is None else str(cell) for cell, name in zip(cells, names) if name is None)
    if not lost:
        return []
    near = next((f", did you mean {close[0]!r}?" for cell in lost if cell
                 and (close := get_close_matches(cell.strip().lower(), SPLITS, 1, 0.6))), "")
    held = ", ".join(f"{'null' if cell is None else repr(cell)} {count:,}" for cell, count in lost.most_common(5))
    return [f"manifest {table.path}: {sum(lost.values()):,} of {len(cells):,} rows are in none of train, val and test: column "
            f"{columns.get('split', 'split')!r} holds {held}{near}"]
