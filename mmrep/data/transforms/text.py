"""Words and tokens of `text`, a str or a list of them where an example has several samples."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mmrep.core.names import within
from mmrep.data.example import Example, Transform


def _text(change: Callable[[str], str], example: Example) -> Example:
    if "text" not in example:
        return example
    text = example["text"]
    return {**example, "text": change(text) if isinstance(text, str) else [change(sample) for sample in text]}


def lowercase() -> Transform:
    """Text in lower case."""
    return lambda example, rng: _text(str.lower, example)


def remove_words(words: Sequence[str]) -> Transform:
    """Remove whole words (or phrases), whatever their case, e.g. the label's own name, and close the gap.

    A text of which no letter or digit is left is absent from then on: rows that say nothing are no pairs.
    """
    if isinstance(words, str) or not words:
        raise ValueError(f"remove_words: give a list of words, got {words!r}")
    longest_first = sorted(words, key=len, reverse=True)
    pattern = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, longest_first)) + r")(?!\w)", re.IGNORECASE)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        example = _text(lambda text: re.sub(r"\s{2,}", " ", pattern.sub("", text)).strip(), example)
        left = example.get("text", "-")
        says = any(re.search(r"\w", sample) for sample in ([left] if isinstance(left, str) else left))
        return example if says else {k: v for k, v in example.items() if k != "text"}

    return apply


def sample_sentences(count: int = 1) -> Transform:
    """Keep `count` >= 1 random sentences of the text, in their order."""
    within("sample_sentences: count", count, 1)
    def apply(example: Example, rng: np.random.Generator) -> Example:
        def change(text: str) -> str:
            sentences = [s for s in re.split(r"(?<=[.!?])\s+|\n+", text) if s.strip()]
            if len(sentences) <= count:
                return text
            return " ".join(sentences[i] for i in sorted(rng.choice(len(sentences), count, replace=False)))

        return _text(change, example)

    return apply


def tokenize(tokenizer: Any = "byte", length: int = 64) -> Transform:
    """Text to i32[length] (a list of S texts to i32[S, length]); `tokenizer` is a Tokenizer, "byte" or a saved file.

    The transform's `block` does the same to a whole block of rows, whose `text` is a list.
    """
    from mmrep.data import tokenizers

    tokenizer = tokenizers.load(tokenizer) if isinstance(tokenizer, str) else tokenizer

    def apply(example: Example, rng: np.random.Generator) -> Example:
        if "text" not in example:
            return example
        text = example["text"]
        tokens = tokenizer.encode([text] if isinstance(text, str) else list(text), length)
        return {**example, "text": tokens[0] if isinstance(text, str) else tokens}

    def block(rows: dict[str, Any]) -> dict[str, Any]:
        if "text" not in rows:
            return rows
        one = all(isinstance(text, str) for text in rows["text"])
        encode = tokenizer.encode if one else lambda texts, n: np.stack([tokenizer.encode(t, n) for t in texts])
        return {**rows, "text": encode(rows["text"], length)}

    apply.block = block
    return apply
