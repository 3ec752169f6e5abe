"""Modality gap and object bias against how many attributes a caption names."""

from mmrep.sweeps import style
from mmrep.sweeps.results import mean, values

GAPS = {"rmg": "alignment:x1-x2/rmg", "gap": "alignment:x1-x2/gap"}
OBJECT, OTHERS = "probe/object:x1:embedding/accuracy", tuple(f"probe/attribute_{i}:x1:embedding/accuracy" for i in (1, 2))
CHANCE = 0.25


def curve(rows: list, metric: str, image: str = "whole") -> dict[int, list[float]]:
    """{attributes named: values by seed}."""
    return values(rows, metric, by="mentioned", image=image)


def bias(rows: list, image: str = "whole") -> dict[int, list[float]]:
    """{attributes named: accuracy of the object's probe less that of other attributes, by seed}."""
    others = [curve(rows, metric, image) for metric in OTHERS]
    return {n: [a - mean(b) for a, *b in zip(seeds, *(o[n] for o in others))] for n, seeds in curve(rows, OBJECT, image).items()}


def measure(rows: list) -> dict[str, float]:
    found = {}
    for image in ("whole", "as poor"):
        line, lean = curve(rows, GAPS["rmg"], image), bias(rows, image)
        counts = sorted(line)
        found |= {f"rmg/{image}/{n}": mean(v) for n, v in line.items()} | {f"object bias/{image}/{n}": mean(v) for n, v in lean.items()}
        found |= {f"smallest fall of RMG/{image}": min(mean(line[a]) - mean(line[b]) for a, b in zip(counts, counts[1:])),
                  f"fall of RMG from 1 to 4 named/{image}": mean(line[1]) - mean(line[4]),
                  f"fall of object bias from 1 to 4 named/{image}": mean(lean[1]) - mean(lean[4])}
    found |= {f"object accuracy/{n}": mean(v) for n, v in curve(rows, OBJECT).items()}
    return found


def draw(rows: list):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(6.8, 2.7))
    for image, color, label in (("whole", style.BLUE, "picture shows all six"), ("as poor", style.GREY, "only what is named (control)")):
        line = curve(rows, GAPS["rmg"], image)
        style.over_seeds(axes[0], list(line), list(line.values()), color=color, label=label, ls="-" if image == "whole" else "--")
    axes[0].set(title="Modality gap", xlabel="attributes the caption names, of 6", ylabel="relative modality gap (RMG)", ylim=(0, 0.62))
    axes[0].legend(loc="upper right")
    seen = curve(rows, OBJECT)
    other = {n: [mean(v) for v in zip(*(curve(rows, m)[n] for m in OTHERS))] for n in seen}
    style.over_seeds(axes[1], list(seen), list(seen.values()), color=style.ORANGE, label="object, always named")
    style.over_seeds(axes[1], list(other), list(other.values()), color=style.GREEN, label="other attributes")
    axes[1].axhline(CHANCE, color=style.GREY, lw=0.8, ls=":")
    axes[1].annotate("chance", (6, CHANCE), xytext=(0, 2), textcoords="offset points", color=style.GREY, fontsize=7, ha="right")
    axes[1].set(title="Object bias", xlabel="attributes the caption names, of 6", ylabel="accuracy of a probe of the picture",
                ylim=(0, 1.05))
    axes[1].legend(loc="lower right", bbox_to_anchor=(1.0, 0.32))
    return figure
