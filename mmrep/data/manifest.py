"""Source over a table of a user's own data: CSV, TSV, JSONL or Parquet rows, pictures in a folder, a zip or an npz.

What is decided here, once: a null image or text cell is an absent modality; an empty text is an error (or allowed); a
null label is -1 (whole numbers, classes) or NaN (floats); a null category is 0 and its values count from 1; a null
group or case gets an id of its own; a null tabular cell follows `missing`. Classes, categories and ids are numbered
over the WHOLE file, so that every split and filter agrees on them.
"""

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.images import decode, decode_errors, decode_mask, describe, nearby, open_images
from mmrep.data.sources import BadRow, Example
from mmrep.data.tables import Table, find_table, identities, matches, numbers, vocabulary

_KEYS = ("image", "text", "tabular", "category", "label", "mask", "group", "case", "split")
_SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".tif", ".tiff")


class Manifest:
    """Rows of one split, after the filters. Build it with `manifest`.

    Beside the source's attributes: `label_names` {label: class names}, `category_names` {column: values, 0 is null},
    `tabular_names`, `tabular_mean` and `tabular_std` f32[F] (over the training split), `rows` i64[n] (rows of the
    file), `skipped` (number of rows dropped as bad), `problems` {row: (kind of error, why)}, `on_error`.
    """

    def __init__(self, table: Table, rows: np.ndarray, store: Any, options: dict[str, Any]):
        self.table, self.store = table, store
        self.on_error: str = options["on_error"]
        self._decode = partial(decode, **{key: options[key] for key in ("channels", "bits", "size_hint")})
        self.rows = rows
        self.label_names: dict[str, list[str]] = {}
        self.category_names: dict[str, list[str]] = {}
        self.problems: dict[int, tuple[type[Exception], str]] = {}
        self._cells: dict[str, Any] = {}  # key -> one value a row of the file

    @property
    def skipped(self) -> int:
        """Rows dropped because they are bad, found when the file was indexed."""
        return len(self.problems)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Example:
        row = int(self.rows[index])
        example: Example = {}
        for key, cells in self._cells.items():
            value = cells[row]
            if value is None or key == "tabular" and not self._tabular_here[row]:
                continue
            if key == "image":
                value = self._picture(row, value, self._decode)
            elif key.startswith("mask/"):
                value = self._picture(row, value, decode_mask)
            example[key] = value
        # A picture decoded at a smaller scale needs its masks at that scale.
        for key in [k for k in example if k.startswith("mask/") and "image" in example]:
            if example[key].shape[:2] != example["image"].shape[:2]:
                from mmrep.data.transforms import resample

                example[key] = resample(example[key], *example["image"].shape[:2], "nearest")
        return example

    @property
    def cases(self) -> np.ndarray | None:
        """Case id of every row, i32[n], or None where the table has none."""
        return self._cells["case"][self.rows] if "case" in self._cells else None

    def texts(self, rows: Sequence[int] | np.ndarray | None = None) -> list[Any]:
        """Texts of some rows (all by default), None where absent, without decoding a picture."""
        cells = self._cells.get("text")
        return [cells[row] if cells else None for row in (self.rows if rows is None else self.rows[rows])]

    def _picture(self, row: int, name: str, read: Callable) -> np.ndarray:
        try:
            return read(self.store.read(name))
        except decode_errors() as error:
            raise BadRow(f"manifest {self.table.where(row)}: image {name!r}: {describe(error)}; mend it, or pass "
                         "on_error='skip'", self.on_error == "skip") from None


def manifest(path: str | Path, split: str, images: str | Path | None = None, columns: Mapping[str, Any] | None = None,
             splits: Mapping[str, Any] | None = None, filter: Mapping[str, Any] | None = None,
             on_error: str = "raise", missing: str | float = "raise", allow_empty: bool = False, channels: int = 1,
             bits: int = 8, size_hint: int | None = None) -> Manifest:
    """Source over the rows of one split (train, val, test; "all" for every row) of a table.

    path       a .csv, .tsv, .jsonl or .parquet file, or a folder holding exactly one metadata.* of these
    images     folder, zip or npz (relative: to the table's folder, else the working one); default the table's folder
    columns    {"image": c, "text": c or [c, ...] joined by newlines, "label": {name: c, or [c, ...] for a u8 vector},
               "tabular": [c, ...], "category": [c, ...], "mask": {name: c}, "group": c, "case": c, "split": c}
    splits     renames, {"val": "dev"} or {"val": ["dev", "dev2"]}
    filter     {column: value, or a list of values, or {"not": value or list}}; None is null
    on_error   "raise" at the first bad row, or "skip": drop those found now (counted in `skipped`); a picture that
               proves corrupt later becomes a masked row of the batch
    missing    for a null or NaN tabular cell: "raise", "absent" (the row lacks the modality), "mean" (of the training
               split), or a number
    channels, bits, size_hint   as `images.decode`: u8 or u16 [H, W, 1 or 3]; size_hint = pixels the transforms need

    Raises FileNotFoundError or ValueError, one line naming the file and the row and what to do.
    """
    columns = dict(columns or {})
    for key in columns:
        if key not in _KEYS:
            raise ValueError(f"manifest {path}: columns[{key!r}] is not one of {', '.join(_KEYS)}")
    if on_error not in ("raise", "skip"):
        raise ValueError(f"manifest {path}: on_error {on_error!r} is not 'raise' or 'skip'")
    if isinstance(missing, str) and missing not in ("raise", "absent", "mean"):
        raise ValueError(f"manifest {path}: missing {missing!r} is not 'raise', 'absent', 'mean' or a number")
    if channels not in (1, 3) or bits not in (8, 16):
        raise ValueError(f"manifest {path}: channels must be 1 or 3 and bits 8 or 16, got {channels} and {bits}")
    if not any(key in columns for key in ("image", "text", "tabular", "category")):
        raise ValueError(f"manifest {path}: columns names no modality; give image, text, tabular or category")
    table = Table(find_table(path))
    rows = _filter_rows(table, _split_rows(table, split, columns, splits or {}), filter or {})
    store = _open_store(table.path, images) if "image" in columns or "mask" in columns else None
    source = Manifest(table, rows, store, {"on_error": on_error, "channels": channels, "bits": bits,
                                           "size_hint": size_hint})
    if "image" in columns:
        source._cells["image"] = _pictures(source, columns["image"])
    for name, column in _named(columns.get("mask", {})):
        source._cells[f"mask/{name}"] = _pictures(source, column)
    if "text" in columns:
        source._cells["text"] = _texts(source, columns["text"], allow_empty)
    if "tabular" in columns:
        train = _train_rows(table, columns, splits or {}, filter or {})
        _tabular(source, _listed(columns["tabular"]), missing, train)
    if "category" in columns:
        source._cells["category"] = _categories(source, _listed(columns["category"]))
    for name, column in _named(columns.get("label", {})):
        source._cells[f"label/{name}"] = _labels(source, name, column)
    for key in ("group", "case"):
        if key in columns:
            source._cells[key] = identities(table[columns[key]])
    source.rows = np.array([row for row in rows if row not in source.problems], np.int64)
    if source.problems and (on_error == "raise" or not len(source.rows)):
        first = min(source.problems)
        kind, message = source.problems[first]
        every = "every row is bad: " if on_error == "skip" else ""
        raise kind(f"manifest {every}{table.where(first)}: {message}")
    source.fields = tuple(key for key in ("image", "text", "tabular", "category") if key in columns)
    given = [*source.fields, *(f"mask/{name}" for name, _ in _named(columns.get("mask", {})))]
    source.has = {key: np.array([source._cells[key][row] is not None for row in source.rows]) for key in given}
    if "tabular" in source.has:
        source.has["tabular"] &= source._tabular_here[source.rows]
    return source


# ---- rows

def _split_rows(table: Table, split: str, columns: Mapping, splits: Mapping) -> np.ndarray:
    if split == "all":
        return np.arange(table.length)
    column = columns.get("split", "split")
    if column not in table.names and "split" not in columns:
        near = get_close_matches("split", table.names, 1, 0.5)
        raise ValueError(f"manifest {table.path}: no column 'split'" + (f" (is it {near[0]!r}?)" if near else "")
                         + "; name it with columns={'split': ...}, or take all rows with split='all'")
    wanted = splits.get(split, split)
    rows = np.flatnonzero([matches(cell, wanted) for cell in table[column]])
    if not len(rows):
        raise ValueError(f"manifest {table.path}: column {column!r} has no split {wanted!r}; it has "
                         f"{', '.join(vocabulary(table[column])[:12])} (rename with splits={{{split!r}: ...}})")
    return rows


def _filter_rows(table: Table, rows: np.ndarray, filters: Mapping) -> np.ndarray:
    for column, wanted in filters.items():
        cells = table[column]
        kept = np.array([row for row in rows if matches(cells[row], wanted)], np.int64)
        if not len(kept):
            has = ", ".join(vocabulary([cells[row] for row in rows])[:8])
            raise ValueError(f"manifest {table.path}: no row of {len(rows)} has {column!r} = {wanted!r}; it has {has}")
        rows = kept
    return rows


def _train_rows(table: Table, columns: Mapping, splits: Mapping, filters: Mapping) -> np.ndarray:
    """Rows that statistics may be taken from: the training split, or all where the file has no splits."""
    if columns.get("split", "split") not in table.names:
        return _filter_rows(table, np.arange(table.length), filters)
    return _filter_rows(table, _split_rows(table, "train", columns, splits), filters)


# ---- columns

def _named(columns: Any) -> list[tuple[str, Any]]:
    """{name: column} as pairs; a lone column is named after itself."""
    return [(columns, columns)] if isinstance(columns, str) else list(columns.items())


def _listed(columns: str | Sequence[str]) -> list[str]:
    return [columns] if isinstance(columns, str) else list(columns)


def _bad(source: Manifest, row: int, message: str, kind: type[Exception] = ValueError) -> None:
    source.problems.setdefault(int(row), (kind, message))


def _open_store(table: Path, images: str | Path | None) -> Any:
    if images is None:
        return open_images(table.parent)
    beside = table.parent / images
    return open_images(beside if beside.exists() else Path(images))


def _pictures(source: Manifest, column: str) -> list[str | None]:
    """Names of the pictures; a suffix is found where the cells leave it out."""
    names = [None if cell is None else str(cell) for cell in source.table[column]]
    for row in source.rows:
        name = names[row]
        if name is None:
            continue
        found = next((name + suffix for suffix in _SUFFIXES if name + suffix in source.store), None) if name else None
        if found is None:
            archives = nearby(source.store.path)
            advice = f"pass images={archives[0]!r}, which lies there" if archives else "set images=, or on_error='skip'"
            _bad(source, row, f"image {name!r} is not in {source.store.path}; {advice}", FileNotFoundError)
        names[row] = found or name
    return names


def _texts(source: Manifest, columns: str | Sequence[str], allow_empty: bool) -> list[Any]:
    parts = [source.table[column] for column in _listed(columns)]
    texts: list[Any] = []
    for cells in zip(*parts):
        known = [cell if isinstance(cell, (str, list)) else str(cell) for cell in cells if cell is not None]
        lists = any(isinstance(cell, list) for cell in known)
        texts.append(None if not known else known[0] if lists else "\n".join(known))
    if not allow_empty:
        for row in source.rows:
            text = texts[row]
            if text is not None and not (text.strip() if isinstance(text, str) else all(t.strip() for t in text)):
                _bad(source, row, f"text column {columns!r} is empty; make it null, filter the row, or pass "
                                  f"allow_empty=True or on_error='skip'")
    return texts


def _tabular(source: Manifest, columns: list[str], missing: str | float, train: np.ndarray) -> None:
    values = np.full((source.table.length, len(columns)), np.nan, np.float32)
    served = set(source.rows.tolist())
    for j, column in enumerate(columns):
        for row, cell in enumerate(source.table[column]):
            try:
                values[row, j] = np.nan if cell is None else float(cell)
            except (TypeError, ValueError):
                if row in served:
                    _bad(source, row, f"tabular column {column!r} holds {cell!r}, not a number; use it as a category, "
                                      f"or pass on_error='skip'")
    known = np.isfinite(values[train])
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, values[train], 0).sum(0) / count
    std = np.sqrt((np.where(known, values[train] - mean, 0) ** 2).sum(0) / count)
    source.tabular_names = columns
    source.tabular_mean, source.tabular_std = mean.astype(np.float32), np.maximum(std, 1e-6).astype(np.float32)
    gaps = ~np.isfinite(values)
    source._tabular_here = ~gaps.any(1) if missing == "absent" else np.ones(len(values), bool)
    if missing == "raise":
        for row in source.rows[gaps[source.rows].any(1)]:
            column = columns[int(np.argmax(gaps[row]))]
            _bad(source, row, f"tabular column {column!r} is null or NaN; pass missing='mean', 'absent' or a number, "
                              f"or on_error='skip'")
    source._cells["tabular"] = np.where(gaps, mean if isinstance(missing, str) else missing, values).astype(np.float32)


def _categories(source: Manifest, columns: list[str]) -> np.ndarray:
    codes = []
    for column in columns:
        cells = source.table[column]
        names = ["<null>", *vocabulary(cells)]
        rank = {name: i for i, name in enumerate(names)}
        source.category_names[column] = names
        codes.append([0 if cell is None else rank[str(cell)] for cell in cells])
    return np.array(codes, np.int32).T.copy()


def _labels(source: Manifest, name: str, column: str | Sequence[str]) -> Any:
    """i32 (null -1), f32 (null NaN), class numbers of text, or u8 vectors of several columns or a list or dict cell."""
    table = source.table
    if not isinstance(column, str):
        parts = [numbers(table[c], table.typed) for c in column]
        if any(part is None or part.dtype != np.int32 or part.min() < 0 for part in parts):
            raise ValueError(f"manifest {table.path}: label {name!r}: columns {list(column)} must all hold 0 or 1")
        source.label_names[name] = list(column)
        return np.stack(parts, axis=1).astype(np.uint8)
    cells = table[column]
    known = next((cell for cell in cells if cell is not None), None)
    if isinstance(known, (list, dict)):
        keys = list(known) if isinstance(known, dict) else list(range(len(known)))
        if isinstance(known, dict):
            source.label_names[name] = [str(key) for key in keys]
        try:
            return np.array([[0 if cell is None else cell[key] for key in keys] for cell in cells], np.uint8)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ValueError(f"manifest {table.path}: label {name!r}: every cell of {column!r} must hold the same keys "
                             f"with 0 or 1 ({error!r})") from None
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
