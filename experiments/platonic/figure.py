"""Mutual kNN of two encoders that never met, against what they know."""

import re

from mmrep.sweeps import style
from mmrep.sweeps.results import mean, rank_correlation, values

ALIKE = "alignment:x1-x2/mutual_knn@10"
PROBE = re.compile("probe/[^:]*:x[12]:embedding/accuracy")  # of every label and view that is probed
CHANCE = 10 / 1023  # k / (n - 1) of 1,024 rows


def alike(rows: list, metric: str = ALIKE, trained: str = "apart", **where) -> dict[tuple[int, int], list[float]]:
    """{(width, steps): values by seed}."""
    return values(rows, metric, by=("width", "steps"), trained=trained, **where)


def knows(rows: list, trained: str = "apart") -> dict[tuple[int, int], list[float]]:
    """Accuracy of linear probes, the mean over attributes and views, by seed."""
    each = [alike(rows, metric, trained) for metric in sorted({r["metric"] for r in rows}) if PROBE.fullmatch(metric)]
    return {key: [mean(v) for v in zip(*(one[key] for one in each))] for key in each[0]}


def measure(rows: list) -> dict[str, float]:
    near, known = alike(rows), knows(rows)
    before = alike(rows, control="untrained")
    best = max(near, key=lambda key: mean(near[key]))
    found = {f"mutual kNN/width {w}, {s} steps": mean(v) for (w, s), v in near.items()}
    found |= {f"accuracy/width {w}, {s} steps": mean(v) for (w, s), v in known.items()}
    told = [mean(known[key]) for key in near]
    found |= {"rank correlation of accuracy and mutual kNN": rank_correlation(told, [mean(near[key]) for key in near]),
              "mutual kNN over chance/best apart": mean(near[best]) / CHANCE,
              "mutual kNN over chance/best untrained": max(mean(v) for v in before.values()) / CHANCE}
    other, taught = alike(rows, trained="other tasks"), knows(rows, "other tasks")
    found["rank correlation of accuracy and mutual kNN/other tasks"] = rank_correlation(
        [mean(taught[key]) for key in other], [mean(other[key]) for key in other])
    for name in ("other tasks", "paired"):  # of the largest, trained longest
        value, accuracy = alike(rows, trained=name)[max(other)], knows(rows, name)[max(other)]
        found |= {f"mutual kNN over chance/{name}": mean(value) / CHANCE, f"accuracy/{name}": mean(accuracy),
                  f"mutual kNN over the best apart/{name}": mean(value) - mean(near[best])}
    return found


def draw(rows: list):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(6.8, 2.8))
    near, known = alike(rows), knows(rows)
    widths = sorted({w for w, _ in near})
    for color, width in zip(style.COLORS, widths):
        line = {steps: v for (w, steps), v in near.items() if w == width}
        style.over_seeds(axes[0], list(line), list(line.values()), color=color, label=f"width {width}")
        axes[1].plot([v for key, of in known.items() if key[0] == width for v in of],
                     [v for key, of in near.items() if key[0] == width for v in of], "o", ms=3.5, color=color)
    for name, text, mark, color in (("paired", "paired (InfoNCE)", "D", style.BLACK),
                                    ("other tasks", "apart, on other tasks (control)", "X", style.GREY)):
        value, accuracy = alike(rows, trained=name), knows(rows, name)
        axes[1].plot([v for of in accuracy.values() for v in of], [v for of in value.values() for v in of], mark, ms=4, color=color,
                     label=text)
    for ax in axes:
        ax.axhline(CHANCE, color=style.GREY, lw=0.8, ls=":")
    axes[0].annotate("chance", (max(s for _, s in near), CHANCE), xytext=(0, 2), textcoords="offset points", color=style.GREY, fontsize=7,
                     ha="right")
    axes[0].set(title="Longer and wider, more alike", xscale="log", xlabel="steps", ylabel="mutual kNN of the two encoders", ylim=(0, None))
    axes[1].set(title="What they know", xlabel="accuracy of linear probes", ylim=(0, None))
    axes[0].legend(loc="upper left")
    axes[1].legend(loc="upper left")
    return figure
