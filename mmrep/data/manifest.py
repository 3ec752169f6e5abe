"""Source over a table of a user's own data: CSV, TSV, JSONL or Parquet rows, and the files that they name in folders and archives.

What is decided here, once: a null cell of a file, a text or a vector is an absent modality; an empty text is an error (or allowed); a
null label is -1 (whole numbers, classes, findings) or NaN (floats); a null soft label is an error; a null category is 0
and its values count from 1; a null group or case gets an id of its own; a null number of a table follows `missing`.
Classes, categories and ids are numbered over the WHOLE file, so that every split and filter agrees on them.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.core.names import nearest
from mmrep.data import columns as parse
from mmrep.data import fast, readers
from mmrep.data.archives import MAX_BYTES
from mmrep.data.example import MODALITIES, Example, fields_among
from mmrep.data.images import decode as decode_image
from mmrep.data.images import decode_errors, decode_mask, fit_mask
from mmrep.data.medical.nifti import check_same_place
from mmrep.data.sources import BadRow
from mmrep.data.splits import check_cases, filter_rows, of_no_split, split_rows, train_rows
from mmrep.data.stores import describe, open_images
from mmrep.data.tables import Table, collapsed, find_table, identities
from mmrep.data.uncertain import label_name

_KEYS = (*MODALITIES, "label", "soft", "mask", "group", "case", "split")


class Manifest:
    """Rows of one split, after the filters. Build it with `manifest`.

    Beside the source's attributes: `labels` {label: i32|f32|i8 of the split's rows}, `label_names` {label: class names},
    `category_names` {column: values, 0 is null}, `tabular_names`, `tabular_mean` and `tabular_std` f32[F] (over the training
    split), `rows` i64[n] (rows of the file), `skipped` (number of rows dropped as bad), `problems` {row: (kind of error,
    why)}, `on_error`, `notes`.
    """

    def __init__(self, table: Table, rows: np.ndarray, on_error: str, how: str, case: str | None):
        self.table, self.on_error, self._how = table, on_error, how
        self.rows = rows
        self.served = np.isin(np.arange(table.length), rows)
        self.label_names: dict[str, list[str]] = {}
        self.category_names: dict[str, list[str]] = {}
        self.problems: dict[int, tuple[type[Exception], str]] = {}
        self.notes: list[str] = []
        self._cells: dict[str, Any] = {}  # key -> one value a row of the file
        self._open: dict[str, Callable[[str], np.ndarray]] = {}  # of the keys whose cells name files: name -> what is in it
        self._stored_size: Callable[[str], tuple[int, int, int]]  # of a picture, where there are pictures: `images.stored_size`
        self._stores: dict[str, Any] = {}  # of the same keys: where these files lie
        self.here: dict[str, np.ndarray] = {}  # bool[rows of the file] of the keys that some rows lack though they have a value
        self._case_ids: list = table[case] if case else [None] * table.length

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
        affines: dict[str, np.ndarray] = {}
        for key, cells in self._cells.items():
            value = cells[row]
            if value is not None and (key not in self.here or self.here[key][row]):
                example[key] = self._read(row, key, value, affines) if key in self._open else value
        for key in [k for k in example if k.startswith("mask/") and k[5:] not in self._cells]:
            of = _mask_of(key, self._cells)
            if isinstance(example.get(of), np.ndarray):
                example[key] = self._fitted(row, key, of, example, affines)
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
        """A digest of the rows' cells: names of pictures, texts, labels, ids; not of the pixels, but of what decodes them
        where that is a choice."""
        total = zlib.crc32(self.rows.tobytes())
        for key, cells in sorted(self._cells.items()):
            if isinstance(cells, np.ndarray):
                total = zlib.crc32(cells[self.rows].tobytes(), total)
            else:
                mine = (cells[row] for row in self.rows)
                total = zlib.crc32(b"\0".join(c.tobytes() if isinstance(c, np.ndarray) else repr(c).encode() for c in mine), total)
        return f"{total:08x}" if self._how == "exact" else f"{total:08x}/{fast.library('fast')}"

    def sizes(self) -> str:
        """A digest of how large the files are that the rows name, which changes where most of what is in them does."""
        total, known = 0, {}
        for key, store in sorted(self._stores.items()):
            for name in (self._cells[key][row] for row in self.rows):
                for one in name if isinstance(name, tuple) else () if name is None else (name,):
                    if (id(store), one) not in known:
                        known[id(store), one] = store.size(one)
                    total = zlib.crc32(f"{key} {one} {known[id(store), one]}".encode(), total)
        return f"{total:08x}"

    def where(self, index: int) -> str:
        """What an error message calls a row: file, row (from 0) and line (from 1)."""
        return f"manifest {self.table.where(int(self.rows[index]))}"

    def identify(self, rows: np.ndarray) -> dict[str, list]:
        """Rows of the file from 0, the case ids and the names of pictures (or volumes, or signals) as written there; see
        `sources.identify`."""
        kept = self.rows[rows].tolist()
        cases = [None if cell is None else collapsed(cell) for cell in (self._case_ids[row] for row in kept)]
        names = next((self._cells[key] for key in self._open if not key.startswith("mask/")), None)
        every = [None if names is None or names[row] is None else names[row] for row in kept]
        every = [name if name is None or isinstance(name, tuple) else (name,) for name in every]
        return {"row": kept, "case": cases, "image": [name and name[0] for name in every], "images": every}

    def _read(self, row: int, key: str, name: str | tuple[str, ...], affines: dict[str, np.ndarray]) -> np.ndarray | list[np.ndarray]:
        """What a cell names; where a volume or a mask of one lies is set in `affines`."""
        if isinstance(name, tuple):
            return [self._read(row, key, one, affines) for one in name]
        try:
            found = self._open[key](name)
            if isinstance(found, tuple):
                found, affine = found
                affines |= {} if affine is None else {key: affine}
            return found
        except ImportError as error:  # of no row: to skip them all would hide it
            raise ValueError(str(error)) from None
        except decode_errors() as error:
            why = describe(error)
            advice = ", or pass" if "; " in why else "; mend it, or pass"  # most errors say what to do
            raise BadRow(f"manifest {self.table.where(row)}: {key.removeprefix('mask/')} {name!r}: {why}{advice} on_error='skip'",
                         self.on_error == "skip") from None

    def _fitted(self, row: int, key: str, of: str, example: Example, affines: Mapping[str, np.ndarray]) -> np.ndarray:
        """A mask on the grid of what it is of; of a picture, which may have been turned or decoded at a smaller scale, by `fit_mask`."""
        mask, whole = example[key], example[of]
        try:
            if of == "image":
                return fit_mask(mask, whole.shape, self._stored_size(self._cells[of][row]))
            if mask.shape[:-1] != whole.shape[:-1]:
                raise ValueError(f"is {list(mask.shape[:-1])} and its {of} {list(whole.shape[:-1])}; write them alike")
            if key in affines and of in affines:
                check_same_place(affines[of], affines[key], whole.shape[-2::-1])
            return mask
        except decode_errors() as error:
            raise BadRow(f"manifest {self.table.where(row)}: {key} {describe(error)}, or pass on_error='skip'",
                         self.on_error == "skip") from None


def manifest(path: str | Path, split: str, images: str | Path | None = None, columns: Mapping[str, Any] | None = None,
             files: Mapping[str, str] | None = None, read: Mapping[str, Mapping[str, Any]] | None = None,
             splits: Mapping[str, Any] | None = None, filter: Mapping[str, Any] | None = None, on_error: str = "raise",
             missing: str | float = "raise", allow_empty: bool = False, channels: int = 1, bits: int = 8, size_hint: int | None = None,
             shared_cases: bool = False, decode: str = "exact", max_pixels: int | None = None,
             max_bytes: int | None = None) -> Manifest:
    """Source over the rows of one split (train, val, test; "all" for every row) of a table.

    path       a .csv, .tsv, .jsonl or .parquet file, or a folder holding exactly one metadata.* of these
    images     folder, zip, tar, npz or h5 (relative: to the table's folder, else the working one); default the table's folder
    files      the same of other columns, {"volume": "volumes.zip", "mask/liver": "volumes.npz/masks"}; FILE.npz/NAME is one array
               [n, ...] of an npz, whose rows the cells number. Masks lie by default with what they are of
    read       {"volume": {"spacing": (1, 1, 1), "window": (-160, 240), "dtype": "uint8"}, "signal": {"rate": 250}, ...}: options of
               `readers.read_image`, `read_volume`, `read_signal`, `read_features`
    columns    {"image": c, "volume": c, "signal": c (cells name files, or rows of an array), or [c, ...], or cells that are lists of names:
               several samples, a list of those that are there (transforms `each`, `choose`), "text": c or [c, ...] joined by newlines,
               "features": c (cells are lists of numbers, or name files), "gene_*" or [c, ...] (columns of numbers), or {key: either} for
               several, "label": {name: c, or [c, ...] for findings: 1 yes, 0 no, -1 or null unknown, or {"column": either, "classes":
               [all there may be, in order], "uncertain": "zeros" | "ones" | "ignore"}: what a -1 is, part of the label's name then:
               NAME@u_zeros}, "soft": c (cells are numeric lists), [c, ...] or {name: c}, gives f32[K],
               "tabular": [c, ...] or patterns, "category": [c, ...], "mask": {name: c}, of the image, without one of the volume (with
               both, names that begin with volume/ are of the volume; it has the size of its picture, upright or as stored, or the
               voxels of its volume and, where both files tell, their place in mm),
               "group": c, "case": c, "split": c}
    splits     renames, {"val": "dev"} or {"val": ["dev", "dev2"]}
    filter     {column: value, or a list of values, or {"not": value or list}}; None is null
    on_error   "raise" at the first bad row, or "skip": drop those found now (counted in `skipped`); a file that
               proves corrupt later becomes a masked row of the batch
    missing    for a null, NaN or infinite number of `tabular` and `features`: "raise", "absent" (the row lacks the modality), "mean" (of
               the training split; of columns only), "mask" (the same, and `mask/FIELD` tells which are known, as the encoder `table`
               reads it), or a number
    shared_cases   allow a case to have rows in several of train, val and test, which is an error
    channels, bits, size_hint, max_pixels   as `images.decode`: u8 or u16 [H, W, 1 or 3]; size_hint = pixels the transforms need
    decode     "exact" or "fast", `how` of `images.decode`
    max_bytes  the most that a member of an archive, a stack, or a compressed file may unpack to (default 2 GiB, whole archives 16 GiB)

    Raises FileNotFoundError or ValueError, one line naming the file and the row and what to do.
    """
    columns, files, splits, filter = dict(columns or {}), dict(files or {}), dict(splits or {}), dict(filter or {})
    _check(path, columns, files, on_error, missing, channels, bits, decode)
    for name, limit in (("max_pixels", max_pixels), ("max_bytes", max_bytes)):
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, (int, float)) or not limit > 0):
            raise ValueError(f"manifest {path}: {name} {limit!r} is no number above 0")
    options = {kind: readers.check_options(f"manifest {path}", kind, of) for kind, of in dict(read or {}).items()}
    table = Table(find_table(path))
    rows = filter_rows(table, split_rows(table, split, columns, splits), filter, columns)
    if not shared_cases:
        check_cases(table, columns, splits, filter)
    source = Manifest(table, rows, on_error, decode, columns.get("case"))
    pixels = partial(decode_image, channels=channels, bits=bits, size_hint=size_hint, how=decode, max_pixels=max_pixels)
    _files(source, columns, {"image": images} | files, options, pixels, max_pixels, max_bytes)
    if "text" in columns:
        source._cells["text"] = parse.texts(source, columns["text"], allow_empty)
    _numbers(source, columns, missing, lambda: train_rows(table, columns, splits, filter))
    if "category" in columns:
        source._cells["category"] = parse.categories(source, parse.listed(columns["category"]))
    for name, column, classes, uncertain in _labels(columns.get("label", {})):
        source._cells[f"label/{name}"] = parse.labels(source, name, column, classes, uncertain)
    if "soft" in columns:
        source._cells["soft"] = parse.soft(source, columns["soft"])
    for key in ("group", "case"):
        if key in columns:
            source._cells[key] = identities(table[columns[key]])
    _drop_bad(source)
    source.fields = fields_among(source._cells)
    source.has = {key: _here(source, key) for key in [*source.fields, *(key for key in source._cells if key.startswith("mask/"))]}
    if split == "train":  # once is enough: of the table as a whole
        source.notes += of_no_split(table, columns, splits, filter) + fast.notes(decode)
    source.notes += [f"manifest {table.path}: {len(here) - here.sum():,} of {len(here):,} {split} rows have no {key}"
                     for key, here in source.has.items() if not here.all()]
    for label, values in source.labels.items():
        gaps = (values < 0 if values.dtype.kind == "i" else np.isnan(values)).reshape(len(values), -1).all(1)
        if gaps.any():
            source.notes.append(f"manifest {table.path}: {gaps.sum():,} of {len(gaps):,} {split} rows have no label {label!r}")
    return source


def _check(path: Any, columns: Mapping, files: Mapping, on_error: str, missing: Any, channels: int, bits: int, decode: str) -> None:
    """Raise ValueError for an argument that is none of those there are."""
    for key in columns:
        if key not in _KEYS:
            raise ValueError(f"manifest {path}: columns[{key!r}] is not one of {', '.join(_KEYS)}")
    of_files = [*(key for key in ("image", "volume", "signal") if key in columns), *(_features(columns) if "features" in columns else ()),
                *(["mask", *(f"mask/{name}" for name in _named(columns["mask"]))] if "mask" in columns else ())]
    for key in files:
        if key not in of_files and not (key == "features" and "features" in columns):
            raise ValueError(f"manifest {path}: files[{key!r}] is of no column that names files; {nearest(key, of_files)}")
    if on_error not in ("raise", "skip"):
        raise ValueError(f"manifest {path}: on_error {on_error!r} is not 'raise' or 'skip'")
    if isinstance(missing, str) and missing not in ("raise", "absent", "mean", "mask"):
        raise ValueError(f"manifest {path}: missing {missing!r} is not 'raise', 'absent', 'mean', 'mask' or a number")
    if channels not in (1, 3) or bits not in (8, 16):
        raise ValueError(f"manifest {path}: channels must be 1 or 3 and bits 8 or 16, got {channels} and {bits}")
    if decode not in ("exact", "fast"):
        raise ValueError(f"manifest {path}: decode {decode!r} is not 'exact' or 'fast'")
    if not any(key in columns for key in MODALITIES):
        raise ValueError(f"manifest {path}: columns names no modality; give one of {', '.join(MODALITIES)}")


# ---- what is read into a source, column by column

def _files(source: Manifest, columns: Mapping, places: Mapping, options: Mapping, pixels: Callable, max_pixels: int | None,
           max_bytes: int | None) -> None:
    """Set the cells that name files, and how each is opened."""
    wanted = {key: (columns[key], key) for key in ("image", "volume", "signal") if key in columns}
    wanted |= {f"mask/{name}": (column, _mask_of(f"mask/{name}", columns)) for name, column in _named(columns.get("mask", {})).items()}
    wanted |= {key: (of, "features") for key, of in _features(columns).items() if parse.names_files(source.table, of)}
    stores: dict[Any, Any] = {}
    for key, (column, kind) in wanted.items():
        mask = key.startswith("mask/")
        place = places.get(key) or places.get("mask" if mask else kind) or places.get(kind)
        if mask and not {key, "mask"} & set(places) and place and Path(place).parent.suffix == ".npz":
            raise ValueError(f"manifest {source.table.path}: {key} would be read from {place}; name its array by "
                             f"files={{{key!r}: 'FILE.npz/NAME'}}")
        if place not in stores:
            stores[place] = _open_store(source.table.path, place, max_bytes)
        store, how = stores[place], options.get(kind, {})
        if mask and not isinstance(column, str):
            raise ValueError(f"manifest {source.table.path}: {key} is of several columns, {list(column)}; name one")
        how = how if kind == "image" else {"max_bytes": max_bytes or MAX_BYTES} | how
        if mask:
            of_volume = partial(readers.read_mask, store, **{name: how[name] for name in ("spacing", "max_bytes") if name in how})
            source._open[key] = of_volume if kind == "volume" else partial(_mask, store, max_pixels)
        else:
            read = readers.read_placed_volume if kind == "volume" else readers.READERS[kind]
            source._open[key] = partial(read, store, **how, **({"decode": pixels} if kind == "image" else {}))
        source._stores[key] = store
        if key == "image":
            source._stored_size = partial(readers.image_size, store, max_pixels=max_pixels)
        source._cells[key] = parse.files(source, key, column, store, readers.SUFFIXES[kind])


def _numbers(source: Manifest, columns: Mapping, missing: str | float, training: Callable[[], np.ndarray]) -> None:
    """Set the table of numbers, and the vectors that stand in the table itself. training: rows that a mean may be taken of."""
    wanted = {key: of for key, of in _features(columns).items() if key not in source._cells}
    wanted |= {"tabular": parse.listed(columns["tabular"])} if "tabular" in columns else {}
    train: np.ndarray | None = None
    for key, of in wanted.items():
        if isinstance(of, str) and of in source.table.names:
            source._cells[key] = parse.vectors(source, key, of, missing)
            continue
        if train is None:
            try:
                train = training()
            except ValueError:  # a file of test rows alone
                if missing == "mean":
                    raise
                train = np.zeros(0, np.int64)
        names = parse.matching(source.table, of)
        source._cells[key], mean, std = parse.matrix(source, key, names, missing, train)
        if key == "tabular":
            source.tabular_names, source.tabular_mean, source.tabular_std = names, mean, std


def _features(columns: Mapping) -> dict[str, Any]:
    """Key -> column, pattern or list of them, of the vectors that `columns` names."""
    of = columns.get("features", {})
    return dict(of) if isinstance(of, Mapping) else {"features": of}


def _named(columns: Any) -> dict[str, Any]:
    """{name: column, or [column, ...]}; a lone column is named after itself. Raises ValueError for anything else."""
    if isinstance(columns, str):
        return {columns: columns}
    if not isinstance(columns, Mapping) or not all(
            isinstance(c, str) or isinstance(c, (list, tuple)) and all(isinstance(one, str) for one in c) for c in columns.values()):
        raise ValueError(f"manifest columns: {columns!r} is neither a column's name nor {{name: column}}")
    return dict(columns)


def _labels(columns: Any) -> list[tuple[str, Any, Any, str | None]]:
    """(name, column or columns, classes or None, uncertain or None) of every label. Raises ValueError."""
    given = {columns: columns} if isinstance(columns, str) else columns
    if not isinstance(given, Mapping):
        raise ValueError(f"manifest columns: {columns!r} is neither a column's name nor {{name: column}}")
    found = []
    for name, of in given.items():
        more = dict(of) if isinstance(of, Mapping) else {"column": of}
        if "column" not in more or set(more) - {"column", "classes", "uncertain"}:
            raise ValueError(f"manifest columns: label {name!r}: {dict(of)!r} is not {{'column': c, 'classes': [...], 'uncertain': ...}}")
        uncertain = more.get("uncertain")
        try:
            full = label_name(name, uncertain)
        except ValueError as error:
            raise ValueError(f"manifest columns: label {name!r}: {error}") from None
        (column,) = _named({name: more["column"]}).values()
        found.append((full, column, more.get("classes"), uncertain))
    return found


def _mask_of(key: str, columns: Mapping) -> str:
    """What a mask is of: "image" or "volume"."""
    named = key.split("/")[1]
    return named if named in ("image", "volume") and named in columns else "image" if "image" in columns else "volume"


def _mask(store: Any, max_pixels: int | None, name: str) -> np.ndarray:
    return decode_mask(store.read(name), max_pixels)


def _open_store(table: Path, place: str | Path | None, max_bytes: int | None) -> Any:
    """The folder or archive that holds the files: of the table, or `place` beside it, or from the working folder."""
    if place is None:
        return open_images(table.parent, max_bytes)
    beside = table.parent / place
    return open_images(beside if beside.exists() or beside.parent.is_file() else Path(place), max_bytes)


def _drop_bad(source: Manifest) -> None:
    """Leave the bad rows out, or raise the error of the first."""
    source.problems = {row: (kind, f"manifest {source.table.where(row)}: {why}") for row, (kind, why) in source.problems.items()}
    bad = np.fromiter(source.problems, np.int64, len(source.problems))
    source.rows = source.rows[~np.isin(source.rows, bad)]
    if source.problems and (source.on_error == "raise" or not len(source.rows)):
        kind, message = source.problems[min(source.problems)]
        raise kind(("every row is bad, e.g. " if source.on_error == "skip" else "") + message)


def _here(source: Manifest, key: str) -> np.ndarray:
    """bool[n]: which of the rows hold a field."""
    cells = source._cells[key]
    here = np.ones(len(source.rows), bool) if isinstance(cells, np.ndarray) else np.array([cells[row] is not None for row in source.rows])
    return here & source.here[key][source.rows] if key in source.here else here
