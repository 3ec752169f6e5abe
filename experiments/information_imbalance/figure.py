"""Modality gap and object bias against how many attributes a caption names."""

from mmrep.sweeps import style
from mmrep.sweeps.results import mean, values

RMG = "alignment:x1-x2/rmg"
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
        line, lean = curve(rows, RMG, image), bias(rows, image)
        if image == "as poor":  # with all six named the two are one and the same
            line, lean = line | {6: curve(rows, RMG)[6]}, lean | {6: bias(rows)[6]}
        rmg = {n: mean(v) for n, v in line.items()}
        falls = [rmg[a] - rmg[b] for a, b in ((2, 3), (3, 4), (4, 6))]
        found |= {f"rmg/{image}/{n}": v for n, v in rmg.items()} | {f"object bias/{image}/{n}": mean(v) for n, v in lean.items()}
        found |= {f"smallest fall of RMG from 2 to 6 named/{image}": min(falls), f"fall of RMG from 2 to 6 named/{image}": sum(falls),
                  f"rmg of 1 named less that of 2/{image}": rmg[1] - rmg[2]}
    return found | {"RMG with all named": found["rmg/whole/6"]} | {f"object accuracy/{n}": mean(v) for n, v in curve(rows, OBJECT).items()}


def draw(rows: list):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(6.8, 2.7))
    for image, color, label in (("whole", style.BLUE, "picture shows all six"), ("as poor", style.GREY, "only what is named (control)")):
        line = curve(rows, RMG, image)
        style.over_seeds(axes[0], list(line), list(line.values()), color=color, label=label, ls="-" if image == "whole" else "--")
    axes[0].set(title="Modality gap", xlabel="attributes the caption names, of 6", ylabel="relative modality gap (RMG)", ylim=(0, 0.4))
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
