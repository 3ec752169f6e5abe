"""Words and tokens of `text`, a str or a list of them where an example has several samples."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mmrep.core.names import nearest, within
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


def sentences(text: str) -> list[str]:
    """Its sentences: what ends in . ! or ? before a space, or in a line's end; an abbreviation's dot ends one, too."""
    return [part for part in re.split(r"(?<=[.!?])\s+|\n+", text) if part.strip()]


def sample_sentences(count: int = 1) -> Transform:
    """Keep `count` >= 1 random sentences of the text, in their order. Source: ConVIRT (Zhang et al. 2022) and GLoRIA (Huang et al. 2021)
    train on one sentence of the report."""
    within("sample_sentences: count", count, 1)
    def apply(example: Example, rng: np.random.Generator) -> Example:
        def change(text: str) -> str:
            found = sentences(text)
            if len(found) <= count:
                return text
            return " ".join(found[i] for i in sorted(rng.choice(len(found), count, replace=False)))

        return _text(change, example)

    return apply


def shuffle_sentences(p: float = 1.0) -> Transform:
    """The text's sentences in random order, with probability p. Source: BioViL (Boecking et al. 2022), CXR-CLIP (You et al. 2023)."""
    within("shuffle_sentences: p", p, 0, 1)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        def change(text: str) -> str:
            found = sentences(text)
            return " ".join(found[i] for i in rng.permutation(len(found))) if rng.uniform() < p else text

        return _text(change, example)

    return apply


# what a line of a radiology report begins with before a colon
HEADINGS = ("findings", "impression", "impressions", "conclusion", "conclusions", "indication", "history", "clinical history",
            "clinical information", "reason for exam", "reason for examination", "comparison", "comparisons", "technique", "examination",
            "exam", "procedure", "recommendation", "recommendations", "notification", "addendum", "wet read", "final report")
_HEADING = re.compile(rf"(?im)^[ \t]*({'|'.join(sorted(HEADINGS, key=len, reverse=True))})[ \t]*:")


def sections(text: str) -> dict[str, str]:
    """The sections of a report by their headings (HEADINGS, at a line's beginning, before a colon) in lower case, in order.

    What comes before the first heading is "". Of a heading that comes twice the texts are joined; empty sections are left out.
    """
    marks = list(_HEADING.finditer(text))
    ends = [mark.start() for mark in marks] + [len(text)]
    found: dict[str, str] = {"": text[:ends[0]].strip()}
    for mark, end in zip(marks, ends[1:]):
        name, part = mark[1].lower(), text[mark.end():end].strip()
        found[name] = " ".join(filter(None, (found.get(name), part)))
    return {name: part for name, part in found.items() if part}


def choose_section(names: Sequence[str] = ("impression", "findings"), random: bool = True) -> Transform:
    """Keep one section of the report (`sections`) among `names`: any of those there, each as likely, or the first of `names` that is.

    A text with none of them stays whole. Evaluation: random=False, in a stream's `evaluate`.
    """
    names = (names,) if isinstance(names, str) else tuple(name.lower() for name in names)
    for name in names:
        if name not in HEADINGS:
            raise ValueError(f"choose_section: {name!r} is no heading that is known; {nearest(name, HEADINGS)}")

    def apply(example: Example, rng: np.random.Generator) -> Example:
        def change(text: str) -> str:
            found = sections(text)
            here = [found[name] for name in names if name in found]
            return here[int(rng.integers(len(here))) if random else 0] if here else text

        return _text(change, example)

    return apply


def text_views(count: int = 2, of: str = "sentences", random: bool = True) -> Transform:
    """`count` parts of the text as its samples, a list that `tokenize` makes i32[count, L]: sentences, lines or sections of a report.

    of: "sentences" | "lines" (text columns that a table joins are lines) | "sections" (by their headings). Drawn without repetition, or
    the first ones; where the text has fewer, they come again. A view reads one by {"modality": "text", "sample": 1}. Source: CXR-CLIP
    (You et al. 2023), where findings and impression are two texts of a study. Raises ValueError for a text of several samples.
    """
    within("text_views: count", count, 1)
    parts = {"sentences": sentences, "lines": lambda text: [line for line in text.splitlines() if line.strip()],
             "sections": lambda text: list(sections(text).values())}
    if of not in parts:
        raise ValueError(f"text_views: of {of!r} is not one of {', '.join(parts)}")

    def apply(example: Example, rng: np.random.Generator) -> Example:
        if "text" not in example:
            return example
        if not isinstance(example["text"], str):
            raise ValueError("text_views: the text has several samples already, or is tokens")
        found = parts[of](example["text"]) or [example["text"]]
        order = rng.permutation(len(found)) if random else np.arange(len(found))
        return {**example, "text": [found[order[i % len(found)]] for i in range(count)]}

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
