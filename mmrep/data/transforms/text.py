"""Words and tokens of `text`, a str or a list of them where an example has several samples."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mmrep.core.names import nearest
from mmrep.data.example import Example, Transform
from mmrep.data.reports import SECTIONS, sections, sentences, without_priors
from mmrep.data.transforms.checks import among, number, switch, whole
from mmrep.data.transforms.checks import names as checked


def _text(change: Callable[[str], str], example: Example) -> Example:
    text = _words(example)
    if text is None:
        return example
    return {**example, "text": change(text) if isinstance(text, str) else [change(sample) for sample in text]}


def _words(example: Example) -> str | list[str] | None:
    """The text, or the texts of several samples; None where there is none. Raises ValueError for tokens."""
    text = example.get("text")
    several = isinstance(text, (list, tuple)) and all(isinstance(one, str) for one in text)
    if not several and not isinstance(text, str | None):
        raise ValueError("the text is tokens already; put this before `tokenize`, which a stream does by itself at its end")
    return text


def lowercase() -> Transform:
    """Text in lower case."""
    return lambda example, rng: _text(str.lower, example)


def remove_words(words: Sequence[str]) -> Transform:
    """Remove whole words (or phrases), whatever their case, e.g. the label's own name, and close the gap.

    A text of which no letter or digit is left is absent from then on: rows that say nothing are no pairs.
    """
    if isinstance(words, str) or not words:
        raise ValueError(f"remove_words: words: give a list of words, got {words!r}")
    words = checked("remove_words: words", words)
    longest_first = sorted(words, key=len, reverse=True)
    pattern = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, longest_first)) + r")(?!\w)", re.IGNORECASE)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        return _said(_text(lambda text: re.sub(r"\s{2,}", " ", pattern.sub("", text)).strip(), example))

    return apply


def remove_priors() -> Transform:
    """Remove the sentences that compare to an earlier study, which its pictures do not show (`reports.without_priors`).

    A text of which none is left is absent from then on. Source: CXR-PRO (Ramesh et al. 2022).
    """
    return lambda example, rng: _said(_text(without_priors, example))


def _said(example: Example) -> Example:
    """Without a text that has no letter or digit."""
    left = example.get("text", "-")
    says = any(re.search(r"\w", sample) for sample in ([left] if isinstance(left, str) else left))
    return example if says else {k: v for k, v in example.items() if k != "text"}


def sample_sentences(count: int = 1) -> Transform:
    """Keep `count` >= 1 random sentences of the text, in their order. Source: ConVIRT (Zhang et al. 2022) and GLoRIA (Huang et al. 2021)
    train on one sentence of the report."""
    whole("sample_sentences: count", count)

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
    number("shuffle_sentences: p", p, 0, 1)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        def change(text: str) -> str:
            found = sentences(text)
            return " ".join(found[i] for i in rng.permutation(len(found))) if rng.uniform() < p else text

        return _text(change, example)

    return apply


def choose_section(names: Sequence[str] = ("impression", "findings"), random: bool = True) -> Transform:
    """Keep one section of the report (`sections`) among `names`: any of those there, each as likely, or the first of `names` that is.

    A text with none of them stays whole. Evaluation: random=False, in a stream's `evaluate`.
    """
    wanted = tuple(name.lower() for name in checked("choose_section: names", names))
    for name in wanted:
        if name not in SECTIONS:
            raise ValueError(f"choose_section: names: {name!r} is no section that is known; {nearest(name, SECTIONS)}")
    switch("choose_section: random", random)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        def change(text: str) -> str:
            found = sections(text)
            here = [found[name] for name in wanted if name in found]
            return here[int(rng.integers(len(here))) if random else 0] if here else text

        return _text(change, example)

    return apply


def text_views(count: int = 2, of: str = "sentences", random: bool = True) -> Transform:
    """`count` parts of the text as its samples, a list that `tokenize` makes i32[count, L]: sentences, lines or sections of a report.

    of: "sentences" | "lines" (text columns that a table joins are lines) | "sections" (findings and impression). Drawn without
    repetition, or the first ones; where the text has fewer, they come again. A view reads one by {"modality": "text", "sample": 1}.
    Source: CXR-CLIP (You et al. 2023), where findings and impression are two texts of a study. Raises ValueError for a text of several
    samples.
    """
    whole("text_views: count", count)
    switch("text_views: random", random)
    parts = {"sentences": sentences, "lines": lambda text: [line for line in text.splitlines() if line.strip()],
             "sections": lambda text: [part for name, part in sections(text).items() if name in ("findings", "impression")]}
    among("text_views: of", of, parts)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        if _words(example) is None:
            return example
        if not isinstance(example["text"], str):
            raise ValueError("text_views: the text has several samples already")
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
    if not hasattr(tokenizer, "encode"):
        raise ValueError(f"tokenize: tokenizer: {tokenizer!r} is no tokenizer, 'byte' or FILE.json")
    whole("tokenize: length", length)

    def apply(example: Example, rng: np.random.Generator) -> Example:
        text = _words(example)
        if text is None:
            return example
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
