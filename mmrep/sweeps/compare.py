"""What a table of results says: means over seeds, comparisons with the baseline, and what stands in the way of believing them."""

import math
import statistics
from collections import Counter
from typing import Any

from mmrep.core.names import nearest
from mmrep.metrics import seeds
from mmrep.sweeps import plan
from mmrep.sweeps.results import Rows, where

Z = 1.959964
STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
CLAIM = 10  # paired seeds that a claim needs


def by_tag(rows: Rows, metric: str, control: str = "") -> dict[str, dict[int, dict]]:
    """{tag: {seed: row}} of a metric."""
    found: dict[str, dict[int, dict]] = {}
    for row in where(rows, metric=metric, control=control):
        found.setdefault(row["tag"], {})[row["seed"]] = row
    return found


def summarize(rows: Rows, metrics: list[str], axes: list[str]) -> list[dict[str, Any]]:
    """A dict a tag and metric: mean, low, high (Student's t over seeds), n, values, and apart from each other sd_seed, the deviation
    between seeds, and sd_test, the standard error that one run has by its sample of test cases. NaN values are left out and counted."""
    found = []
    for metric in metrics:
        for tag, of in by_tag(rows, metric).items():
            kept = [r for _, r in sorted(of.items()) if math.isfinite(r["value"])]
            mean, low, high = seeds.t_interval([r["value"] for r in kept])
            errors = [(r["high"] - r["low"]) / (2 * Z) for r in kept if math.isfinite(r["high"] - r["low"]) and r["n"] > 1]
            found.append({"tag": tag, "axes": {a: next(iter(of.values()))[a] for a in axes}, "metric": metric, "mean": mean, "low": low,
                          "high": high, "n": len(kept), "values": [r["value"] for r in kept], "nan": len(of) - len(kept),
                          "sd_seed": statistics.stdev(r["value"] for r in kept) if len(kept) > 1 else math.nan,
                          "sd_test": statistics.fmean(errors) if errors else math.nan})
    return found


def compare(rows: Rows, baseline: dict[str, Any], family: list[str], planned: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every setting against the one that has the baseline's values and else the same, for every metric of the family, paired by seed.

    planned: a dict a run of the plan, with tag, seed and axes: what was declared is the family of Holm's correction, also where a metric or
    a run is missing. A dict each: metric, tag, baseline (its tag), difference, low, high (t over pairs), effect (Hedges' g), p (of sign
    flips), p_holm (over all of these comparisons), p_smallest, stars, n, lost (pairs planned but not there, or NaN), detectable (the
    difference, at 80 % power of a t test at 5 % over their number), note. No star where pairs are lost: the tame ones may be left.
    """
    settings = {r["tag"]: {k: plan.shown(v) for k, v in r["axes"].items()} for r in planned}
    base = {tag: next((other for other, its in settings.items() if its == own | {k: plan.shown(v) for k, v in baseline.items()}), None)
            for tag, own in settings.items()}
    seeds_of = {tag: {r["seed"] for r in planned if r["tag"] == tag} for tag in settings}
    pairs = [(metric, tag) for metric in family if baseline for tag in settings if base[tag] not in (None, tag)]
    found, values = [], {metric: by_tag(rows, metric) for metric in family}
    for metric, tag in pairs:
        of, against = values[metric], base[tag]
        both = sorted(of.get(tag, {}).keys() & of.get(against, {}).keys())
        d = [of[tag][s]["value"] - of[against][s]["value"] for s in both]
        d = [x for x in d if math.isfinite(x)]
        mean, low, high = seeds.t_interval(d)
        found.append({"metric": metric, "tag": tag, "baseline": against, "difference": mean, "low": low, "high": high,
                      "effect": seeds.hedges_g(d), "p": seeds.sign_flip(d), "p_smallest": seeds.smallest_p(len(d)), "n": len(d),
                      "lost": len(seeds_of[tag] & seeds_of[against]) - len(d),
                      "detectable": seeds.detectable(d, level=1 - 0.05 / len(pairs))})
    for one, p in zip(found, seeds.holm([one["p"] for one in found])):
        one |= {"p_holm": p, "stars": "", "note": _note(one, len(found))}
        if one["p_smallest"] * len(found) <= 0.05 and not one["lost"]:
            one["stars"] = next((s for level, s in STARS if p <= level), "")
        if one["n"] > 1 and one["detectable"] > abs(one["difference"]) and not one["stars"]:
            one["note"] = "; ".join(filter(None, [one["note"], "pipeline check, no comparison: only differences above "
                                                               f"{one['detectable']:.3g} would be found"]))
    return found


def _note(one: dict[str, Any], n: int) -> str:
    """What a reader of one of n comparisons must know of its design."""
    lost = f"{one['lost']} of {one['n'] + one['lost']} pairs are missing or NaN, so no star can be" if one["lost"] else ""
    if not one["n"]:
        return lost or "no seed in common"
    best = one["p_smallest"] * n
    few = f"{one['n']} seed{'s' * (one['n'] != 1)}: the smallest possible p is {one['p_smallest']:.3g}" + (
        f", {min(best, 1):.3g} after correction for {n}" if n > 1 else "") + ", so no star can be"
    claim = f"{one['n']} seeds: a claim needs {CLAIM}" if one["n"] < CLAIM else ""
    return "; ".join(filter(None, [lost, few if best > 0.05 else claim]))


def metrics_of(rows: Rows, wanted: list[str]) -> list[str]:
    """The metrics to show: the wanted ones; without any the first few that say most. Raises ValueError for one that no run has."""
    known = list(dict.fromkeys(r["metric"] for r in where(rows)))
    for metric in wanted:
        if known and metric not in known:
            raise ValueError(f"metric {metric!r}: no run has it; {nearest(metric, known)}")
    if wanted:
        return list(wanted)
    usual = [m for m in known if not m.endswith(("/chance", "/null")) and "/ceiling" not in m and "/chance" not in m]
    leading = [m for m in usual if m.endswith(("/auroc", "/top1", "/R@1/instance", "/accuracy")) or m.startswith("alignment/")]
    return (leading or usual)[:6]


def problems(rows: Rows, runs: Rows, metrics: list[str]) -> list[str]:
    """Sentences on what a reader must know first: runs that failed or are not done, metrics that some runs lack, NaN, several commits."""
    lines = []
    if not runs:
        return ["this sweep has 0 runs: there is nothing to report"]
    done = [r for r in runs if r["state"] == "finished"]
    if not done:
        lines.append(f"0 of {len(runs)} runs are finished: there are no results yet")
    for run in runs:
        if run["state"] == "failed":
            times = f" {run['tries']} times" if run["tries"] > 1 else ""
            lines.append(f"{run['run']} failed{times}: {run['error']}")
        elif run["state"] == "stopped":
            lines.append(f"{run['run']} is half-done (step {run['step']}): its numbers are not in the table")
    waiting = sum(r["state"] == "waiting" for r in runs)
    if waiting:
        lines.append(f"{waiting} of {len(runs)} runs did not begin")
    for metric in metrics:
        have = {r["run"] for r in where(rows, metric=metric)}
        lack = [r for r in done if r["run"] not in have]
        if done and not have:
            known = dict.fromkeys(r["metric"] for r in where(rows))
            lines.append(f"{metric} is in none of the {len(done)} finished runs; {nearest(metric, known)}")
        if lack and have:
            why = next((r["left_out"][metric] for r in lack if metric in r["left_out"]), "")
            lines.append(f"{metric} is missing from {len(lack)} of {len(done)} finished runs, e.g. {lack[0]['run']}"
                         + (f" ({why})" if why else ""))
        bad = [r["run"] for r in where(rows, metric=metric) if not math.isfinite(r["value"])]
        if bad:
            number = f"{len(bad)} run{'s' * (len(bad) != 1)}"
            lines.append(f"{metric} is NaN or infinite in {number}, e.g. {bad[0]}: left out of its means")
    for column, what in (("commit", "commits"), ("device", "kinds of device")):
        kinds = Counter(r[column] for r in rows)
        if len(kinds) > 1:
            lines.append(f"the runs come from {len(kinds)} {what}: " + ", ".join(sorted(map(str, kinds))[:4]))
    return lines
