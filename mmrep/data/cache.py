"""A source that keeps what it has read, decoded and prepared, in memory."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mmrep.data.example import Example
from mmrep.data.reading import read_rows
from mmrep.data.sources import BadRow, bad_row


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
        return [one.get("text") if isinstance(one, dict) else None for one in found]

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
