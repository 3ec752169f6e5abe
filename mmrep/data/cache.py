"""A source that keeps what it has read, decoded and prepared, in memory: by column where all of it fits, else by row."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from mmrep.data.example import Example, is_field
from mmrep.data.reading import read_rows
from mmrep.data.rng import Later
from mmrep.data.sources import BadRow, bad_row


class Columns:
    """Rows of equal form, one array [n, ...] a key, so that a batch is gathered at once. Memory is taken as rows come.

    `known` bool[n] says which rows are kept, `bytes` what they take.
    """

    def __init__(self, n: int, limit_bytes: int):
        self.n, self.left, self.bytes = n, limit_bytes, 0
        self.known = np.zeros(n, bool)
        self._forms: dict[str, Any] = {}
        self._values: dict[str, Any] = {}
        self._shown: dict[str, Any] = {}  # the same, read-only: an in-place transform would corrupt the cache
        self._held: dict[str, np.ndarray] = {}
        self._lock = threading.Lock()

    def put(self, row: int, example: Example) -> bool:
        """Keep a row; False where its form is another than that of the rows before, or n such rows exceed the limit."""
        with self._lock:
            if not all(self._fits(key, value) for key, value in example.items()):
                return False
            for key, value in example.items():
                self._values[key][row] = value
                self._held[key][row] = True
            self.bytes += 0 if self.known[row] else sum(map(_size, example.values()))
            self.known[row] = True
        return True

    def _fits(self, key: str, value: Any) -> bool:
        text = isinstance(value, (str, list))
        form = type(value) if text else (np.shape(value), np.asarray(value).dtype)
        if key in self._forms:
            return self._forms[key] == form
        if isinstance(value, dict) or not text and form[1].kind not in "biuf" or self.n * _size(value) > self.left:
            return False
        self.left -= self.n * _size(value)
        self._values[key] = [""] * self.n if text else np.zeros((self.n, *form[0]), form[1])
        self._shown[key] = self._values[key] if text else self._values[key].view()
        if not text:
            self._shown[key].setflags(write=False)
        self._held[key] = np.zeros(self.n, bool)
        self._forms[key] = form
        return True

    def __getitem__(self, row: int) -> Example:
        return {key: values[row] for key, values in list(self._shown.items()) if self._held[key][row]}

    def block(self, rows: np.ndarray) -> dict[str, Any]:
        """Known rows as a source's `block`. Raises ValueError where a row lacks what is no modality, such as a label."""
        held = {key: mark[rows] for key, mark in list(self._held.items())}
        for key, here in held.items():
            if not is_field(key) and not here.all():
                raise ValueError(f"cache: not every row has {key!r}")
        block = {key: [self._values[key][row] for row in rows.tolist()] if isinstance(self._values[key], list)
                 else self._values[key][rows] for key in held}
        return {**block, "present": {key: here for key, here in held.items() if is_field(key)}}


def _size(value: Any) -> int:
    """Bytes of a value; an allowance for text and numbers."""
    return value.nbytes if isinstance(value, np.ndarray) else 64


class Cached:
    """Source that keeps what it has read, decoded, until a byte limit; the rest is read anew each time."""

    def __init__(self, source: Any, limit_bytes: int, prepare: Callable | None):
        self.source, self.limit_bytes, self.prepare = source, limit_bytes, prepare
        self.fields = source.fields
        self._columns = Columns(len(source), limit_bytes)
        self._alike = limit_bytes > 0  # whether every row so far went into the columns
        self._rows: dict[int, Example] = {}  # else they come here, and the columns stay as they are
        self._row_bytes, self._lock = 0, threading.Lock()
        if hasattr(source, "has"):
            self.has = source.has
        if hasattr(source, "texts"):
            self.texts = self._texts
        if self._alike:
            self.block = self._block

    def __len__(self) -> int:
        return len(self.source)

    @property
    def bytes(self) -> int:
        """What the kept rows take."""
        return self._columns.bytes + self._row_bytes

    def __getitem__(self, row: int) -> Example:
        row = int(row)
        kept = self._known(row)
        kept = self._keep(row, self.source[row]) if kept is None else kept
        if isinstance(kept, BadRow):
            raise kept
        return kept

    def read(self, rows: np.ndarray) -> list[Any]:
        """Examples of many rows, the missing ones read together; a BadRow stands for one that cannot be read."""
        rows = [int(row) for row in rows]
        known = {row: self._known(row) for row in rows}
        missing = [row for row, example in known.items() if example is None]
        for row, example in zip(missing, read_rows(self.source, np.array(missing, np.int64))):
            known[row] = example if isinstance(example, BadRow) else self._keep(row, example)
        return [example if isinstance(example, BadRow) else dict(example) for example in map(known.__getitem__, rows)]

    def _block(self, rows: np.ndarray) -> dict[str, Any]:
        """Rows as a source's `block`. Raises ValueError where they are not alike or do not fit, BadRow for one that cannot be read."""
        if not self._alike:
            raise ValueError("cache: rows are not alike, or do not fit")
        for example in self.read(rows[~self._columns.known[rows]]):
            if isinstance(example, BadRow):
                raise example
        if not self._alike:
            raise ValueError("cache: rows are not alike, or do not fit")
        return self._columns.block(rows)

    def _known(self, row: int) -> Example | None:
        """A kept row, the caller's own dict of read-only arrays."""
        if self._columns.known[row]:
            return self._columns[row]
        return dict(self._rows[row]) if row in self._rows else None

    def _prepared(self, row: int, example: Example) -> Example | BadRow:
        if self.prepare is None:
            return example
        try:
            return self.prepare(example, Later(lambda: np.random.Generator(np.random.Philox(row))))
        except (ValueError, OSError) as error:
            return bad_row(self.source, row, error)

    def _texts(self, rows: np.ndarray | None = None) -> list[Any]:
        """Texts as they are trained on; None where absent, or where `prepare` refuses them."""
        rows = np.arange(len(self)) if rows is None else rows
        found = [text if text is None else self._prepared(int(row), {"text": text})
                 for row, text in zip(rows, self.source.texts(rows))]
        return [one.get("text") if isinstance(one, dict) else None for one in found]

    def _keep(self, row: int, example: Example) -> Example | BadRow:
        example = self._prepared(row, example)
        if isinstance(example, BadRow):
            return example
        if self._alike and self._columns.put(row, example):
            return self._columns[row]
        self._alike = False
        size = sum(map(_size, example.values()))
        with self._lock:  # another reader thread may hold the same row
            if row not in self._rows and self.bytes + size <= self.limit_bytes:
                # Copies: a view would keep its whole block alive.
                mine = {key: np.array(v) if isinstance(v, np.ndarray) else v for key, v in example.items()}
                for value in mine.values():
                    if isinstance(value, np.ndarray):
                        value.setflags(write=False)
                self._rows[row] = mine
                self._row_bytes += size
        return dict(self._rows.get(row, example))

    def __getattr__(self, name: str) -> Any:
        # The source's `block` is not passed on: it would bypass the cache, nor is `texts`, which would bypass `prepare`.
        if name in ("source", "has", "block", "read", "texts") or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.source, name)


def cached(source: Any, limit_bytes: int = 4 * 2**30, prepare: Callable | None = None) -> Cached:
    """Decoded cache in memory (first come, first kept, up to `limit_bytes`).

    `prepare` is a deterministic transform applied before storing, e.g. a resize, so that the small picture is what is
    kept; with `limit_bytes` 0 it is all that is done. Cached arrays are read-only.
    """
    return Cached(source, limit_bytes, prepare)
