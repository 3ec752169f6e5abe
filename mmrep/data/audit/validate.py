"""What is wrong with a source, read whole: bad rows, missing modalities, duplicates, leakage between splits, classes."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from mmrep.data.audit import duplicates
from mmrep.data.audit.scan import Marks, Scan
from mmrep.data.survey import like_ids, reason

EXAMPLES = 5
# what may not be shared between splits without telling more than a test should know; other kinds are worth a look
GRAVE = ("case", "image_name", "image", "image_near", "volume", "signal", "features")


def validate(scanned: Scan, opened: Mapping[str, Any], lost: Mapping[str, str] | None = None, bits: int = duplicates.BITS
             ) -> dict[str, Any]:
    """The report on a scan of `opened` (split -> source), plain values throughout:

    rows, skipped      int: rows that were read; that could not be, or were left out as bad
    problems           [{"split", "row", "why"}] of those
    splits             {split: {"rows", "skipped", "cases"}}; unopened: {split: why}
    fields             {field: {"forms": {"u8[64, 64, 1]": rows}, "min", "max", "mean", "not_finite": [row, ...]}}; of texts in words
    missing            {field: {split: rows without it}}
    duplicates         {kind: {"values": shared by several rows, "rows": that share one}}
    leakage            {kind: {"train/test": {"values": in both, "rows": [of train, of test], "examples": [[row, row], ...]}}}, where any
    labels             {label: {"kind", "counts": {split: {class: rows}} or "range": {split: [min, mean, max]}, "unknown": {split: rows}}};
                       of findings "counts" are the rows that have one, "absent" those that have it not, "open" those where it is uncertain
                       or not told, each {split: {finding: rows}}, and "unknown" the rows of which nothing is known
    cases, without_case (rows), seconds, rows_per_second, verdicts [{"mark": "ok" | "LOOK" | "FAIL", "what", "text"}]

    A row is a number in its file or table, from 0 (of a mixture "COMPONENT:number"); no id, text or name of a picture is in the report,
    but the names of files that cannot be read.
    kinds: case, group, image_name (one file on several rows), image_stem (files of one name, which could be an id, in several folders); of
    any of a row's samples image, volume, signal, text ... (equal content); image_near
    (`duplicates.clusters`); text_near (equal but for case, punctuation and white space).
    """
    kinds = shared_values(scanned, bits)
    names = {label: classes for source in opened.values() for label, classes in getattr(source, "label_names", {}).items()}
    here = [scanned.split == k for k in range(len(scanned.splits))]
    cases = scanned.ids.get("case")
    if cases is None and any(getattr(source, "cases", None) is not None for source in opened.values()):
        cases = np.full(len(scanned), -1, np.int64)  # named, though no row could be read
    if cases is not None and "case" in scanned.digest and not scanned.of:  # a row without an id has a number of its own, and is no patient
        cases = np.where(np.isin(np.arange(len(scanned)), scanned.digest["case"].rows), cases, -1)
    report = {
        "rows": len(scanned), "skipped": sum(scanned.skipped.values()),
        "problems": [{"split": s, "row": None if row is None else int(row), "why": why} for s, row, why in scanned.problems],
        "splits": {s: {"rows": int(here[k].sum()), "skipped": scanned.skipped[s]} | (
            {} if cases is None else {"cases": len(np.unique(cases[here[k] & (cases >= 0)]))}) for k, s in enumerate(scanned.splits)},
        "unopened": dict(lost or {}), "cases": None if cases is None else len(np.unique(cases[cases >= 0])),
        "without_case": 0 if cases is None else int((cases < 0).sum()),
        "fields": {field: {"forms": dict(forms.most_common()), **dict(zip(("min", "max", "mean"), scanned.ranges.get(field, ()))),
                           "not_finite": [scanned.named(i) for i in scanned.odd[field]]} for field, forms in scanned.forms.items()},
        "missing": {field: {s: int((~mark[here[k]]).sum()) for k, s in enumerate(scanned.splits)} for field, mark in scanned.has.items()},
        "duplicates": {kind: dict(zip(("values", "rows"), duplicates.groups(*marks))) for kind, marks in kinds.items() if kind != "case"},
        "leakage": {kind: found for kind, marks in kinds.items() if (found := leakage(scanned, marks))},
        "labels": {label: _label(scanned, values, here, names.get(label)) for label, values in scanned.labels.items()
                   if label != "boxes"},
        "seconds": round(scanned.seconds, 3), "rows_per_second": round(len(scanned) / max(scanned.seconds, 1e-9), 1),
        "notes": [note for source in opened.values() for note in getattr(source, "notes", ())],
    }
    return report | {"verdicts": verdicts(report)}


def shared_values(scanned: Scan, bits: int = duplicates.BITS) -> dict[str, Marks]:
    """kind -> what rows share that hold the same: a value of each row, of several (a study's pictures), or of none."""
    kinds = {key: Marks(np.flatnonzero(ids >= 0), ids[ids >= 0]) for key, ids in scanned.ids.items()}
    renamed = {"file": "image_name", "id": "image_stem", "text~": "text_near"}
    for key, marks in sorted(scanned.digest.items()):
        if key not in ("case", "name", "tabular", "category") and not key.startswith("mask/"):  # two patients may have one row of numbers
            kinds[renamed.get(key, key)] = marks
    if len(scanned.pictures.rows):
        _, *known = scanned.pictures
        kinds["image_near"] = Marks(scanned.pictures.rows, duplicates.clusters(*known, bits))
    return kinds


def leakage(scanned: Scan, marks: Marks) -> dict[str, dict]:
    """{"train/test": {"values", "rows", "examples"}} of the pairs of splits that share any of the values; "none" is no split."""
    found, of = {}, scanned.split[marks.rows]
    parts = {s: Marks(marks.rows[of == k], marks.values[of == k]) for k, s in enumerate(scanned.splits) if s != "none"}
    for a, b in combinations(parts, 2):
        both = np.intersect1d(parts[a].values, parts[b].values)
        if len(both):
            held = [np.isin(parts[s].values, both) for s in (a, b)]
            rows, values = [parts[s].rows[mark] for s, mark in zip((a, b), held)], [parts[s].values[mark] for s, mark in zip((a, b), held)]
            first = [dict(zip(v[::-1].tolist(), r[::-1].tolist())) for v, r in zip(values, rows)]
            found[f"{a}/{b}"] = {"values": len(both), "rows": [len(np.unique(r)) for r in rows],
                                 "examples": [[scanned.named(f[v]) for f in first] for v in both[:EXAMPLES].tolist()]}
    return found


def _label(scanned: Scan, values: np.ndarray, here: list[np.ndarray], names: list | None) -> dict[str, Any]:
    """Classes of a label, or findings, or the range of a number, in every split."""
    splits = dict(zip(scanned.splits, here))
    if values.ndim > 1:
        values = values.reshape(len(values), -1)
        named = names if names and len(names) == values.shape[1] else list(range(values.shape[1]))
        known = np.isfinite(values) & (values >= 0)
        return {"kind": "findings",
                "counts": {s: {str(n): int((values[m, j] > 0).sum()) for j, n in enumerate(named)} for s, m in splits.items()},
                "absent": {s: {str(n): int((values[m, j] == 0).sum()) for j, n in enumerate(named)} for s, m in splits.items()},
                "open": {s: {str(n): int((~known[m, j]).sum()) for j, n in enumerate(named)} for s, m in splits.items()},
                "unknown": {s: int((~known[m]).all(1).sum()) for s, m in splits.items()}}
    if values.dtype.kind == "f":
        known = np.isfinite(values)
        return {"kind": "number", "range": {s: [float(f(values[m & known])) for f in (np.min, np.mean, np.max)] for s, m in splits.items()
                                            if (m & known).any()},
                "unknown": {s: int((m & ~known).sum()) for s, m in splits.items()}}
    told = class_names(names or (), Counter(values[values >= 0].tolist()))
    classes = list(told)
    return {"kind": "classes", "counts": {s: {told[c]: int((values[m] == c).sum()) for c in classes} for s, m in splits.items()},
            "unknown": {s: int((values[m] < 0).sum()) for s, m in splits.items()}}


def class_names(names: Sequence[Any], counts: Mapping[int, int]) -> dict[int, str]:
    """What the classes that rows have are called, by number. Not told: what could be persons, not classes, because hardly two rows share
    one, or because a single row has it and it is more than a word."""
    ids = like_ids(np.fromiter(counts.values(), np.int64))
    hidden = {c for c, n in counts.items() if c < len(names) and (ids or n == 1 and re.search(r"[\s^,]", str(names[c])))}
    return {c: f"(class {c})" if c in hidden else str(names[c]) if c < len(names) else str(c) for c in sorted(counts)}


def verdicts(report: dict[str, Any]) -> list[dict[str, str]]:
    """What the numbers mean, one line each: FAIL for what makes a test's numbers wrong, LOOK for what a user may not expect."""
    lines = []

    def line(mark: str, what: str, text: str) -> None:
        lines.append({"mark": mark, "what": what, "text": text})

    n = report["skipped"]
    line("FAIL" if n else "ok", "readable", f"{n:,} of {n + report['rows']:,} rows are bad: {_reasons(report['problems'])}" if n and
         report["problems"] else f"{n:,} rows are bad" if n else f"all {report['rows']:,} rows can be read")
    for split, why in report["unopened"].items():
        line("LOOK", f"split {split}", why)
    for note in report["notes"]:
        if " are in none of train, val and test" in note:
            line("LOOK", "split", note.partition(": ")[2] or note)
    for field, found in report["fields"].items():
        if found["not_finite"]:
            line("FAIL", field, f"{len(found['not_finite']):,} rows hold NaN or infinity, e.g. row {found['not_finite'][0]}")
        if len(kinds := {form.partition("[")[0].rpartition(" ")[2] for form in found["forms"]}) > 1 and "text" not in kinds:
            line("LOOK", field, f"rows are of several dtypes: {', '.join(sorted(kinds))}")
        shapes = {form.partition("[")[2] for form in found["forms"]}
        if len(shapes) > 1 and field.startswith(("volume", "signal")):
            line("LOOK", field, f"rows are of {len(shapes):,} shapes, and those of a batch must be of one: crop or pad them in "
                 f"`prepare`, or set what they are read at; the most frequent is {next(iter(found['forms']))}")
        if found.get("min") is not None and found["min"] == found["max"] and field not in ("text", "category") and report["rows"] > 1:
            line("LOOK", field, f"holds {found['min']:g} alone")
    for field, counts in report["missing"].items():
        if any(counts.values()):
            line("LOOK", field, "missing in " + ", ".join(f"{n:,} rows of {s}" for s, n in counts.items() if n))
    for kind, pairs in report["leakage"].items():
        for pair, found in pairs.items():
            if _said(kind, {k: p.get(pair) for k, p in report["leakage"].items()}):
                continue
            a, b = pair.split("/")
            rows, example = found["rows"], found["examples"][0]
            line("FAIL" if kind in GRAVE else "LOOK", f"leakage {pair}", f"{found['values']:,} {WHAT.get(kind, f'equal {kind}')} in both "
                 f"({rows[0]:,} rows of {a}, {rows[1]:,} of {b}), e.g. rows {example[0]} and {example[1]}")
    if len(report["splits"]) > 1 and not report["leakage"] and report["rows"]:
        line("ok", "leakage", "the splits share nothing that was compared")
    if report["cases"] is None:
        line("LOOK", "case", "no column of patients or cases is named: whether splits share any cannot be said")
    if report["without_case"]:
        line("LOOK", "case", f"{report['without_case']:,} rows name no patient or case: each counts as one of its own in intervals")
    for kind, found in report["duplicates"].items():
        if found["rows"] and kind != "group" and not _said(kind, report["duplicates"]):
            line("LOOK", "duplicates", f"{found['values']:,} {WHAT.get(kind, f'equal {kind}')} on {found['rows']:,} rows")
    for label, found in report["labels"].items():
        if any(found["unknown"].values()):
            line("LOOK", f"label {label}", "unknown on " + ", ".join(f"{n:,} rows of {s}" for s, n in found["unknown"].items() if n))
        for split, counts in found.get("counts", {}).items():
            if split in ("train", "all") and (rare := [c for c, n in counts.items() if n < 10]):
                told = ", ".join(rare[:5]) + (" ..." if len(rare) > 5 else "")
                line("LOOK", f"label {label}", f"fewer than 10 rows of {split} have {told}")
    return sorted(lines, key=lambda one: ("FAIL", "LOOK", "ok").index(one["mark"]))


def _reasons(problems: list[dict[str, Any]], most: int = 4) -> str:
    """Why rows are bad, an example of each reason, the most frequent first. A reason is a message without names and numbers."""
    kinds: dict[str, list[str]] = {}
    for problem in problems:
        kinds.setdefault(re.sub(r"'[^']*'|[^\s:]*/[^\s:]*|\d[\d.,x]*", "", reason(problem["why"])), []).append(problem["why"])
    told = sorted(kinds.values(), key=len, reverse=True)
    if len(told) == 1:
        return f"e.g. {told[0][0]}"
    more = [f"{len(told) - most} more reasons"] * (len(told) > most)
    return "; ".join([*(f"{len(of):,} such as ({reason(of[0])})" for of in told[:most]), *more])


def _said(kind: str, found: dict[str, Any]) -> bool:
    """Whether a kind only repeats, in numbers, the stricter one that it includes."""
    strict = {"image_near": "image", "text_near": "text", "image_stem": "image_name"}.get(kind)
    counts = [None if found.get(k) is None else (found[k]["values"], found[k]["rows"]) for k in (kind, strict)]
    return strict is not None and counts[0] == counts[1]


WHAT = {"case": "cases", "group": "groups", "image_name": "picture files", "image_stem": "names of picture files, in several folders,",
        "image": "pictures of equal pixels",
        "image_near": "near-identical pictures", "text": "equal texts", "text_near": "texts equal but for case and punctuation",
        "volume": "equal volumes", "signal": "equal signals", "features": "equal feature vectors"}


