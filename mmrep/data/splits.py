"""Which rows of a table a manifest serves: splits, filters, and what may be wrong with them."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np

from mmrep.data.tables import Table, collapsed, matches, vocabulary

SPLITS = ("train", "val", "test")
MOST_TOLD = 12  # values of a column in an error: more could be names
_USUAL = re.compile(r"(?:train|val|dev|test|tune|eval|hold|fold|split|part|intern|extern|exclu|unus)\w{0,8}[ _-]?\d{0,3}|\d{1,2}",
                    re.IGNORECASE)  # what splits are called


def split_rows(table: Table, split: str, columns: Mapping, splits: Mapping) -> np.ndarray:
    """Rows of a split, i64[n]; of all where it is "all".

    Raises ValueError for a column or a split that is not there, or a row that is in two of train, val and test.
    """
    if split == "all":
        return np.arange(table.length)
    column = columns.get("split", "split")
    if column not in table.names and "split" not in columns:
        near = get_close_matches("split", table.names, 1, 0.5)
        raise ValueError(f"manifest {table.path}: no column 'split'" + (f" (is it {near[0]!r}?)" if near else "")
                         + "; name one with columns={'split': ...}, which says train, val or test of every row (of a patient's "
                         "rows alike)")
    wanted = splits.get(split, split)
    rows = np.flatnonzero(_fits(table[column], wanted))
    if not len(rows):
        has = _split_words(table[column])
        raise ValueError(f"manifest {table.path}: column {column!r} has no split {wanted!r}; it has {has} (rename with "
                         f"splits={{{split!r}: ...}})")
    for other in SPLITS:
        if split in SPLITS and other != split and _fits(table[column], splits.get(other, other))[rows].any():
            raise ValueError(f"manifest {table.path}: splits names rows of {column!r} both {split} ({wanted!r}) and {other} "
                             f"({splits.get(other, other)!r}): what is chosen on one would have been seen by the other")
    return rows


def filter_rows(table: Table, rows: np.ndarray, filters: Mapping, columns: Mapping | None = None) -> np.ndarray:
    """The rows that every filter keeps. Raises ValueError where one keeps none; values of a column that `columns` names as text or case,
    or of one of many values (ids, free text), are not told."""
    secret = {name for key in ("text", "case", "group") for name in _listed((columns or {}).get(key, ()))}
    for column, wanted in filters.items():
        kept = rows[_fits(table[column], wanted)[rows]]
        if not len(kept):
            has = _classes([table[column][row] for row in rows], column in secret)
            raise ValueError(f"manifest {table.path}: no row of {len(rows)} has {column!r} = {wanted!r}; it has {has}")
        rows = kept
    return rows


def _split_words(cells: Sequence) -> str:
    """The distinct values of a column of splits for an error: what splits are called, and how many others, which could be names."""
    values = vocabulary(cells)
    usual = [value for value in values if _USUAL.fullmatch(value) or _close(value)]
    usual = usual if len(usual) <= MOST_TOLD else []
    rest = len(values) - len(usual)
    return ", ".join([*usual, *([f"{rest} other values"] if rest else [])])


def _close(value: str) -> list[str]:
    """The split that a value seems to mean, if any."""
    return get_close_matches(value.strip().lower(), SPLITS, 1, 0.6)


def _classes(cells: Sequence, secret: bool) -> str:
    """The distinct values of a filtered column for an error, or their number where they could be names, ids or texts."""
    values = vocabulary(cells)
    plain = all(len(value) <= 24 and not re.search(r"[\s^,]", value) for value in values)
    return ", ".join(values) if plain and not secret and len(values) <= min(MOST_TOLD, len(cells) / 2) else f"{len(values)} other values"


def _listed(columns: str | Sequence[str]) -> list[str]:
    return [columns] if isinstance(columns, str) else list(columns)


def train_rows(table: Table, columns: Mapping, splits: Mapping, filters: Mapping) -> np.ndarray:
    """Rows that statistics may be taken from: the training split, or all where the file has no splits."""
    whole = columns.get("split", "split") not in table.names
    return filter_rows(table, split_rows(table, "all" if whole else "train", columns, splits), filters, columns)


def _fits(cells: Sequence, wanted: Any) -> np.ndarray:
    """bool[n]: which cells fit a filter; each distinct text is asked about once."""
    known: dict[Any, bool] = {}
    out = np.zeros(len(cells), bool)
    for row, cell in enumerate(cells):
        if isinstance(cell, str) or cell is None:
            if cell not in known:
                known[cell] = matches(cell, wanted)
            out[row] = known[cell]
        else:
            out[row] = matches(cell, wanted)
    return out


def _split_of(table: Table, columns: Mapping, splits: Mapping, filters: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """The rows that the filters keep, i64[n], and the number in SPLITS of the split each of them is of, -1 for none."""
    column = table[columns.get("split", "split")]
    rows = filter_rows(table, np.arange(table.length), filters, columns)
    which = np.full(len(rows), -1)
    for number, name in enumerate(SPLITS):
        which[_fits(column, splits.get(name, name))[rows]] = number
    return rows, which


def check_cases(table: Table, columns: Mapping, splits: Mapping, filters: Mapping) -> None:
    """Raise ValueError for a case with rows in several splits: what is known of it from training would be tested on it."""
    if "case" not in columns or columns.get("split", "split") not in table.names:
        return
    rows, which = _split_of(table, columns, splits, filters)
    cases, first, shared = table[columns["case"]], {}, {}
    for row, split in zip(rows.tolist(), which.tolist()):
        if split >= 0 and cases[row] is not None:
            case = collapsed(cases[row])
            before = first.setdefault(case, (row, split))
            if before[1] != split:
                shared.setdefault(case, (before, (row, split)))
    if shared:
        example = ", ".join(f"row {row} in {SPLITS[split]}" for row, split in next(iter(shared.values())))
        raise ValueError(f"manifest {table.path}: {len(shared)} of {len(first)} cases ({columns['case']!r}) have rows in several "
                         f"splits, e.g. {example}: give all rows of a case one split, or pass shared_cases=True to test on "
                         "cases that were trained on")


def of_no_split(table: Table, columns: Mapping, splits: Mapping, filters: Mapping) -> list[str]:
    """A line on the rows that no split takes, with what their cells hold."""
    if columns.get("split", "split") not in table.names:
        return []
    rows, which = _split_of(table, columns, splits, filters)
    cells = table[columns.get("split", "split")]
    lost = Counter(None if cells[row] is None else str(cells[row]) for row in rows[which < 0])
    if not lost:
        return []
    near = next((f", did you mean {close[0]!r}?" for cell in lost if cell and (close := _close(cell))), "")
    said = [(cell, n) for cell, n in lost.most_common() if cell is None or _USUAL.fullmatch(cell) or _close(cell)][:5]
    rest = sum(lost.values()) - sum(n for _, n in said)
    held = ", ".join([f"{'null' if cell is None else repr(cell)} {n:,}" for cell, n in said] + [f"other values {rest:,}"] * bool(rest))
    return [f"manifest {table.path}: {sum(lost.values()):,} of {len(rows):,} rows are in none of train, val and test: column "
            f"{columns.get('split', 'split')!r} holds {held}{near}"]
