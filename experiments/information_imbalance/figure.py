"""Modality gap and object bias against how many attributes a caption names."""

import re

from mmrep.sweeps import style
from mmrep.sweeps.results import mean, values

RMG = "alignment:x1-x2/rmg"
PROBE = re.compile("probe/([^:]*):x1:embedding/accuracy")  # of the object, which every caption names, and of others


def curve(rows: list, metric: str, image: str = "whole") -> dict[int, list[float]]:
    """{attributes named: values by seed}."""
    return values(rows, metric, by="mentioned", image=image)


def probes(rows: list) -> tuple[str, list[str]]:
    """Metrics of the object's probe and of the others'."""
    found = {m[1]: m[0] for m in map(PROBE.fullmatch, sorted({r["metric"] for r in rows})) if m}
    seen = found.pop("object" if "object" in found else "class")
    return seen, list(found.values())


def bias(rows: list, image: str = "whole") -> dict[int, list[float]]:
    """{attributes named: accuracy of the object's probe less that of other attributes, by seed}."""
    seen, rest = probes(rows)
    others = [curve(rows, metric, image) for metric in rest]
    return {n: [a - mean(b) for a, *b in zip(seeds, *(o[n] for o in others))] for n, seeds in curve(rows, seen, image).items()}


def measure(rows: list) -> dict[str, float]:
    found, most = {}, max(curve(rows, RMG))
    for image in sorted({r["image"] for r in rows}):
        line, lean = curve(rows, RMG, image), bias(rows, image)
        if image == "as poor":  # with all named the two are one and the same
            line, lean = line | {most: curve(rows, RMG)[most]}, lean | {most: bias(rows)[most]}
        rmg = {n: mean(v) for n, v in line.items()}
        falls = [rmg[a] - rmg[b] for a, b in zip(list(rmg)[1:], list(rmg)[2:])]
        found |= {f"rmg/{image}/{n}": v for n, v in rmg.items()} | {f"object bias/{image}/{n}": mean(v) for n, v in lean.items()}
        found |= {f"object bias/{image}/all": mean(lean[most]),
                  f"smallest fall of RMG from 2 to all named/{image}": min(falls), f"fall of RMG from 2 to all named/{image}": sum(falls),
                  f"rmg of 1 named less that of 2/{image}": rmg[1] - rmg[2]}
    found["RMG with all named"] = found[f"rmg/whole/{most}"]
    return found | {f"object accuracy/{n}": mean(v) for n, v in curve(rows, probes(rows)[0]).items()}


def draw(rows: list):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(6.8, 2.7))
    most = max(curve(rows, RMG))
    named = f"attributes the caption names, of {most}"
    for image, color, label in (("whole", style.BLUE, "picture shows all"), ("as poor", style.GREY, "only what is named (control)")):
        if image not in {r["image"] for r in rows}:
            continue
        line = curve(rows, RMG, image)
        style.over_seeds(axes[0], list(line), list(line.values()), color=color, label=label, ls="-" if image == "whole" else "--")
    axes[0].set(title="Modality gap", xlabel=named, ylabel="relative modality gap (RMG)", ylim=(0, None))
    axes[0].legend(loc="upper right")
    known, rest = probes(rows)
    seen = curve(rows, known)
    other = {n: [mean(v) for v in zip(*(curve(rows, m)[n] for m in rest))] for n in seen}
    style.over_seeds(axes[1], list(seen), list(seen.values()), color=style.ORANGE, label="object, always named")
    style.over_seeds(axes[1], list(other), list(other.values()), color=style.GREEN, label="other attributes")
    chance = mean(mean(v) for m in rest for v in curve(rows, f"{m}/chance").values())
    axes[1].axhline(chance, color=style.GREY, lw=0.8, ls=":")
    axes[1].annotate("chance of the others", (most, chance), xytext=(0, 2), textcoords="offset points", color=style.GREY, fontsize=7,
                     ha="right")
    axes[1].set(title="Object bias", xlabel=named, ylabel="accuracy of a probe of the picture",
                ylim=(0, 1.05))
    axes[1].legend(loc="lower right", bbox_to_anchor=(1.0, 0.32))
    return figure
