"""The phantom's report: a small grammar with synonyms and styles, its exact inverse, and prompts in the same words.

A report always names the class. Of six further attributes (severity, laterality, zone, and three sections of two findings
each) it mentions `n_mentioned`, chosen at random for every subject; what it does not mention cannot be told from the text.
A whole report begins with the organ and marker_b.
"""

from collections.abc import Sequence

import numpy as np

from mmrep.data.phantom.anatomy import ORGANS
from mmrep.data.phantom.latents import CLASSES, FINDINGS, LATERALITIES, MARKERS, SEVERITIES, STATIC_TEXT, ZONES, Latents, latents

SECTIONS = {"lungs": (0, 1), "pleura": (2, 4), "mediastinum": (3, 5)}  # section -> rows of FINDINGS
ATTRIBUTES = ("severity", "laterality", "zone", *SECTIONS)             # Latents["mentioned"] orders these

_CLASS = [("striated", "banded"), ("columnar", "pillared"), ("oblique", "slanted"), ("transverse", "diagonal"),
          ("laminar", "layered"), ("serrated", "jagged"), ("fibrillar", "threadlike"), ("feathery", "plumed"),
          ("reticular", "netlike"), ("woven", "braided")]
_FINDING = [("opacity", "infiltrate"), ("nodule", "granuloma"), ("effusion", "fluid"), ("cardiomegaly", "enlargement"),
            ("pneumothorax", "collapse"), ("device", "hardware")]
_SEVERITY = [("mild", "slight"), ("moderate", "medium"), ("severe", "marked")]
_ZONE = [("upper", "apical"), ("middle", "central"), ("lower", "basal")]
_HISTORY = ("cough", "fever", "dyspnea", "trauma", "fatigue", "screening")
_HEADER = ("history {}.", "indication {}.", "{}.")
_WHOLE_HEADER = ("{0} {1} {2}.", "{2} {0} {1}.", "{0} {2} {1}.")
_NORMAL = {"lungs": "lungs clear.", "pleura": "pleura normal.", "mediastinum": "mediastinum unremarkable."}
_PRESENT = ("{}.", "{} present.", "{} seen.")
_ABSENT = ("no {}.", "without {}.", "no {}.")
_NEGATIONS = {"no", "without"}
_ORDERS = [(a, b, c, d) for a in range(4) for b in range(4) for c in range(4) for d in range(4) if {a, b, c, d} == {0, 1, 2, 3}]
_WORDS = {word: (name, value) for name, table in (
    ("class", _CLASS), ("severity", _SEVERITY), ("laterality", [(w,) for w in LATERALITIES]), ("zone", _ZONE),
    ("finding", _FINDING), ("history", [(w,) for w in _HISTORY]), ("organ", [(w,) for w in ORGANS]),
    ("marker", [(w,) for w in MARKERS])) for value, words in enumerate(table) for word in words}
_OTHER_WORDS = frozenset("a in the zone on lesion mass degree present seen and or no without history indication".split()) | {
    word for text in _NORMAL.values() for word in text.rstrip(".").split()}
_NORMAL_WORDS = {text.split()[0]: section for section, text in _NORMAL.items()}


def _lesion(name: str, severity: str, place: str, template: int) -> str:
    """One of five sentences about the lesion; severity and place may be empty."""
    sentence = (f"{severity} {name} lesion {place}.", f"a {severity} {name} mass {place}.",
                f"{place} a {severity} {name} lesion.",
                f"{name} lesion {place} {severity and severity + ' degree'}.", f"{name} mass {severity} {place}.")[template]
    return " ".join(sentence.split()).replace(" .", ".")


def _place(side: str, zone: str, reverse: bool) -> str:
    if side and zone:
        return f"in the {zone} {side} zone" if reverse else f"in the {side} {zone} zone"
    return f"in the {zone} zone" if zone else f"on the {side}" if side else ""


def _section(name: str, present: Sequence[int], negation: Sequence[int], phrasing: int, words: list[str], rate: int) -> str:
    """Positive findings, then explicit negations at rate / 256 each; a normal phrase where nothing else is said."""
    rows = SECTIONS[name]
    there = [words[k] for k in rows if present[k]]
    denied = [words[k] for k in rows if not present[k] and negation[k] < rate]
    said = [_PRESENT[phrasing].format(" and ".join(there))] if there else []
    said += [_ABSENT[phrasing].format(" or ".join(denied))] if denied else []
    return " ".join(said) or _NORMAL[name]


def mentioned(block: Latents, n_mentioned: int = 6) -> np.ndarray:
    """Which of ATTRIBUTES each report mentions: bool[B,6], n_mentioned (0..6) of them in every row."""
    if not 0 <= n_mentioned <= len(ATTRIBUTES):
        raise ValueError(f"phantom n_mentioned must be 0..{len(ATTRIBUTES)}, got {n_mentioned}")
    said = np.zeros((len(block["id"]), len(ATTRIBUTES)), bool)
    np.put_along_axis(said, block["mentioned"][:, :n_mentioned].astype(np.int64), True, axis=1)
    return said


def report(block: Latents, n_mentioned: int = 6, negation_rate: float = 0.25, whole: bool = False) -> list[str]:
    """Latents of B subjects -> B reports: lower case, about 80 words in all, at most 32 words and periods each.

    n_mentioned: attributes named besides the class, 0..6; negation_rate: how often an absent finding of a mentioned section is
    denied explicitly, 0..1; whole: name organ and marker_b, too. Raises ValueError for n_mentioned out of range.
    """
    said = mentioned(block, n_mentioned).tolist()
    names = ("class", "findings", "severity_bin", "laterality", "zone", *STATIC_TEXT, "organ", "marker_b")
    columns = zip(*(block[name].tolist() for name in names))
    rate, out = round(256 * negation_rate), []
    for row, column in zip(said, columns):
        (kind, found, degree, side, zone, history, template, synonyms, order, header, denials, phrasing, organ, marker) = column
        severity = _SEVERITY[degree][synonyms & 1] if row[0] else ""
        place = _place(LATERALITIES[side] if row[1] else "", _ZONE[zone][synonyms >> 1 & 1] if row[2] else "",
                       bool(synonyms >> 2 & 1))
        words = [pair[synonyms >> 3 & 1] for pair in _FINDING]
        parts = [_lesion(_CLASS[kind][synonyms >> 4 & 1], severity, place, template)]
        parts += [_section(name, found, denials, phrasing[k], words, rate) if row[3 + k] else ""
                  for k, name in enumerate(SECTIONS)]
        start = _WHOLE_HEADER[header].format(ORGANS[organ], MARKERS[marker], _HISTORY[history]) if whole else \
            _HEADER[header].format(_HISTORY[history])
        text = [start, *(parts[k] for k in _ORDERS[order])]
        out.append(" ".join(" ".join(text).split()))
    return out


def parse(text: str) -> dict[str, int | None | list[int | None]]:
    """The grammar's exact inverse: {"class", "severity", "laterality", "zone": int or None where not mentioned, "findings": six
    of 1, 0 or None (section not mentioned), "denied": six of 0/1 (explicitly negated), "history", "organ", "marker": int or None}.

    Raises ValueError for a text with a word that is not the grammar's, without a class, or with two values of one thing; the order of
    words is not looked at.
    """
    def refuse(why: str) -> ValueError:
        return ValueError(f"phantom report {why}, so this grammar did not write it: {text[:60]!r}")

    def found(k: int, value: int) -> None:
        if findings[k] not in (None, value):
            raise refuse(f"says that there is {FINDINGS[k]} and that there is not")
        findings[k] = value

    out: dict = {"class": None, "severity": None, "laterality": None, "zone": None, "history": None, "organ": None,
                 "marker": None}
    findings, denied = [None] * len(FINDINGS), [0] * len(FINDINGS)
    for sentence in text.split("."):
        words = sentence.split()
        negated = bool(_NEGATIONS & set(words))
        for word in words:
            if word in _NORMAL_WORDS:
                for k in SECTIONS[_NORMAL_WORDS[word]]:
                    found(k, 0)
                continue
            name, value = _WORDS.get(word, (None, None))
            if name == "finding":
                found(value, int(not negated))
                denied[value] = int(negated)
            elif name is None and word not in _OTHER_WORDS:
                raise refuse(f"holds {word!r}")
            elif name is not None and out[name] not in (None, value):
                raise refuse(f"names two values of {name}")
            elif name is not None:
                out[name] = value
    if out["class"] is None:
        raise refuse("names no class")
    for rows in SECTIONS.values():  # within a mentioned section silence means absence
        if any(findings[k] is not None for k in rows):
            for k in rows:
                findings[k] = findings[k] or 0
    return out | {"findings": findings, "denied": denied}


def semantics(block: Latents, n_mentioned: int = 6, whole: bool = False) -> np.ndarray:
    """What each report says, as one number: i32[B], equal exactly where `parse` gives equal class, severity, laterality, zone,
    findings and organ."""
    said, found = mentioned(block, n_mentioned), block["findings"].astype(np.int32)
    key = block["class"].astype(np.int32)
    fields = [(block["severity_bin"], 3), (block["laterality"], 2), (block["zone"], 3)]
    fields += [(found[:, a] * 2 + found[:, b], 4) for a, b in SECTIONS.values()]
    for k, (value, count) in enumerate(fields):
        key = key * (count + 1) + np.where(said[:, k], value + 1, 0)
    return (key * (len(ORGANS) + 1) + block["organ"] + 1 if whole else key).astype(np.int32)


_PROMPT_SEED = 20_26  # contexts of the prompts: a fixed key that no experiment's seed should share
_NAMES = {"class": CLASSES, "laterality": LATERALITIES, "severity": SEVERITIES, "zone": ZONES, "organ": ORGANS}


def _contexts(n: int) -> Latents:
    """n balanced contexts: every severity x laterality x zone equally often, classes in turn, findings and style random."""
    block, turn = latents(_PROMPT_SEED, np.arange(n), prevalence=(0.3,) * len(FINDINGS)), np.arange(n)
    return block | {"severity_bin": turn % 3, "laterality": turn // 3 % 2, "zone": turn // 6 % 3, "class": turn % len(CLASSES),
                    "text/template": turn % 5, "text/synonyms": turn * 37 % 32}


def prompts(kind: str, n: int = 18, n_mentioned: int = 6, whole: bool = False) -> tuple:
    """Prompts for zero-shot evaluation, in the reports' own wording; average the embeddings over P, or over the ensemble.

    kind "class", "laterality", "severity_bin" (or "severity"), "zone", of whole reports "organ": returns (names, texts) with
    texts[k][p] for every name k and p < n: the same n contexts (other attributes, synonyms, sentence styles) for every name, so that
    only the name differs on average.
    kind "findings": returns (names, positive, negative), each texts[f][p], equal in all but that finding.
    n: prompts a name (a multiple of 18 balances the other attributes); n_mentioned, whole: as the training reports have (the
    asked-for attribute is always named). Raises ValueError for an unknown kind.
    """
    kind = "severity" if kind == "severity_bin" else kind  # the label of its classes, and the attribute
    if kind == "findings":
        n = max(n, 2 * len(CLASSES))
    elif kind not in _NAMES or kind == "organ" and not whole:
        raise ValueError(f"phantom prompts: unknown kind {kind!r}, choose one of {('findings', *_NAMES)}")
    base = _contexts(n)

    def filled(attribute: int | None, **changed: np.ndarray) -> list[str]:
        block = base | changed
        if attribute is not None:  # the asked-for attribute moves to the front of what is mentioned
            order = block["mentioned"]
            first = np.argsort(order != attribute, axis=1, kind="stable")
            block = block | {"mentioned": np.take_along_axis(order, first, 1)}
        return report(block, n_mentioned if attribute is None else max(1, n_mentioned), whole=whole)

    if kind != "findings":
        attribute = None if kind in ("class", "organ") else ATTRIBUTES.index(kind)
        name = "severity_bin" if kind == "severity" else kind
        return _NAMES[kind], [filled(attribute, **{name: np.full(n, k, np.int32)}) for k in range(len(_NAMES[kind]))]
    texts: list[list[list[str]]] = [[], []]
    for k in range(len(FINDINGS)):
        section = next(j for j, rows in enumerate(SECTIONS.values()) if k in rows)
        for value in (0, 1):
            found, denial = base["findings"].copy(), base["text/negation"].copy()
            found[:, k], denial[:, k] = value, 0  # an absent finding is denied, never passed over
            texts[value].append(filled(3 + section, findings=found, **{"text/negation": denial}))
    return FINDINGS, texts[1], texts[0]
