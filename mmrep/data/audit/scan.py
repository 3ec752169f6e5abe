"""One pass over every row of every split: what each holds, as a few numbers a row, from which every report is made."""

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from mmrep.data.audit import hashes
from mmrep.data.reading import presence, read_rows
from mmrep.data.sources import BadRow, identify, rows_of

BLOCK = 64
LONE = {"image": 3, "volume": 4, "signal": 2}  # axes of one sample; an array of more holds several, on its first


class Marks(NamedTuple):
    """What rows are known by: value u64[m] of the row i64[m] (ascending), none, one or several a row."""

    rows: np.ndarray
    values: np.ndarray


class Pictures(NamedTuple):
    """Every picture of every row: its row i64[p] (ascending), digest and perceptual hash u64[p], thumbnail u8[p, 32, 32], and whether it is
    not too even to be compared by them, bool[p]."""

    rows: np.ndarray
    digest: np.ndarray
    hash: np.ndarray
    thumb: np.ndarray
    comparable: np.ndarray


class Scan(NamedTuple):
    """What was read; n rows of all splits one after the other, without those that could not be read.

    splits names; split i16[n], number in `splits`; place i64[n], row in the split's source; row i64[n], row of the file, from 0;
    has {field: bool[n]}; digest {field: Marks} of its content, each of several samples or texts by itself, "text~" of the normalized text,
    "file" and "name" of its pictures' file names, whole and without folder and suffix, "id" of these that could be one, "case" of the id
    as it is written; pictures; parts: for each "name" the digests of its parts; ids {"case", "group": i64[n]}, negative for none;
    counted: whether cases are numbered in order (P001, P002, ...), as patients of other hospitals are, too; labels {label: array[n, ...]};
    forms {field: Counter of "dtype[shape]"}; ranges {field: (min, max, mean)}, of texts in words; odd {field: [i]}, rows with NaN or
    infinity; skipped {split: rows that could not be read or were left out}, problems [(split, row of the file or None, why)]; seconds;
    of: a mixture's component of every row, else empty.
    """

    splits: tuple[str, ...]
    split: np.ndarray
    place: np.ndarray
    row: np.ndarray
    has: dict[str, np.ndarray]
    digest: dict[str, Marks]
    pictures: Pictures
    parts: list[list[int]]
    ids: dict[str, np.ndarray]
    counted: bool
    labels: dict[str, np.ndarray]
    forms: dict[str, Counter]
    ranges: dict[str, tuple[float, float, float]]
    odd: dict[str, list[int]]
    skipped: dict[str, int]
    problems: list[tuple[str, int | None, str]]
    seconds: float
    of: list[str]

    def __len__(self) -> int:
        return len(self.split)

    def named(self, i: int) -> int | str:
        """What a report calls a row: its number in the file, of a mixture "COMPONENT:number"."""
        return f"{self.of[i]}:{int(self.row[i])}" if self.of else int(self.row[i])


def scan(opened: Mapping[str, Any], threads: int | None = None, say: Callable[[str], None] = lambda text: None) -> Scan:
    """Read every row of the sources (split -> source), `threads` blocks at a time (default one a core); pictures and texts are not kept."""
    began, told = time.perf_counter(), time.perf_counter()
    blocks, skipped, problems = [], {}, []
    threads = threads or len(os.sched_getaffinity(0))
    total, done = sum(map(len, opened.values())), 0
    with ThreadPoolExecutor(threads) as pool:
        for number, (split, source) in enumerate(opened.items()):
            skipped[split] = int(getattr(source, "skipped", 0))
            problems += [(split, row if isinstance(row, (int, np.integer)) else None, why)
                         for row, (_, why) in getattr(source, "problems", {}).items()]
            starts = range(0, len(source), BLOCK)
            for block, bad in pool.map(lambda at: _block(source, number, np.arange(at, min(at + BLOCK, len(source)))), starts):
                blocks.append(block)
                skipped[split] += len(bad)
                problems += [(split, row, why) for row, why in bad]
                done += BLOCK
                if time.perf_counter() - told > 10:
                    told = time.perf_counter()
                    say(f"read {done:,} of {total:,} rows")
    return _joined(tuple(opened), blocks, skipped, problems, time.perf_counter() - began)


def _block(source: Any, split: int, places: np.ndarray) -> tuple[dict, list]:
    """({name: array or list, a row each}, [(row of the file, why)] of the bad rows)."""
    examples = read_rows(source, places)
    rows = rows_of(source, places)
    bad = [(int(row), str(one)) for row, one in zip(rows, examples) if isinstance(one, BadRow)]
    kept = [i for i, one in enumerate(examples) if not isinstance(one, BadRow)]
    read = [_facts(examples[i]) for i in kept]
    ids = identify(source, places[kept]) if kept and hasattr(source, "identify") else {}
    nothing = [None] * len(kept)
    cases = ids.get("case", nothing)
    for facts, names, case in zip(read, ids.get("images", nothing), cases):
        parts = [hashes.name_parts(str(name)) for name in names or ()]
        facts |= {"digest/file": [hashes.digest(str(name)) for name in names], "digest/name": [stem for stem, *_ in parts],
                  "digest/id": [stem for stem, _, could_be in parts if could_be]} if parts else {}
        facts["parts"] = [part for _, part, _ in parts]
        facts |= {} if case is None else {"digest/case": [hashes.digest(str(case))]}
    found = [(i, *one) for i, facts in enumerate(read) for one in facts.pop("pictures", ())]
    pictures = [np.array([one[k] for one in found], dtype) for k, dtype in enumerate((np.int64, np.uint64, np.uint64, np.uint8, bool))]
    block = {"split": np.full(len(kept), split, np.int16), "place": places[kept], "row": np.asarray(rows)[kept], "facts": read,
             "pictures": pictures, "of": ids.get("source", []), "cases": {str(case) for case in cases if case is not None}}
    return block, bad


def _facts(example: dict) -> dict[str, Any]:
    """What one example holds."""
    out: dict[str, Any] = {}
    for key, value in example.items():
        if key in ("index", "present", "valid", "row"):
            continue
        if key in ("group", "case"):
            out[f"id/{key}"] = int(value)
        elif key.startswith("label/"):
            out[key] = np.asarray(value)
        elif key == "text" or isinstance(value, str):
            texts = [value] if isinstance(value, str) else [str(one) for one in value]
            plain = [hashes.normalized(one) for one in texts]
            out[f"digest/{key}"], out[f"digest/{key}~"] = [list(map(hashes.digest, found)) for found in (texts, plain)]
            words = sum(len(one.split()) for one in plain)
            out[f"range/{key}"] = (words, words, words)
            out[f"form/{key}"] = "text" if isinstance(value, str) else f"text[{len(value)}]"
        else:
            several = [np.asarray(one) for one in value] if isinstance(value, list) else []  # samples of different sizes
            value = np.asarray(several[0] if several else value)
            samples = several or (list(value) if value.ndim > LONE.get(key, value.ndim) else [value])
            here = np.broadcast_to(np.asarray(example.get("present", {}).get(key, True)), len(samples))
            samples = [one for one, mark in zip(samples, here) if mark]  # an absent one is zeros
            out[f"digest/{key}"] = list(map(hashes.digest, samples))
            form = f"{value.dtype}[{', '.join(map(str, value.shape))}]"
            out[f"form/{key}"] = f"{len(several)} of {form} or alike" if several else form
            if value.size and value.dtype.kind in "fiub":
                every = np.concatenate([one.ravel() for one in several]) if several else value
                finite = every if every.dtype.kind != "f" else every[np.isfinite(every)]
                if finite.size < every.size:
                    out[f"odd/{key}"] = True
                if finite.size:
                    out[f"range/{key}"] = (float(finite.min()), float(finite.max()), float(finite.mean(dtype=np.float64)))
            if key == "image" and value.ndim in (3, 4) and value.size:
                thumbs = list(map(hashes.thumbnail, samples))
                out["pictures"] = [(mark, hashes.perceptual(thumb), thumb, not hashes.is_flat(thumb))
                                   for mark, thumb in zip(out["digest/image"], thumbs)]
    flags = presence({"present": example["present"]}) if "present" in example else {}
    out["has"] = {key[5:] for key in out if key.startswith("form/") and np.any(flags.get(key[5:], True))}
    return out


def _joined(splits: tuple[str, ...], blocks: list[dict], skipped: dict, problems: list, seconds: float) -> Scan:
    facts = [one for block in blocks for one in block["facts"]]
    n = len(facts)
    keys = sorted({key for one in facts for key in one})
    fields = [key[5:] for key in keys if key.startswith("form/")]

    def marks(key: str) -> Marks:
        found = [(i, value) for i, one in enumerate(facts) for value in one.get(key, ())]
        return Marks(np.array([i for i, _ in found], np.int64), np.array([value for _, value in found], np.uint64))

    def together(key: str, dtype: Any) -> np.ndarray:
        return np.concatenate([block[key] for block in blocks]).astype(dtype) if blocks else np.zeros(0, dtype)

    starts = np.cumsum([0] + [len(block["facts"]) for block in blocks])
    full = [(start, block["pictures"]) for start, block in zip(starts, blocks) if len(block["pictures"][0])]
    empty = [np.zeros(0, np.int64), np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros((0, hashes.SIDE, hashes.SIDE), np.uint8),
             np.zeros(0, bool)]
    pictures = Pictures(*(np.concatenate([parts[k] + start if k == 0 else parts[k] for start, parts in full] or [empty[k]])
                          for k in (0, 1, 2, 3, 4)))
    ranges = {}
    for field in fields:
        if found := [one[f"range/{field}"] for one in facts if f"range/{field}" in one]:
            low, high, mean = np.array(found).T
            ranges[field] = (float(low.min()), float(high.max()), float(mean.mean()))
    return Scan(
        splits, together("split", np.int16), together("place", np.int64), together("row", np.int64),
        {field: np.fromiter((field in one["has"] for one in facts), bool, n) for field in fields},
        {key[7:]: marks(key) for key in keys if key.startswith("digest/")}, pictures, [part for one in facts for part in one["parts"]],
        {key[3:]: np.fromiter((one.get(key, -1) for one in facts), np.int64, n) for key in keys if key.startswith("id/")},
        hashes.counted(set().union(*(block["cases"] for block in blocks))),
        {key[6:]: _labels(key, facts) for key in keys if key.startswith("label/")},
        {field: Counter(one[f"form/{field}"] for one in facts if f"form/{field}" in one) for field in fields}, ranges,
        {field: [i for i, one in enumerate(facts) if f"odd/{field}" in one] for field in fields}, skipped, problems, seconds,
        [name for block in blocks for name in block["of"]])


def _labels(key: str, facts: list[dict]) -> np.ndarray:
    """One label of every row, -1 or NaN where it is absent."""
    like = next(one[key] for one in facts if key in one)
    missing = np.full(like.shape, np.nan if like.dtype.kind == "f" else -1, like.dtype if like.dtype.kind not in "ub" else np.int64)
    return np.stack([one.get(key, missing) for one in facts])
