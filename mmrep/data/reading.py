"""Read examples of any source, as fast as it can give them; a row that cannot be read is a BadRow in its place."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mmrep.data.example import Example, Transform
from mmrep.data.sources import BadRow, bad_row


def read_rows(source: Any, ids: np.ndarray) -> list[Example | BadRow]:
    """Examples of the rows in order, by the source's `read` or `block` if any; a BadRow is one that cannot be read."""
    if not len(ids):
        return []
    if hasattr(source, "read"):
        return source.read(ids)
    if hasattr(source, "block"):
        try:
            return _unstack(source.block(np.asarray(ids)), len(ids))
        except BadRow:
            pass  # one bad row must not cost the block: find it row by row
    return [read_row(source, int(row)) for row in ids]


def read_row(source: Any, row: int) -> Example | BadRow:
    """One example, or the BadRow that says why it cannot be read."""
    try:
        return source[row]
    except (BadRow, OSError) as error:
        return bad_row(source, row, error)


def transformed(source: Any, row: int, example: Example, transform: Transform, rng: np.random.Generator
                ) -> Example | BadRow:
    """The example after the transform, or a BadRow that names its row where the transform refuses it."""
    try:
        return transform(example, rng)
    except (ValueError, OSError) as error:
        return bad_row(source, row, error)


def transformed_rows(source: Any, rows: list[int], examples: list[Example | BadRow], transform: Transform,
                     draws: Callable[[int], np.random.Generator]) -> list[Example | BadRow]:
    """The examples of `rows` after the transform, each with the generator `draws(place)`; where it ends in tokens, those of all at once.

    A transform whose last part does the same to many rows names its `parts`: (what comes before, or None; the last part, with `block`).
    """
    first, last = getattr(transform, "parts", (transform, None))
    if first is not None:
        examples = [one if isinstance(one, BadRow) else transformed(source, row, one, first, draws(place))
                    for place, (row, one) in enumerate(zip(rows, examples))]
    if last is None:
        return examples
    held = [place for place, one in enumerate(examples) if not isinstance(one, BadRow) and "text" in one]
    try:
        tokens = last.block({"text": [examples[place]["text"] for place in held]})["text"] if held else []
    except ValueError:  # one at a time: it is to be named
        return [one if isinstance(one, BadRow) else transformed(source, row, one, last, draws(place))
                for place, (row, one) in enumerate(zip(rows, examples))]
    examples = list(examples)
    for place, text in zip(held, tokens):
        examples[place] = {**examples[place], "text": text}
    return examples


def presence(block: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What a block says is present; categories are half of a table, so unless told apart they come and go with it."""
    present = dict(block.get("present", {}))
    if "category" in block and "category" not in present and "tabular" in present:
        present["category"] = present["tabular"]
    return present


def _unstack(block: Mapping[str, Any], n: int) -> list[Example]:
    flags = {key: np.asarray(flag) for key, flag in presence(block).items()}
    # Flags of several samples [n, S] stay beside the row, which then always holds the key.
    whole = {key: flag.tolist() for key, flag in flags.items() if flag.ndim == 1}
    parts = {key: flag for key, flag in flags.items() if flag.ndim > 1}
    rows = [{"present": {key: flag[i] for key, flag in parts.items()}} if parts else {} for i in range(n)]
    for key, values in block.items():
        if key != "present":
            for row, value, here in zip(rows, values, whole.get(key, [True] * n)):
                if here:
                    row[key] = value
    return rows
