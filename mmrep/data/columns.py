"""Columns of a user's table as the values that a manifest's rows hold, checked cell by cell.

A cell that does not fit makes its row bad: it is noted in `source.problems` where the row is served, and `manifest`
then raises, naming file and row, or leaves the row out. What the cell holds is not told: of a column named by mistake
it is a name, an id or a report.
"""

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mmrep.data.stores import nearby
from mmrep.data.tables import numbers, vocabulary
from mmrep.data.uncertain import UNLABELED, resolve


def listed(columns: str | Sequence[str]) -> list[str]:
    """One column or several, as a list."""
    return [columns] if isinstance(columns, str) else list(columns)


def _bad(source: Any, row: int, message: str, kind: type[Exception] = ValueError) -> None:
    if source.served[row]:
        source.problems.setdefault(int(row), (kind, message))


def _kind(cell: Any) -> str:
    """What an error calls a cell: what it is, not what it holds."""
    if isinstance(cell, (list, dict)):
        return f"{'a list' if isinstance(cell, list) else 'an object'} of {len(cell)}"
    return "null" if cell is None else "NaN" if cell != cell else "text" if isinstance(cell, str) else \
        "true or false" if isinstance(cell, bool) else "a number" if isinstance(cell, (int, float)) else f"a {type(cell).__name__}"


def files(source: Any, field: str, column: str | Sequence[str], store: Any, suffixes: Sequence[str]) -> list[str | tuple[str, ...] | None]:
    """Names of a field's files, a tuple of several in a row: cells that are lists, or several columns; a suffix is found where the cells
    leave it out."""
    advice = ""

    def found(row: int, name: str) -> str:
        nonlocal advice
        whole = next((name + suffix for suffix in suffixes if name + suffix in store), None) if name else None
        if whole is None:
            advice = advice or _advice(store, field, name)  # of the first that is missing: to look into archives takes long
            _bad(source, row, f"{field} {_name(name, column, store)} is not in {_place(store)}; {advice}", FileNotFoundError)
        return whole or name

    lists = [_named_files(source.table[one]) for one in listed(column)]
    several = any(of_lists for of_lists, _ in lists) or not isinstance(column, str)
    names: list[Any] = [tuple(name for _, cells in lists for name in cells[row]) or None for row in range(source.table.length)]
    names = names if several else [cell and cell[0] for cell in names]
    for row in source.rows:
        if names[row] is not None:
            names[row] = tuple(found(row, name) for name in names[row]) if several else found(row, names[row])
    return names


def _named_files(cells: Sequence[Any]) -> tuple[bool, list[tuple[str, ...]]]:
    """(whether any cell is a list, the names in each)."""
    return any(isinstance(cell, list) for cell in cells), [
        () if cell is None else tuple(str(one) for one in cell if one is not None) if isinstance(cell, list) else (str(cell),)
        for cell in cells]


_FILE = re.compile(r"(?:.*[/\\])?[^\s/\\^]{1,120}\.(?:png|jpe?g|tiff?|dcm|nii|nii\.gz|npy|npz|h5|hdf5|hea|dat|edf|bdf|bmp|gif|webp)",
                   re.IGNORECASE)
_BELOW = re.compile(r"[\w.-]*/[\w./-]*")  # a folder, or a record, below another


def _name(name: str, column: Any, store: Any) -> str:
    """What an error calls a cell that should name a file: what is written where that is a file's name, or the number of an array's row."""
    numbered = name.isdigit() and hasattr(store, "arrays")
    told = len(name) < 200 and (numbered or _FILE.fullmatch(name) or _BELOW.fullmatch(name))
    return repr(name) if told else f"column {column!r} holds text that"


def _place(store: Any) -> str:
    """What an error calls a folder or archive; of an npz also which arrays it holds."""
    path = "the working folder" if str(store.path) == "." else str(store.path)
    arrays = getattr(store, "arrays", None)
    return path + (f", which holds {', '.join(f'{key} {list(shape)}' for key, shape in list(arrays().items())[:6])} (FILE/NAME is one of "
                   "them, whose rows the cells number)" if arrays else "")


def _advice(store: Any, field: str, name: str) -> str:
    """What to do about a file that is not there."""
    archive = nearby(store.path, name)
    told = repr(archive) if archive else ""
    given = f"images={told or '...'}" if field == "image" else f"files={{{field!r}: {told or '...'}}}"
    return f"pass {given}, which holds it" if archive else f"set {given}, or on_error='skip'"


def names_files(table: Any, column: str | Sequence[str]) -> bool:
    """Whether the cells of a column of `features` name files, or rows of an array: it is one, and they are no lists."""
    return isinstance(column, str) and column in table.names and not any(isinstance(cell, (list, dict)) for cell in table[column])


def matching(table: Any, columns: str | Sequence[str]) -> list[str]:
    """Names of columns, with those that fit a pattern in its place ("gene_*"). Raises ValueError where none fits."""
    found: list[str] = []
    for column in listed(columns):
        pattern = any(mark in column for mark in "*?[") and column not in table.names
        fits = fnmatch.filter(table.names, column) if pattern else [column]
        if not fits:
            raise ValueError(f"manifest {table.path}: no column fits {column!r}. It has {', '.join(table.names[:20])}"
                             + (", ..." if len(table.names) > 20 else ""))
        found += [name for name in fits if name not in found]
    return found


def matrix(source: Any, field: str, columns: list[str], missing: str | float, train: np.ndarray
           ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """f32[n, D] of columns of numbers, its gaps (null, NaN, infinite) filled as `missing` says; mean and deviation f32[D] over `train`.

    A row with a gap is bad for missing="raise", and for "absent" lacks the field (`source.here`); "mask" marks what is known as bool[n, D]
    under `mask/FIELD`, and gaps hold the mean. Wide tables (omics) are read
    column by column.
    """
    table = source.table
    values = np.empty((table.length, len(columns)), np.float32)
    for j, column in enumerate(columns):
        found = table.floats(column)
        if found is None:
            found = np.full(table.length, np.nan)
            for row, cell in enumerate(table[column]):
                try:
                    found[row] = np.nan if cell is None else float(cell)
                except (TypeError, ValueError):
                    _bad(source, row, f"{field} column {column!r} holds {_kind(cell)}, not a number; "
                                      f"{'use it as a category' if field == 'tabular' else 'leave it out'}, or pass on_error='skip'")
        with np.errstate(over="ignore"):
            values[:, j] = found
    known = np.isfinite(values)
    count = np.maximum(known[train].sum(0), 1)
    mean = (np.where(known[train], values[train], 0).sum(0) / count).astype(np.float32)
    std = np.sqrt((np.where(known[train], values[train] - mean, 0) ** 2).sum(0) / count)
    whole = known.all(1)
    if missing == "absent":
        source.here[field] = whole
    if missing == "mask":
        source._cells[f"mask/{field}"] = known
    if missing == "raise":
        for row in source.rows[~whole[source.rows]]:
            _bad(source, row, f"{field} column {columns[int(np.argmin(known[row]))]!r} is null, NaN or infinite; pass missing='mean', "
                              "'mask', 'absent' or a number, or on_error='skip'")
    values = values if whole.all() else np.where(known, values, mean if isinstance(missing, str) else np.float32(missing))
    return values, mean, np.maximum(std, 1e-6).astype(np.float32) if len(train) else np.ones_like(mean)


def vectors(source: Any, field: str, column: str, missing: str | float) -> list[np.ndarray | None]:
    """Cells that are lists of numbers as f32[D] (or lists of those, f32[N, D]), None where null; gaps as `missing` says: "absent", a
    number, else the row is bad."""
    out: list[np.ndarray | None] = []
    for row, cell in enumerate(source.table[column]):
        value, why = None, "not a list of numbers"
        try:
            value = None if cell is None else np.asarray(cell, np.float32)
            gaps = None if value is None else ~np.isfinite(value)
            if value is not None and (value.ndim not in (1, 2) or not value.size):
                raise ValueError
            if value is not None and gaps.any():
                why = "with a null, NaN or infinite number"
                if isinstance(missing, str) and missing != "absent":
                    raise ValueError
                value = None if missing == "absent" else np.where(gaps, np.float32(missing), value)
        except (TypeError, ValueError):
            _bad(source, row, f"{field} column {column!r} holds {_kind(cell)}, {why}; mend it, or pass on_error='skip'")
            value = None
        out.append(value)
    return out


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


def labels(source: Any, name: str, column: str | Sequence[str], classes: Sequence[Any] | None = None, uncertain: str | None = None
           ) -> np.ndarray:
    """One label a row: i32 (null -1), f32 (null NaN) or class numbers of text; of several columns, or of a list or dict
    cell, an i8 vector of 1 yes, 0 no, -1 unknown (a null, a -1).

    classes: all there may be, in the order of their numbers; a row with another is bad. uncertain: what a finding's -1 counts as, while a
    null stays unknown: "zeros", "ones" or "ignore" (unknown, too). Raises ValueError for whole numbers beyond int32, lists of unequal
    lengths, `uncertain` of one class a row.
    """
    table = source.table
    if not isinstance(column, str) or any(isinstance(cell, (list, dict)) for cell in table[column]):
        if classes is not None:
            raise ValueError(f"manifest {table.path}: label {name!r}: classes are of a column of one class a row, not of findings")
        names, rows = _vectors(source, f"label {name!r}", column)
        if not all(isinstance(key, int) for key in names):
            source.label_names[name] = [str(key) for key in names]
        stored = _filled(source, f"label {name!r}", names, rows, np.full(len(names), UNLABELED, np.int8), _finding,
                         "write 1, 0, or null or -1 for unknown")
        return resolve(stored, uncertain)
    if uncertain is not None:
        raise ValueError(f"manifest {table.path}: label {name!r}: uncertain= is of findings, several columns of 1, 0 and -1: "
                         f"{{'column': [{column!r}, ...], 'uncertain': {uncertain!r}}}")
    cells = table[column]
    if classes is not None:
        names = [str(one) for one in classes]
        rank = {one: i for i, one in enumerate(names)}
        if len(rank) < len(names):
            raise ValueError(f"manifest {table.path}: label {name!r}: classes holds one of {', '.join(names)} twice")
        for row in source.rows:
            if cells[row] is not None and str(cells[row]) not in rank:
                _bad(source, row, f"label {name!r}: column {column!r} holds {_kind(cells[row])} that is none of {', '.join(names)}; add it "
                                  "to classes, or pass on_error='skip'")
        source.label_names[name] = names
        return np.array([-1 if cell is None else rank.get(str(cell), -1) for cell in cells], np.int32)
    try:
        values = numbers(cells, table.typed)
    except OverflowError:  # whose words hold the number, which may be somebody's
        raise ValueError(f"manifest {table.path}: label {name!r}: column {column!r} holds a whole number beyond int32; use it as "
                         f"case or group, or number its values") from None
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
            _bad(source, row, f"{what}: column {column!r} holds {_kind(cell)}, where other rows have "
                              f"{f'objects of {len(keys)} other keys' if isinstance(first, dict) else f'lists of {len(keys)}'}; "
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
                _bad(source, row, f"{what}: {names[j]!r} is {_kind(cell)}; {advice}, or pass on_error='skip'")
    return out


def _finding(cell: Any) -> int:
    """1, 0, -1 for uncertain, UNLABELED for a null; also as text or float, since tables often hold findings as 1.0."""
    if cell is None or isinstance(cell, float) and cell != cell:
        return UNLABELED
    value = float(cell)
    if value not in (-1, 0, 1):
        raise ValueError
    return int(value)


def _number(cell: Any) -> float:
    value = float(cell)
    if not abs(value) <= float(np.finfo(np.float32).max):
        raise ValueError
    return value
