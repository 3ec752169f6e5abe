"""Random-access sources of examples: what one is, arrays in memory, subsets of rows.

A source is any object with `len(source)`, `source[i] -> example` (a dict of numpy arrays and scalars) and `fields`, the
modality keys it may give; a modality an example lacks is a missing key. These attributes are optional:
  block(rows)   dict of stacked arrays, `text` a list of str, `present` a dict modality -> bool[n]: fast
  read(rows)    list of examples (a BadRow for one that cannot be read), for a source that gathers rows itself
  has           dict modality -> bool[len]: which rows hold it, known without reading them
  texts(rows)   texts of some rows (None: all), None where absent, without reading the rest
  cases         i32[len], the patient or case of every row
  labels        dict label -> array[len, ...], known without reading the rows
  on_error, label_names   "raise" or "skip" for rows that prove bad when read; {label: class names}
  notes         list of lines on what a user may not expect of the data
  skipped, problems       number of rows left out as bad when the source was opened; {row of the file: (error, why)}
  fingerprint() text that changes with the rows, without reading pictures
  where(row)    what an error message calls a row: file and line
  rows          i64[len], the row of the file of every row; with rows_of(rows) for a source of several files
  skips(row)    whether a bad row is to be masked, where that differs between rows
  identify(rows)          where rows come from, with the keys that the file has for it
Ask by the functions of the same names below, which answer for sources without them.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmrep.data.example import Example, fields_among


class BadRow(ValueError):
    """A row that cannot be read, found only when it was read; `skip` says that its source asks to mask it instead."""

    def __init__(self, message: str, skip: bool = False):
        super().__init__(message)
        self.skip = skip


def spread(n: int, most: int) -> np.ndarray:
    """At most `most` of n rows, i64 ascending, spread evenly, for files are often sorted by class or case."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))


def own(ids: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """i[n]: cases or groups, where negative (a row of none) a number of the row's own."""
    return np.where(ids < 0, -1 - rows, ids)


def where(source: Any, row: int) -> str:
    """What an error message calls a row: its file and line where the source knows them, else its number."""
    return source.where(int(row)) if hasattr(source, "where") else f"row {int(row)}"


def identify(source: Any, rows: Sequence[int] | np.ndarray) -> dict[str, list]:
    """Where rows (i[n], as `index` in a batch) come from: lists of n, None where the source does not say.

    {"row": number in the file or table, from 0; "case": the id written there, str; "image": name of the picture, as written there,
    "images": of all of its pictures, a tuple}; of a mixture also "source", the component's name.
    """
    if hasattr(source, "identify"):
        return source.identify(np.asarray(rows, np.int64))
    rows = [int(row) for row in rows]
    return {"row": rows, "case": [None] * len(rows),  # `cases` are numbers of the source's own, no ids
            "image": [None] * len(rows), "images": [None] * len(rows)}


def rows_of(source: Any, rows: np.ndarray) -> np.ndarray:
    """i64[n]: the "row" of `identify` alone, for which nothing is read."""
    if hasattr(source, "rows_of"):
        return source.rows_of(rows)
    return source.rows[rows] if hasattr(source, "rows") else rows


def fingerprint(source: Any) -> str:
    """Text that changes where a source's rows do, as far as it can tell without reading pictures; "" where it cannot."""
    return source.fingerprint() if hasattr(source, "fingerprint") else ""


def skips(source: Any, row: int) -> bool:
    """Whether a row that proves bad is to be masked."""
    return source.skips(row) if hasattr(source, "skips") else getattr(source, "on_error", None) == "skip"


def bad_row(source: Any, row: int, error: Exception) -> BadRow:
    """The error as one of a row, which names it and knows whether its source asks to mask it."""
    if isinstance(error, BadRow):
        return error
    return BadRow(f"{where(source, row)}: {error}, or pass on_error='skip'", skips(source, row))


class Arrays:
    """Source over a dict of equally long arrays held in memory."""

    def __init__(self, fields: Mapping[str, Any], present: Mapping[str, np.ndarray]):
        lengths = {key: len(value) for key, value in fields.items()}
        if not lengths or len(set(lengths.values())) != 1:
            raise ValueError(f"arrays: every field needs the same number of rows, got {lengths}")
        self._columns = {k: list(v) if k == "text" else np.asarray(v) for k, v in fields.items()}
        self._length = next(iter(lengths.values()))
        self.fields = fields_among(fields)
        self.has = {key: np.asarray(present.get(key, np.ones(self._length)), bool) for key in self.fields}
        for key, value in present.items():
            if key not in self.has or len(value) != self._length:
                raise ValueError(f"arrays: present[{key!r}] must name a given modality and hold {self._length} rows")

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, row: int) -> Example:
        return {k: v[row] for k, v in self._columns.items() if k not in self.has or self.has[k][row]}

    def block(self, rows: np.ndarray) -> dict[str, Any]:
        """Read many rows at once: stacked arrays [n, ...], `text` list[str], `present` dict modality -> bool[n]."""
        block = {k: [v[r] for r in rows] if k == "text" else v[rows] for k, v in self._columns.items()}
        return {**block, "present": {k: v[rows] for k, v in self.has.items()}}


def arrays(present: Mapping[str, np.ndarray] | None = None, **fields: Any) -> Arrays:
    """Source over arrays in memory, e.g. `arrays(image=u8[n,H,W,C], text=list[str], **{"label/finding": i32[n]})`.

    `present` gives bool[n] for modalities that some rows lack. Raises ValueError on unequal lengths.
    """
    return Arrays(fields, present or {})


class Subset:
    """Source over some rows of another, in the given order; other attributes are the inner source's."""

    def __init__(self, source: Any, rows: Sequence[int] | np.ndarray):
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        if rows.size and (rows.min() < 0 or rows.max() >= len(source)):
            raise ValueError(f"subset: rows run from {rows.min()} to {rows.max()}, the source has {len(source)} rows")
        self.source, self.rows, self.fields = source, rows, source.fields
        if hasattr(source, "has"):
            self.has = {key: value[rows] for key, value in source.has.items()}
        if hasattr(source, "block"):
            self.block = lambda wanted: source.block(rows[wanted])
        if hasattr(source, "read"):
            self.read = lambda wanted: source.read(rows[wanted])
        if hasattr(source, "texts"):
            self.texts = lambda wanted=None: source.texts(rows if wanted is None else rows[wanted])
        if getattr(source, "cases", None) is not None:
            self.cases = source.cases[rows]
        if hasattr(source, "labels"):
            self.labels = {name: values[rows] for name, values in source.labels.items()}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Example:
        return self.source[int(self.rows[row])]

    def where(self, row: int) -> str:
        """What an error message calls a row."""
        return where(self.source, self.rows[row])

    def identify(self, rows: np.ndarray) -> dict[str, list]:
        """Where rows come from, as the function `identify`."""
        return identify(self.source, self.rows[rows])

    def rows_of(self, rows: np.ndarray) -> np.ndarray:
        """Row numbers in the file, as the function `rows_of`."""
        return rows_of(self.source, self.rows[rows])

    def fingerprint(self) -> str:
        """Text that changes with the rows, as the function `fingerprint`."""
        inner = fingerprint(self.source)
        return inner and f"{inner}/{zlib.crc32(self.rows.tobytes()):08x}"

    def skips(self, row: int) -> bool:
        """Whether a bad row is to be masked, as the function `skips`."""
        return skips(self.source, int(self.rows[row]))

    def __getattr__(self, name: str) -> Any:
        if name in ("source", "has", "block", "read", "texts", "cases", "labels") or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.source, name)


def subset(source: Any, rows: Sequence[int] | np.ndarray) -> Subset:
    """Source over `rows` (i[k] row numbers or bool[len] mask) of another. Raises ValueError on a row out of range."""
    return Subset(source, rows)


class Recoded:
    """Source whose `category` counts by another vocabulary; other attributes are the inner source's. Build it with `recoded`."""

    def __init__(self, source: Any, tables: Sequence[np.ndarray], unknown: Sequence[str]):
        self.source, self.tables, self.unknown = source, tables, list(unknown)
        if hasattr(source, "block"):
            self.block = lambda rows: self._changed(source.block(rows))
        if hasattr(source, "read"):
            self.read = lambda rows: [self._changed(one) if isinstance(one, dict) else one for one in source.read(rows)]

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, row: int) -> Example:
        return self._changed(self.source[row])

    def _changed(self, example: Example) -> Example:
        if example.get("category") is None:
            return example
        codes = np.asarray(example["category"])
        return {**example, "category": np.stack([table[codes[..., k]] for k, table in enumerate(self.tables)], -1)}

    def __getattr__(self, name: str) -> Any:
        if name in ("source", "block", "read") or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.source, name)


def recoded(source: Any, trained: Mapping[str, Sequence[str]]) -> Any:
    """The source with `category` numbered as in training, value by value, and `unknown`: a line for each column with values that training
    did not have, which get the number after the last. trained: column -> its values in order, of as many columns, matched by their order.

    The source itself where it numbers alike, or does not name its values. Raises ValueError for another number of columns.
    """
    found = {column: list(map(str, values)) for column, values in getattr(source, "category_names", {}).items()}
    if not found or not trained or list(found.values()) == [list(map(str, values)) for values in trained.values()]:
        return source
    if len(found) != len(trained):
        raise ValueError(f"category: the model reads {len(trained)} columns ({', '.join(trained)}), these data have {len(found)}")
    tables, lines = [], []
    for (column, values), known in zip(found.items(), trained.values()):
        number = {str(value): k for k, value in enumerate(known)}
        tables.append(np.array([number.get(value, len(known)) for value in values], np.int32))
        if new := sum(value not in number for value in values):
            lines.append(f"category {column!r}: {new:,} of its {len(values) - 1:,} values were not among those of training; they count "
                         "as unknown")
    return Recoded(source, tables, lines)


def fraction(source: Any, share: float, seed: int = 0) -> Subset:
    """A fixed random share (0, 1] of the rows, or of the cases where the source has `cases` i32[n]; smaller ones nest.

    Raises ValueError on a share out of range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"fraction: the share must lie in (0, 1], got {share}")
    rows, cases = np.arange(len(source)), getattr(source, "cases", None)
    units, which = np.unique(rows if cases is None else own(cases, rows), return_inverse=True)
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(units))
    taken = np.zeros(len(units), bool)
    taken[order[:max(int(np.ceil(share * len(units) - 1e-9)), 1)]] = True
    return Subset(source, np.flatnonzero(taken[which]))
