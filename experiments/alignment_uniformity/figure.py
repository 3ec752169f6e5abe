"""Encoders in the plane of alignment and uniformity, colored by what a linear probe reads from them."""

import re

from mmrep.metrics.geometry import uniformity_of_uniform
from mmrep.sweeps import style
from mmrep.sweeps.results import mean, rank_correlation

ALIGN, UNIFORM = "alignment:x1-x2/alignment", ("alignment:x1-x2/uniformity/x1", "alignment:x1-x2/uniformity/x2")
PROBE = re.compile("probe/.*:x1:embedding/accuracy")  # of every label that is probed


def runs(rows: list) -> list[dict]:
    """One dict a run: its setting, seed, alignment, uniformity (mean of both views) and accuracy (mean over the probes)."""
    by: dict = {}
    for row in rows:
        by.setdefault(row["run"], {k: row[k] for k in ("loss", "uniform", "t", "temperature", "seed", "tag")})[row["metric"]] = row["value"]
    return [{k: r[k] for k in ("loss", "uniform", "t", "temperature", "seed", "tag")} | {
        "align": r[ALIGN], "spread": mean(r[m] for m in UNIFORM), "accuracy": mean(v for m, v in r.items() if PROBE.fullmatch(m))}
        for r in by.values()]


def floor(rows: list) -> float:
    """Uniformity of the uniform law in the dimensions of the embeddings, a closed form."""
    (dim,) = {row["dim"] for row in rows}
    return uniformity_of_uniform(dim)


def settings(rows: list) -> list[dict]:
    """`runs`, averaged over seeds."""
    by: dict = {}
    for run in runs(rows):
        by.setdefault(run["tag"], []).append(run)
    return [each[0] | {k: mean(r[k] for r in each) for k in ("align", "spread", "accuracy")} for each in by.values()]


def measure(rows: list) -> dict[str, float]:
    found = settings(rows)
    accuracy = [r["accuracy"] for r in found]
    ends = {u: next(r for r in found if r["uniform"] == u) for u in (0.0, 1.0)}
    best = max(found, key=lambda r: r["accuracy"])
    return {
        "rank correlation of accuracy with less alignment + uniformity": rank_correlation(
            accuracy, [-r["align"] - r["spread"] for r in found]),
        "rank correlation of accuracy with less alignment alone": rank_correlation(accuracy, [-r["align"] for r in found]),
        "rank correlation of accuracy with less uniformity alone": rank_correlation(accuracy, [-r["spread"] for r in found]),
        "uniformity/alignment alone": ends[0.0]["spread"], "uniformity/uniformity alone": ends[1.0]["spread"],
        "alignment/alignment alone": ends[0.0]["align"], "alignment/uniformity alone": ends[1.0]["align"],
        "accuracy lost by alignment alone": best["accuracy"] - ends[0.0]["accuracy"],
        "accuracy lost by uniformity alone": best["accuracy"] - ends[1.0]["accuracy"],
        "accuracy lost by the best of both losses": best["accuracy"] - max(r["accuracy"] for r in found if r["loss"] == "align_uniform"),
        "least uniformity over its floor": min(r["spread"] for r in found) - floor(rows)}


def draw(rows: list):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(6.8, 2.7), width_ratios=(1.25, 1))
    found, marks = runs(rows), (("align_uniform", "o", "alignment + uniformity, weighted"), ("InfoNCE", "D", "InfoNCE"))
    low, high = min(r["accuracy"] for r in found), max(r["accuracy"] for r in found)
    for loss, mark, label in marks:
        mine = [r for r in found if r["loss"] == loss]
        dots = axes[0].scatter([r["align"] for r in mine], [r["spread"] for r in mine], c=[r["accuracy"] for r in mine], s=20, marker=mark,
                               cmap="cividis", vmin=low, vmax=high, edgecolor=style.BLACK, linewidth=0.3)
        axes[1].scatter([r["align"] + r["spread"] for r in mine], [r["accuracy"] for r in mine], s=14, marker=mark, label=label,
                        color=style.BLUE if loss == "align_uniform" else style.ORANGE, edgecolor="white", linewidth=0.3)
    axes[0].axhline(floor(rows), color=style.GREY, lw=0.8, ls="--")
    axes[0].annotate("floor: the uniform law", (1.3, floor(rows)), xytext=(0, -9), textcoords="offset points", color=style.GREY, fontsize=7)
    ends = {u: next(r for r in settings(rows) if r["uniform"] == u) for u in (0.0, 1.0)}
    for u, text, at, side in ((0.0, "alignment alone", (8, -2), "left"), (1.0, "uniformity alone", (0, 8), "right")):
        axes[0].annotate(text, (ends[u]["align"], ends[u]["spread"]), xytext=at, textcoords="offset points", fontsize=7, ha=side)
    axes[0].set(title="Where encoders lie", xlabel="alignment (0: pairs coincide)", ylabel="uniformity (lower: more spread)",
                ylim=(-4.25, 0.3))
    figure.colorbar(dots, ax=axes[0], label="accuracy of a linear probe")
    axes[1].set(title="What they tell", xlabel="alignment + uniformity", ylabel="accuracy of a linear probe", ylim=(None, 1.08))
    axes[1].legend(loc="upper right", handletextpad=0.1)
    return figure
