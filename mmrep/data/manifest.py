"""Source over a table of a user's own data: CSV, TSV, JSONL or Parquet rows, pictures in a folder, a zip or an npz.

What is decided here, once: a null image or text cell is an absent modality; an empty text is an error (or allowed); a
null label is -1 (whole numbers, classes, findings) or NaN (floats); a null soft label is an error; a null category is 0
and its values count from 1; a null group or case gets an id of its own; a null tabular cell follows `missing`.
Classes, categories and ids are numbered over the WHOLE file, so that every split and filter agrees on them.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data import columns as read
from mmrep.data.example import Example
from mmrep.data.images import decode, decode_errors, decode_mask
from mmrep.data.sources import BadRow
from mmrep.data.splits import check_cases, filter_rows, of_no_split, split_rows, train_rows
from mmrep.data.stores import describe, open_images
from mmrep.data.tables import Table, find_table, identities

_KEYS = ("image", "text", "tabular", "category", "label", "soft", "mask", "group", "case", "split")


class Manifest:
    """Rows of one split, after the filters. Build it with `manifest`.

    Beside the source's attributes: `labels` {label: i32|f32|i8 of the split's rows}, `label_names` {label: class names},
    `category_names` {column: values, 0 is null}, `tabular_names`, `tabular_mean` and `tabular_std` f32[F] (over the training
    split), `rows` i64[n] (rows of the file), `skipped` (number of rows dropped as bad), `problems` {row: (kind of error,
    why)}, `on_error`, `notes`.
    """

    def __init__(self, table: Table, rows: np.ndarray, store: Any, options: dict[str, Any]):
        self.table, self.store = table, store
        self.on_error: str = options["on_error"]
        self._decode = partial(decode, **{key: options[key] for key in ("channels", "bits", "size_hint")})
        self.rows = rows
        self.served = np.isin(np.arange(table.length), rows)
        self.label_names: dict[str, list[str]] = {}
        self.category_names: dict[str, list[str]] = {}
        self.problems: dict[int, tuple[type[Exception], str]] = {}
        self.notes: list[str] = []
        self._cells: dict[str, Any] = {}  # key -> one value a row of the file
        self._case_ids: list = table[options["case"]] if options["case"] else [None] * table.length

    @property
    def skipped(self) -> int:
        """Rows dropped because they are bad, found when the file was indexed."""
        return len(self.problems)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> dict[str, np.ndarray]:
        """Labels of the rows [n] or [n, K], without reading a picture."""
        return {key[6:]: cells[self.rows] for key, cells in self._cells.items() if key.startswith("label/")}

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
                from mmrep.data.transforms.geometry import resample

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

    def fingerprint(self) -> str:
        """A digest of the rows' cells: names of pictures, texts, labels, ids; not of the pixels."""
        total = zlib.crc32(self.rows.tobytes())
        for key, cells in sorted(self._cells.items()):
            mine = cells[self.rows] if isinstance(cells, np.ndarray) else [cells[row] for row in self.rows]
            total = zlib.crc32(mine.tobytes() if isinstance(mine, np.ndarray) else "\0".join(map(repr, mine)).encode(), total)
        return f"{total:08x}"

    def where(self, index: int) -> str:
        """What an error message calls a row: file, row (from 1) and line."""
        return f"manifest {self.table.where(int(self.rows[index]))}"

    def identify(self, rows: np.ndarray) -> dict[str, list]:
        """Rows of the file from 0, the case ids and the pictures' names as written there; see `sources.identify`."""
        kept = self.rows[rows].tolist()
        cases = [None if cell is None else str(cell) for cell in (self._case_ids[row] for row in kept)]
        names = self._cells.get("image")
        return {"row": kept, "case": cases, "image": [None if names is None else names[row] for row in kept]}

    def _picture(self, row: int, name: str, decoder: Callable) -> np.ndarray:
        try:
            return decoder(self.store.read(name))
        except decode_errors() as error:
            raise BadRow(f"manifest {self.table.where(row)}: image {name!r}: {describe(error)}; mend it, or pass "
                         "on_error='skip'", self.on_error == "skip") from None


def manifest(path: str | Path, split: str, images: str | Path | None = None, columns: Mapping[str, Any] | None = None,
             splits: Mapping[str, Any] | None = None, filter: Mapping[str, Any] | None = None,
             on_error: str = "raise", missing: str | float = "raise", allow_empty: bool = False, channels: int = 1,
             bits: int = 8, size_hint: int | None = None, shared_cases: bool = False) -> Manifest:
    """Source over the rows of one split (train, val, test; "all" for every row) of a table.

    path       a .csv, .tsv, .jsonl or .parquet file, or a folder holding exactly one metadata.* of these
    images     folder, zip or npz (relative: to the table's folder, else the working one); default the table's folder
    columns    {"image": c, "text": c or [c, ...] joined by newlines, "label": {name: c, or [c, ...] for findings:
               1 yes, 0 no, -1 or null unknown}, "soft": c (cells are numeric lists), [c, ...] or {name: c}, gives f32[K],
               "tabular": [c, ...], "category": [c, ...], "mask": {name: c}, "group": c, "case": c, "split": c}
    splits     renames, {"val": "dev"} or {"val": ["dev", "dev2"]}
    filter     {column: value, or a list of values, or {"not": value or list}}; None is null
    on_error   "raise" at the first bad row, or "skip": drop those found now (counted in `skipped`); a picture that
               proves corrupt later becomes a masked row of the batch
    missing    for a null, NaN or infinite tabular cell: "raise", "absent" (the row lacks the modality), "mean" (of the training
               split), or a number
    shared_cases   allow a case to have rows in several of train, val and test, which is an error
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
    splits, filter = dict(splits or {}), dict(filter or {})
    rows = filter_rows(table, split_rows(table, split, columns, splits), filter)
    if not shared_cases:
        check_cases(table, columns, splits, filter)
    store = _open_store(table.path, images) if "image" in columns or "mask" in columns else None
    source = Manifest(table, rows, store, {"on_error": on_error, "channels": channels, "bits": bits,
                                           "size_hint": size_hint, "case": columns.get("case")})
    if "image" in columns:
        source._cells["image"] = read.pictures(source, columns["image"])
    for name, column in _named(columns.get("mask", {})):
        source._cells[f"mask/{name}"] = read.pictures(source, column)
    if "text" in columns:
        source._cells["text"] = read.texts(source, columns["text"], allow_empty)
    if "tabular" in columns:
        try:
            train = train_rows(table, columns, splits, filter)
        except ValueError:  # a file of test rows alone
            if missing == "mean":
                raise
            train = np.zeros(0, np.int64)
        read.tabular(source, read.listed(columns["tabular"]), missing, train)
    if "category" in columns:
        source._cells["category"] = read.categories(source, read.listed(columns["category"]))
    for name, column in _named(columns.get("label", {})):
        source._cells[f"label/{name}"] = read.labels(source, name, column)
    if "soft" in columns:
        source._cells["soft"] = read.soft(source, columns["soft"])
    for key in ("group", "case"):
        if key in columns:
            source._cells[key] = identities(table[columns[key]])
    source.problems = {row: (kind, f"manifest {table.where(row)}: {why}") for row, (kind, why) in source.problems.items()}
    source.rows = np.array([row for row in rows if row not in source.problems], np.int64)
    if source.problems and (on_error == "raise" or not len(source.rows)):
        first = min(source.problems)
        kind, message = source.problems[first]
        raise kind(("every row is bad, e.g. " if on_error == "skip" else "") + message)
    source.fields = tuple(key for key in ("image", "text", "tabular", "category") if key in columns)
    given = [*source.fields, *(f"mask/{name}" for name, _ in _named(columns.get("mask", {})))]
    source.has = {key: np.array([source._cells[key][row] is not None for row in source.rows]) for key in given}
    if "tabular" in source.has:
        source.has["tabular"] &= source._tabular_here[source.rows]
    if split == "train":  # once is enough: of the table as a whole
        source.notes += of_no_split(table, columns, splits, filter)
    source.notes += [f"manifest {table.path}: {len(here) - here.sum():,} of {len(here):,} {split} rows have no {key}"
                     for key, here in source.has.items() if not here.all()]
    for label, values in source.labels.items():
        gaps = (values < 0 if values.dtype.kind == "i" else np.isnan(values)).reshape(len(values), -1).all(1)
        if gaps.any():
            source.notes.append(f"manifest {table.path}: {gaps.sum():,} of {len(gaps):,} {split} rows have no label {label!r}")
    return source


# ---- columns and pictures

def _named(columns: Any) -> list[tuple[str, Any]]:
    """{name: column, or [column, ...]} as pairs; a lone column is named after itself. Raises ValueError for anything else."""
    if isinstance(columns, str):
        return [(columns, columns)]
    if not isinstance(columns, Mapping) or not all(
            isinstance(c, str) or isinstance(c, (list, tuple)) and all(isinstance(one, str) for one in c) for c in columns.values()):
        raise ValueError(f"manifest columns: {columns!r} is neither a column's name nor {{name: column}}")
    return list(columns.items())


def _open_store(table: Path, images: str | Path | None) -> Any:
    if images is None:
        return open_images(table.parent)
    beside = table.parent / images
    return open_images(beside if beside.exists() else Path(images))
