"""Random-access sources of examples: what one is, in-memory arrays, row subsets, a decoded cache.

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
  fingerprint() text that changes with the rows, without reading pictures; `fingerprint` below answers for sources without
  where(row)    what an error message calls a row: file and line
  identify(rows)          where rows come from; `identify` below answers for sources without it
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
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


def where(source: Any, row: int) -> str:
    """What an error message calls a row: its file and line where the source knows them, else its number."""
    return source.where(int(row)) if hasattr(source, "where") else f"row {int(row)}"


def identify(source: Any, rows: Sequence[int] | np.ndarray) -> dict[str, list]:
    """Where rows (i[n], as `index` in a batch) come from: lists of n, None where the source does not say.

    {"row": number in the file or table, from 0; "case": the id written there, str; "image": name of the picture, as written there}; of a
    mixture also "source", the component's name.
    """
    if hasattr(source, "identify"):
        return source.identify(np.asarray(rows, np.int64))
    rows = [int(row) for row in rows]
    cases = getattr(source, "cases", None)
    return {"row": rows, "case": [None if cases is None else str(cases[row]) for row in rows],
            "image": [None] * len(rows)}


def rows_of(source: Any, rows: np.ndarray) -> np.ndarray:
    """i64[n]: the "row" of `identify` alone, for which nothing is read."""
    if isinstance(source, Cached):
        return rows_of(source.source, rows)
    if hasattr(source, "locate"):  # a mixture
        which, inner = source.locate(rows)
        found = np.empty(len(rows), np.int64)
        for component in np.unique(which):
            found[which == component] = rows_of(source.components[component], inner[which == component])
        return found
    if isinstance(source, Subset):
        return rows_of(source.source, source.rows[rows])
    return source.rows[rows] if hasattr(source, "rows") else rows


def fingerprint(source: Any) -> str:
    """Text that changes where a source's rows do, as far as it can tell without reading pictures; "" where it cannot."""
    if isinstance(source, Subset):
        inner = fingerprint(source.source)
        return inner and f"{inner}/{zlib.crc32(source.rows.tobytes()):08x}"
    if hasattr(source, "components"):
        return "+".join(map(fingerprint, source.components))
    return source.fingerprint() if hasattr(source, "fingerprint") else ""


def bad_row(source: Any, row: int, error: Exception) -> BadRow:
    """The error as one of a row, which names it and knows whether its source asks to mask it."""
    if isinstance(error, BadRow):
        return error
    return BadRow(f"{where(source, row)}: {error}, or pass on_error='skip'", _skips(source, row))


def _skips(source: Any, row: int) -> bool:
    if isinstance(source, Subset):
        return _skips(source.source, int(source.rows[row]))
    if hasattr(source, "locate"):  # a mixture: what the component asks
        (which,), (inner,) = source.locate(np.asarray([row]))
        return _skips(source.components[which], int(inner))
    return getattr(source, "on_error", None) == "skip"


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

    def __getattr__(self, name: str) -> Any:
        if name in ("source", "has", "block", "read", "texts", "cases", "labels", "locate") or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.source, name)


def subset(source: Any, rows: Sequence[int] | np.ndarray) -> Subset:
    """Source over `rows` (i[k] row numbers or bool[len] mask) of another. Raises ValueError on a row out of range."""
    return Subset(source, rows)


def fraction(source: Any, share: float, seed: int = 0) -> Subset:
    """A fixed random share (0, 1] of the rows, or of the cases where the source has `cases` i32[n]; smaller ones nest.

    Raises ValueError on a share out of range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"fraction: the share must lie in (0, 1], got {share}")
    cases = getattr(source, "cases", None)
    units, which = np.unique(np.arange(len(source)) if cases is None else cases, return_inverse=True)
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(units))
    taken = np.zeros(len(units), bool)
    taken[order[:max(int(np.ceil(share * len(units) - 1e-9)), 1)]] = True
    return Subset(source, np.flatnonzero(taken[which]))


class Cached:
    """Source that keeps what it has read, decoded, until a byte limit; the rest is read anew each time."""

    def __init__(self, source: Any, limit_bytes: int, prepare: Callable | None):
        self.source, self.limit_bytes, self.prepare = source, limit_bytes, prepare
        self.fields, self.bytes = source.fields, 0
        self._kept: dict[int, Example] = {}
        if hasattr(source, "has"):
            self.has = source.has
        if hasattr(source, "texts"):
            self.texts = self._texts

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, row: int) -> Example:
        kept = self._kept.get(int(row))
        kept = self._keep(int(row), self.source[row]) if kept is None else kept
        if isinstance(kept, BadRow):
            raise kept
        return dict(kept)

    def read(self, rows: np.ndarray) -> list[Any]:
        """Examples of many rows, the missing ones read together; a BadRow stands for one that cannot be read."""
        from mmrep.data.batches import read_rows  # which imports this module

        rows = [int(row) for row in rows]
        missing = [row for row in rows if row not in self._kept]
        fresh = dict(zip(missing, read_rows(self.source, np.array(missing, np.int64))))
        new = {row: example if isinstance(example, BadRow) else self._keep(row, example)
               for row, example in fresh.items()}
        found = [new[row] if row in new else self._kept[row] for row in rows]
        return [example if isinstance(example, BadRow) else dict(example) for example in found]

    def _prepared(self, row: int, example: Example) -> Example | BadRow:
        if self.prepare is None:
            return example
        try:
            return self.prepare(example, np.random.Generator(np.random.Philox(row)))
        except (ValueError, OSError) as error:
            return bad_row(self.source, row, error)

    def _texts(self, rows: np.ndarray | None = None) -> list[Any]:
        """Texts as they are trained on; None where absent, or where `prepare` refuses them."""
        rows = np.arange(len(self)) if rows is None else rows
        found = [text if text is None else self._prepared(int(row), {"text": text})
                 for row, text in zip(rows, self.source.texts(rows))]
        return [one["text"] if isinstance(one, dict) else None for one in found]

    def _keep(self, row: int, example: Example) -> Example | BadRow:
        example = self._prepared(row, example)
        if isinstance(example, BadRow):
            return example
        size = sum(v.nbytes if isinstance(v, np.ndarray) else 64 for v in example.values())
        # Two reader threads may both store a row: the value is the same, and only the byte count is a little high.
        if self.bytes + size <= self.limit_bytes:
            # Copies: a view would keep its whole block alive. Read-only: an in-place transform would corrupt the cache.
            example = {key: np.array(v) if isinstance(v, np.ndarray) else v for key, v in example.items()}
            for value in example.values():
                if isinstance(value, np.ndarray):
                    value.setflags(write=False)
            self._kept[row] = example
            self.bytes += size
        return example

    def __getattr__(self, name: str) -> Any:
        # `block` is not passed on: it would bypass the cache, nor is `texts`, which would bypass `prepare`.
        if name in ("source", "has", "block", "read", "texts") or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.source, name)


def cached(source: Any, limit_bytes: int = 4 * 2**30, prepare: Callable | None = None) -> Cached:
    """Decoded cache in memory (first come, first kept, up to `limit_bytes`).

    `prepare` is a deterministic transform applied before storing, e.g. a resize, so that the small picture is what is
    kept; with `limit_bytes` 0 it is all that is done. Cached arrays are read-only.
    """
    return Cached(source, limit_bytes, prepare)
