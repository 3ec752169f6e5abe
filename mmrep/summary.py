"""The results of a run as text for a terminal: the headline numbers, what they are compared with, and verdicts."""

import re

GROUPS = (("classification", ("zeroshot/", "supervised/", "probe/", "knn/")), ("retrieval", ("retrieval/",)),
          ("alignment of the modalities", ("alignment",)), ("other", ("",)))
# in results.json only: what stands beside another number, and second readings of the same thing
ASIDE = re.compile(r"retrieval/(chance|ceiling)|alignment[^/]*/(uniformity|effective|cka_linear)|.*/(null|chance|n_labels|strength|width|"
                   r"MRR/group|MRR/instance|median_rank/group|balanced_accuracy)$")
CELL = 11


def summary(results: dict) -> str:
    """Every headline number with its 95 % interval, chance and ceiling where there are
    such, the controls; the probes' paired differences in words; what is missing and why."""
    metrics, controls = results["metrics"], results["controls"]
    beside = [c for c in ("untrained", "raw_pca") if controls.get(c)]
    shown = [name for name in metrics if not ASIDE.match(_root(name)[1])]
    bounds = {name: (chance(name, metrics), ceiling(name, metrics)) for name in shown}
    columns = [title for title, at in (("chance", 0), ("ceiling", 1)) if any(b[at] is not None for b in bounds.values())]
    width = max([44, *map(len, shown)]) + 3
    head = f"{_rows(results):{width}}{'trained':>7} [95 % interval]"
    lines = [head.ljust(width + 23) + "".join(f"{c:>{CELL}}" for c in (*columns, *beside))]
    left = list(shown)
    for title, starts in GROUPS:
        mine = [name for name in left if _root(name)[1].startswith(starts)]
        left = [name for name in left if name not in mine]
        lines += [f"{title}:"] * bool(mine)
        for name in sorted(mine, key=_order):
            m, cells = metrics[name], [bounds[name][("chance", "ceiling").index(c)] for c in columns]
            cells += [controls[c].get(name, {}).get("value") for c in beside]
            lines.append(f"  {name:{width - 2}}{m['value']:7.3f} [{m['low']:.3f}, {m['high']:.3f}]".ljust(width + 23)
                         + "".join(f"{'':{CELL}}" if v is None else f"{v:{CELL}.3f}" for v in cells))
    return "\n".join(lines + _verdicts(results.get("paired", {}), results["left_out"], width) + _missing(results))


def _rows(results: dict) -> str:
    """What was read."""
    n = results.get("rows", 0)  # none where nothing was evaluated
    text = f"{results['split']}, {n:,} rows" if n else results["split"]
    return text + (f", step {results['step']}" if "step" in results else "")


def _order(name: str) -> tuple:
    """R@1, R@5, R@10 in this order."""
    return tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in name.replace("@", "/@/").replace("%", "/%").split("/"))


def _root(name: str) -> tuple[str, str]:
    """A metric's stream, where its name begins with one (else ""), and the rest of the name."""
    roots = tuple(start for _, starts in GROUPS[:-1] for start in starts)
    stream, _, rest = name.partition("/")
    return (f"{stream}/", rest) if not name.startswith(roots) and rest.startswith(roots) else ("", name)


def chance(name: str, metrics: dict) -> float | None:
    """What a reading that knows nothing gives: of retrieval, of an AUROC, an accuracy, the mean of a permuted null."""
    if _root(name)[1].startswith("retrieval/"):
        return _of_pair("chance", name, metrics)
    beside = metrics.get(f"{name}/chance") or metrics.get(f"{name}/null") or {}
    return 0.5 if name.endswith("/auroc") else beside.get("value")


def ceiling(name: str, metrics: dict) -> float | None:
    """The best that duplicates allow."""
    return _of_pair("ceiling", name, metrics) if _root(name)[1].startswith("retrieval/") else None


def _of_pair(kind: str, name: str, metrics: dict) -> float | None:
    """retrieval/KIND/R@1/instance, or retrieval/KIND:a-b/... of another pair than image and text."""
    stream, name = _root(name)
    _, way, *rest = name.split("/")
    a, _, b = way.partition("_to_")
    for label in (f"{kind}:{a}-{b}", f"{kind}:{b}-{a}", *([kind] if {a, b} == {"image", "text"} else [])):
        found = metrics.get(stream + "/".join(("retrieval", label, *rest)))
        if found:
            return found["value"]
    return None


def _verdicts(paired: dict[str, dict[str, dict]], left_out: dict[str, str], width: int) -> list[str]:
    """Probes against their controls in words: a difference is shown where its interval excludes 0."""
    lines = []
    names = {"untrained": "untrained encoders", "raw_pca": "raw inputs (PCA)"}
    for name in sorted({name for found in paired.values() for name in found}):
        for control in sorted(c for c in paired if name in paired[c]):
            d = paired[control][name]
            word = "above" if d["low"] > 0 else "below" if d["high"] < 0 else "not told apart from"
            lines.append(f"  {name:{width - 2}}{d['value']:+7.3f} [{d['low']:+.3f}, {d['high']:+.3f}]  {word} "
                         f"{names.get(control, control)}")
    for name, why in sorted(left_out.items()):
        if name.startswith("paired/"):
            _, control, metric = name.split("/", 2)
            lines.append(f"  {metric:{width - 2}}  none: {why} ({names.get(control, control)})")
    return ["probes less their controls, on the same resampled cases:", *lines] if lines else []


def _missing(results: dict) -> list[str]:
    """What has no number: one line a reason, however many numbers it costs."""
    why: dict[str, list[str]] = {}
    for name, reason in results["left_out"].items():
        if not name.startswith(("controls/", "paired/")):
            why.setdefault(reason, []).append(name)
    lines = [f"left out: {_short(names)}: {reason}" for reason, names in why.items()]
    lines += [f"{n} row{'s' * (n != 1)} of {split} could not be read" for split, n in results["skipped"].items() if n]
    shared = results.get("overlap", {})
    if shared.get("excluded"):
        kinds = ", ".join(f"{kind} {n:,}" for kind, n in shared["kinds"].items() if n)
        lines.append(f"left out {shared['excluded']:,} of {shared['rows']:,} rows that were trained on (rows that share: {kinds})")
    return lines + [f"rows that were trained on may be among them: {why}" for why in [shared.get("unchecked")] if why]


def _short(names: list[str]) -> str:
    """A few names as they are, more by what they begin with."""
    if len(names) <= 3:
        return ", ".join(names)
    starts = [name.partition("/")[0] for name in names]
    return ", ".join(f"{start}/... ({starts.count(start)} numbers)" for start in dict.fromkeys(starts))
