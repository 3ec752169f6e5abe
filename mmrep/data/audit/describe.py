"""`mmrep data describe`: what a source holds, from a few rows of each split."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmrep.data.audit.scan import scan
from mmrep.data.audit.validate import class_names
from mmrep.data.sources import spread, subset


def describe(opened: Mapping[str, Any], lost: Mapping[str, str] | None = None, rows: int = 64) -> dict[str, Any]:
    """What `rows` rows of each split (spread evenly) and the source itself say, as plain values.

    {"splits": {split: {"rows", "skipped", "cases", "missing": {field: rows}}}, "fields": {field: {"forms", "min", "max", "mean"}} of the
    rows read, "labels": {label: {split: {class: rows}, {finding: [rows with it, without it, open]} or [min, max]}} where known without
    reading, "labels_of_read": the same of other labels, of the rows read, "unopened", "notes", "read"}.
    """
    few = scan({split: subset(source, spread(len(source), rows)) for split, source in opened.items() if len(source)})
    splits: dict[str, Any] = {}
    labels: dict[str, dict] = {}
    for split, source in opened.items():
        cases = getattr(source, "cases", None)
        splits[split] = {"rows": len(source), "skipped": int(getattr(source, "skipped", 0))}
        if cases is not None:
            splits[split]["cases"] = len(np.unique(cases[cases >= 0]))
        if hasattr(source, "has"):
            splits[split]["missing"] = {field: int((~mark).sum()) for field, mark in source.has.items()}
        names = getattr(source, "label_names", {})
        for label, values in getattr(source, "labels", {}).items():
            labels.setdefault(label, {})[split] = _values(values, names.get(label, ()))
    some: dict[str, dict] = {}
    for label in sorted(few.labels.keys() - labels.keys() - {"boxes"}):
        for k, split in enumerate(few.splits):
            names = getattr(opened[split], "label_names", {}).get(label, ())
            some.setdefault(label, {})[split] = _values(few.labels[label][few.split == k], names)
    fields = {field: {"forms": dict(forms.most_common()), **dict(zip(("min", "max", "mean"), few.ranges.get(field, ())))}
              for field, forms in few.forms.items()}
    return {"splits": splits, "fields": fields, "labels": labels, "labels_of_read": some, "unopened": dict(lost or {}),
            "read": len(few), "unreadable": [why for _, _, why in few.problems][:5],
            "notes": [n for s in opened.values() for n in getattr(s, "notes", ())]}


def _values(values: np.ndarray, names: Any) -> Any:
    if values.ndim > 1:
        told = [str(names[j] if len(names) == values.shape[1] else j) for j in range(values.shape[1])]
        return {name: [int((values[:, j] > 0).sum()), int((values[:, j] == 0).sum()), int((~(values[:, j] >= 0)).sum())]
                for j, name in enumerate(told)}
    if values.dtype.kind == "f":
        known = values[np.isfinite(values)]
        return [float(known.min()), float(known.max())] if len(known) else []
    counts = Counter(values.tolist())
    told = class_names(names, {v: n for v, n in counts.items() if v >= 0})
    return {told.get(v, "(unknown)"): n for v, n in sorted(counts.items())}


def as_text(found: Mapping[str, Any], source: str) -> str:
    """What `describe` found, for a terminal."""
    lines = [f"{source}: " + ", ".join(f"{split} {v['rows']:,} rows" for split, v in found["splits"].items())]
    for split, v in found["splits"].items():
        more = [f"{v['skipped']:,} bad rows left out"] if v["skipped"] else []
        more += [f"{v['cases']:,} cases"] if "cases" in v else []
        more += [f"{n:,} without {field}" for field, n in v.get("missing", {}).items() if n]
        lines += [f"  {split}: {', '.join(more)}"] * bool(more)
    for field, v in found["fields"].items():
        forms = list(v["forms"])
        span = f", {v['min']:.4g} to {v['max']:.4g}, mean {v['mean']:.4g}" if "min" in v else ""
        unit = " words" if forms and forms[0].startswith("text") else ""
        lines.append(f"  {field}: {', '.join(forms[:3])}{f', {len(forms) - 3} more forms' if len(forms) > 3 else ''}{span}{unit}")
    of_read = {f"{label} (of the rows read)": dict(list(of.items())[:1]) for label, of in found["labels_of_read"].items()}
    for label, splits in (found["labels"] | of_read).items():
        for split, values in splits.items():
            told = f"{values[0]:.4g} to {values[1]:.4g}" if isinstance(values, list) and values else ", ".join(
                f"{k} {' / '.join(f'{one:,}' for one in (n if isinstance(n, list) else [n]))}"
                for k, n in list(dict(values or {}).items())[:10]) + (" ..." if len(values) > 10 else "")
            findings = isinstance(values, dict) and any(isinstance(n, list) for n in values.values())
            lines.append(f"  label {label} of {split}{' (with / without / uncertain or not told)' if findings else ''}: {told}")
    lines += [f"  cannot be read: {why}" for why in found["unreadable"]]
    counted = any("missing" in v for v in found["splits"].values())  # which is said above
    lines += [f"  no {split}: {why}" for split, why in found["unopened"].items()] + [
        f"  {note}" for note in found["notes"] if not counted or " rows have no " not in note]
    if of_read and len(found["splits"]) > 1:
        lines.append("  labels of the rows read are those of the first split; --json has the others")
    return "\n".join([*lines, f"  {found['read']} rows were read; `mmrep data validate` reads all"])
