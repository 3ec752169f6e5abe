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


class Scan(NamedTuple):
    """What was read; n rows of all splits one after the other, without those that could not be read.

    splits names; split i16[n], number in `splits`; place i64[n], row in the split's source; row i64[n], row of the file, from 0;
    has {field: bool[n]}; digest {field: u64[n]} of its content, "text~" of the normalized text, "name" of its picture's file name (0
    where absent); hash u64[n], thumb u8[n, 32, 32] and comparable bool[n] of pictures (empty without any); ids {"case", "group": i64[n]},
    negative for none; parts: for each row the digests of the parts of its picture's name; labels {label: array[n, ...]};
    forms {field: Counter of "dtype[shape]"}; ranges {field: (min, max, mean)}, of texts in words; odd {field: [i]}, rows with NaN or
    infinity; skipped {split: rows that could not be read or were left out}, problems [(split, row of the file or None, why)]; seconds;
    of: a mixture's component of every row, else empty.
    """

    splits: tuple[str, ...]
    split: np.ndarray
    place: np.ndarray
    row: np.ndarray
    has: dict[str, np.ndarray]
    digest: dict[str, np.ndarray]
    hash: np.ndarray
    thumb: np.ndarray
    comparable: np.ndarray
    ids: dict[str, np.ndarray]
    parts: list[list[int]]
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
    for facts, name in zip(read, ids.get("image", [None] * len(kept))):
        facts["parts"] = []
        if name is not None:
            facts["digest/name"], facts["parts"] = hashes.name_parts(str(name))
    block = {"split": np.full(len(kept), split, np.int16), "place": places[kept], "row": np.asarray(rows)[kept], "facts": read,
             "of": ids.get("source", [])}
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
            out[f"digest/{key}"] = hashes.digest(value)
            plain = hashes.normalized(value)
            out[f"digest/{key}~"] = hashes.digest(plain)
            words = len(plain.split())
            out[f"range/{key}"] = (words, words, words)
            out[f"form/{key}"] = "text" if isinstance(value, str) else f"text[{len(value)}]"
        else:
            several = [np.asarray(one) for one in value] if isinstance(value, list) else []  # samples of different sizes
            value = np.asarray(several[0] if several else value)
            out[f"digest/{key}"] = hashes.digest(np.array([hashes.digest(one) for one in several], np.uint64) if several else value)
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
                thumb = hashes.thumbnail(value)
                out["thumb"], out["hash"], out["comparable"] = thumb, hashes.perceptual(thumb), not hashes.is_flat(thumb)
    flags = presence({"present": example["present"]}) if "present" in example else {}
    out["has"] = {key[5:] for key in out if key.startswith("form/") and np.any(flags.get(key[5:], True))}
    return out


def _joined(splits: tuple[str, ...], blocks: list[dict], skipped: dict, problems: list, seconds: float) -> Scan:
    facts = [one for block in blocks for one in block["facts"]]
    n = len(facts)
    keys = sorted({key for one in facts for key in one})
    fields = [key[5:] for key in keys if key.startswith("form/")]

    def column(key: str, dtype: Any, missing: Any) -> np.ndarray:
        return np.fromiter((one.get(key, missing) for one in facts), dtype, n)

    def together(key: str, dtype: Any) -> np.ndarray:
        return np.concatenate([block[key] for block in blocks]).astype(dtype) if blocks else np.zeros(0, dtype)

    pictures = any("thumb" in one for one in facts)
    thumb = np.zeros((n if pictures else 0, hashes.SIDE, hashes.SIDE), np.uint8)
    for i, one in enumerate(facts):
        if "thumb" in one:
            thumb[i] = one["thumb"]
    ranges = {}
    for field in fields:
        if found := [one[f"range/{field}"] for one in facts if f"range/{field}" in one]:
            low, high, mean = np.array(found).T
            ranges[field] = (float(low.min()), float(high.max()), float(mean.mean()))
    return Scan(
        splits, together("split", np.int16), together("place", np.int64), together("row", np.int64),
        {field: np.fromiter((field in one["has"] for one in facts), bool, n) for field in fields},
        {key[7:]: column(key, np.uint64, 0) for key in keys if key.startswith("digest/")},
        column("hash", np.uint64, 0) if pictures else np.zeros(0, np.uint64), thumb,
        column("comparable", bool, False) if pictures else np.zeros(0, bool),
        {key[3:]: column(key, np.int64, -1) for key in keys if key.startswith("id/")},
        [one["parts"] for one in facts], {key[6:]: _labels(key, facts) for key in keys if key.startswith("label/")},
        {field: Counter(one[f"form/{field}"] for one in facts if f"form/{field}" in one) for field in fields}, ranges,
        {field: [i for i, one in enumerate(facts) if f"odd/{field}" in one] for field in fields}, skipped, problems, seconds,
        [name for block in blocks for name in block["of"]])


def _labels(key: str, facts: list[dict]) -> np.ndarray:
    """One label of every row, -1 or NaN where it is absent."""
    like = next(one[key] for one in facts if key in one)
    missing = np.full(like.shape, np.nan if like.dtype.kind == "f" else -1, like.dtype if like.dtype.kind != "u" else np.int64)
    return np.stack([one.get(key, missing) for one in facts])
