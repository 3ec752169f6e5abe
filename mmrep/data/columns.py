"""Columns of a user's table as the values that a manifest's rows hold, checked cell by cell.

A cell that does not fit makes its row bad: it is noted in `source.problems` where the row is served, and `manifest`
then raises, naming file and row, or leaves the row out.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mmrep.data.stores import nearby
from mmrep.data.tables import numbers, vocabulary

_SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".tif", ".tiff")


def listed(columns: str | Sequence[str]) -> list[str]:
    """One column or several, as a list."""
    return [columns] if isinstance(columns, str) else list(columns)


def _bad(source: Any, row: int, message: str, kind: type[Exception] = ValueError) -> None:
    if source.served[row]:
        source.problems.setdefault(int(row), (kind, message))


def pictures(source: Any, column: str) -> list[str | None]:
    """Names of the pictures; a suffix is found where the cells leave it out."""
    names = [None if cell is None else str(cell) for cell in source.table[column]]
    advice = ""
    for row in source.rows:
        name = names[row]
        if name is None:
            continue
        found = next((name + suffix for suffix in _SUFFIXES if name + suffix in source.store), None) if name else None
        if found is None:
            if not advice:  # of the first that is missing: to look into archives takes long
                archive = nearby(source.store.path, name)
                advice = f"pass images={archive!r}, which holds it" if archive else "set images=, or on_error='skip'"
            _bad(source, row, f"image {name!r} is not in {source.store.path}; {advice}", FileNotFoundError)
        names[row] = found or name
    return names


def texts(source: Any, columns: str | Sequence[str], allow_empty: bool) -> list[Any]:
    """One text a row (a list, where the cell is one), None where all of its cells are null."""
    parts = [source.table[column] for column in listed(columns)]
    texts: list[Any] = []
    for cells in zip(*parts):
        known = [cell if isinstance(cell, (str, list)) else str(cell) for cell in cells if cell is not None]
        lists = any(isinstance(cell, list) for cell in known)
        texts.append(None if not known else known[0] if lists else "\n".join(known))
    if not allow_empty:
        for row in source.rows:
            text = texts[row]
            if text is not None and not (text.strip() if isinstance(text, str) else all(isinstance(t, str) and t.strip() for t in text)):
                odd = isinstance(text, list) and not all(isinstance(t, str) for t in text)
                what = "holds something else than text" if odd else "is empty"
                _bad(source, row, f"text column {columns!r} {what}; make it null, filter the row, or pass "
                                  f"allow_empty=True or on_error='skip'")
    return texts


def tabular(source: Any, columns: list[str], missing: str | float, train: np.ndarray) -> None:
    """Set the source's f32[n, F] table, its gaps filled as `missing` says, and its statistics over the rows `train` (of none: 0, 1)."""
    values = np.full((source.table.length, len(columns)), np.nan, np.float32)
    for j, column in enumerate(columns):
        for row, cell in enumerate(source.table[column]):
            try:
                values[row, j] = np.nan if cell is None else float(cell)
            except (TypeError, ValueError):
                _bad(source, row, f"tabular column {column!r} holds {cell!r}, not a number; use it as a category, "
                                  f"or pass on_error='skip'")
    known = np.isfinite(values[train])
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, values[train], 0).sum(0) / count
    std = np.sqrt((np.where(known, values[train] - mean, 0) ** 2).sum(0) / count)
    source.tabular_names = columns
    source.tabular_mean = mean.astype(np.float32)
    source.tabular_std = np.maximum(std, 1e-6).astype(np.float32) if len(train) else np.ones_like(source.tabular_mean)
    gaps = ~np.isfinite(values)
    source._tabular_here = ~gaps.any(1) if missing == "absent" else np.ones(len(values), bool)
    if missing == "raise":
        for row in source.rows[gaps[source.rows].any(1)]:
            column = columns[int(np.argmax(gaps[row]))]
            _bad(source, row, f"tabular column {column!r} is null, NaN or infinite; pass missing='mean', 'absent' or a number, "
                              f"or on_error='skip'")
    source._cells["tabular"] = np.where(gaps, mean if isinstance(missing, str) else missing, values).astype(np.float32)


def categories(source: Any, columns: list[str]) -> np.ndarray:
    """Numbers of the values, i32[n, K], 0 for null."""
    codes = []
    for column in columns:
        cells = source.table[column]
        names = ["<null>", *vocabulary(cells)]
        rank = {name: i for i, name in enumerate(names)}
        source.category_names[column] = names
        codes.append([0 if cell is None else rank[str(cell)] for cell in cells])
    return np.array(codes, np.int32).T.copy()


def labels(source: Any, name: str, column: str | Sequence[str]) -> np.ndarray:
    """One label a row: i32 (null -1), f32 (null NaN) or class numbers of text; of several columns, or of a list or dict
    cell, an i8 vector of 1 yes, 0 no, -1 unknown (a null, a -1).

    Raises ValueError for whole numbers beyond int32, or lists of unequal lengths.
    """
    table = source.table
    if not isinstance(column, str) or any(isinstance(cell, (list, dict)) for cell in table[column]):
        names, rows = _vectors(source, f"label {name!r}", column)
        if not all(isinstance(key, int) for key in names):
            source.label_names[name] = [str(key) for key in names]
        return _filled(source, f"label {name!r}", names, rows, np.full(len(names), -1, np.int8), _finding,
                       "write 1, 0, or null or -1 for unknown")
    cells = table[column]
    try:
        values = numbers(cells, table.typed)
    except OverflowError as error:
        raise ValueError(f"manifest {table.path}: label {name!r}: column {column!r}: {error}; use it as case or group, "
                         f"or number its values") from None
    if values is not None:
        return values
    names = vocabulary(cells)
    rank = {value: i for i, value in enumerate(names)}
    source.label_names[name] = names
    return np.array([-1 if cell is None else rank[str(cell)] for cell in cells], np.int32)


def soft(source: Any, column: Any) -> np.ndarray:
    """Soft-target labels f32[n, K] of several columns ([c, ...] or {name: c}), or of one of numeric lists or dicts.

    Raises ValueError where the cells of one column are not lists.
    """
    names, rows = _vectors(source, "soft", column)
    return _filled(source, "soft", names, rows, np.zeros(len(names), np.float32), _number,
                   "give a number, or leave the row out by filter")


def _vectors(source: Any, what: str, column: Any) -> tuple[list, list[list | None]]:
    """Names (or numbers) of the entries, and the entries of every row, None where the whole cell is null or bad."""
    table = source.table
    if not isinstance(column, str):
        named = dict(column.items()) if isinstance(column, Mapping) else {c: c for c in column}
        return list(named), [list(cells) for cells in zip(*(table[c] for c in named.values()))]
    cells = table[column]
    first = next((cell for cell in cells if isinstance(cell, (list, dict))), None)
    if not first:
        raise ValueError(f"manifest {table.path}: {what}: the cells of {column!r} are not lists of numbers; name "
                         f"several columns instead")
    keys = list(first) if isinstance(first, dict) else list(range(len(first)))
    out: list[list | None] = []
    for row, cell in enumerate(cells):
        fits = cell is None or type(cell) is type(first) and (
            set(cell) == set(keys) if isinstance(cell, dict) else len(cell) == len(keys))
        if not fits:
            _bad(source, row, f"{what}: column {column!r} holds {cell!r}, where other rows have "
                              f"{'the keys ' + ', '.join(keys) if isinstance(first, dict) else f'lists of {len(keys)}'}; "
                              f"make the rows alike, or pass on_error='skip'")
        out.append([cell[key] for key in keys] if fits and cell is not None else None)
    return keys, out


def _filled(source: Any, what: str, names: list, rows: list[list | None], empty: np.ndarray, read: Callable,
            advice: str) -> np.ndarray:
    """[n, K] of the entries that `read` takes; the rows with another one are bad."""
    out = np.repeat(empty[None], len(rows), 0)
    for row, cells in enumerate(rows):
        for j, cell in enumerate([None] * len(names) if cells is None else cells):
            try:
                out[row, j] = read(cell)
            except (ValueError, TypeError):
                _bad(source, row, f"{what}: {names[j]!r} is {cell!r}; {advice}, or pass on_error='skip'")
    return out


def _finding(cell: Any) -> int:
    """1, 0, or -1 for unknown; also as text or float, since tables often hold findings as 1.0."""
    value = -1.0 if cell is None or isinstance(cell, float) and cell != cell else float(cell)
    if value not in (-1, 0, 1):
        raise ValueError
    return int(value)


def _number(cell: Any) -> float:
    value = float(cell)
    if not abs(value) <= float(np.finfo(np.float32).max):
        raise ValueError
    return value
