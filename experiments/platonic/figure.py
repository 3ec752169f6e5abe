"""Mutual kNN of two encoders that never met, against what they know."""

from mmrep.sweeps import style
from mmrep.sweeps.results import mean, rank_correlation, values

ALIKE = "alignment:x1-x2/mutual_knn@10"
PROBES = tuple(f"probe/{label}:{view}:embedding/accuracy" for label in ("object", "attribute_4") for view in ("x1", "x2"))
CHANCE = 10 / 1023  # k / (n - 1) of 1,024 rows


def alike(rows: list, metric: str = ALIKE, trained: str = "apart", **where) -> dict[tuple[int, int], list[float]]:
    """{(width, steps): values by seed}."""
    return values(rows, metric, by=("width", "steps"), trained=trained, **where)


def knows(rows: list, trained: str = "apart") -> dict[tuple[int, int], list[float]]:
    """Accuracy of linear probes, the mean over attributes and views, by seed."""
    each = [alike(rows, metric, trained) for metric in PROBES]
    return {key: [mean(v) for v in zip(*(one[key] for one in each))] for key in each[0]}


def measure(rows: list) -> dict[str, float]:
    near, known, null = alike(rows), knows(rows), alike(rows, f"{ALIKE}/null")
    before = alike(rows, control="untrained")
    best = max(near, key=lambda key: mean(near[key]))
    found = {f"mutual kNN/width {w}, {s} steps": mean(v) for (w, s), v in near.items()}
    found |= {f"accuracy/width {w}, {s} steps": mean(v) for (w, s), v in known.items()}
    told = [mean(known[key]) for key in near]
    found |= {"rank correlation of accuracy and mutual kNN": rank_correlation(told, [mean(near[key]) for key in near]),
              "rank correlation of accuracy and mutual kNN of shuffled rows": rank_correlation(told, [mean(null[key]) for key in near]),
              "mutual kNN over chance/best apart": mean(near[best]) / CHANCE,
              "mutual kNN over chance/best untrained": max(mean(v) for v in before.values()) / CHANCE}
    for name in ("other tasks", "paired"):
        (value,), (accuracy,) = alike(rows, trained=name).values(), knows(rows, name).values()
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
        (value,), (accuracy,) = alike(rows, trained=name).values(), knows(rows, name).values()
        axes[1].plot(accuracy, value, mark, ms=4.5, color=color, label=text)
    for ax in axes:
        ax.axhline(CHANCE, color=style.GREY, lw=0.8, ls=":")
    axes[0].annotate("chance", (max(s for _, s in near), CHANCE), xytext=(0, 2), textcoords="offset points", color=style.GREY, fontsize=7,
                     ha="right")
    axes[0].set(title="Longer and wider, more alike", xscale="log", xlabel="steps", ylabel="mutual kNN of the two encoders", ylim=(0, None))
    axes[1].set(title="What they know", xlabel="accuracy of linear probes", ylim=(0, None))
    axes[0].legend(loc="upper left")
    axes[1].legend(loc="upper left")
    return figure
