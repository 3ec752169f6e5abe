"""Uniformity against dimension, InfoNCE - log N against N, each with its closed form."""

from mmrep.metrics.geometry import uniformity_of_uniform
from mmrep.sweeps import style
from mmrep.sweeps.results import mean, values

NAMES = {"uniform": (style.BLUE, "uniform"), "cone": (style.ORANGE, "in a cone"), "collapsed": (style.RED, "collapsed")}  # drawn


def batches(rows: list) -> list[int]:
    return sorted({int(r["metric"].split("/")[1]) for r in rows if r["metric"].startswith("infonce/")})


def measure(rows: list) -> dict[str, float]:
    uniform, last = values(rows, "uniformity", by=("law", "dim")), batches(rows)[-1]
    line = {key: mean(v) for key, v in uniform.items()}
    found = {f"uniformity/{law}/{dim}": v for (law, dim), v in line.items()}
    dims = sorted({dim for _, dim in line})
    for law in NAMES:
        found[f"largest distance to the closed form/{law}"] = max(abs(line[law, d] - uniformity_of_uniform(d)) for d in dims)
    for law, end in (("uniform", ""), ("cone", ""), ("collapsed", ""), ("uniform", "/shuffled")):
        loss = values(rows, f"infonce/{last:05d}{end}", by="dim", law=law)
        found[f"largest distance of InfoNCE to its limit/{law}{end}"] = max(
            abs(mean(v) - uniformity_of_uniform(d, 1.0)) for d, v in loss.items())
    best = {law: values(rows, f"infonce/{last:05d}", by="dim", law=law) for law in NAMES}
    found["smallest excess of a cone's InfoNCE"] = min(mean(best["cone"][d]) - mean(best["uniform"][d]) for d in dims)
    found["smallest excess of InfoNCE of shuffled pairs"] = min(
        mean(v) - mean(best["uniform"][d]) for d, v in values(rows, f"infonce/{last:05d}/shuffled", by="dim", law="uniform").items())
    return found


def draw(rows: list):
    import matplotlib.pyplot as plt
    import numpy as np

    figure, axes = plt.subplots(1, 2, figsize=(6.8, 2.7))
    uniform = values(rows, "uniformity", by=("law", "dim"))
    dims = sorted({dim for _, dim in uniform})
    fine = np.unique(np.geomspace(min(dims), max(dims), 60).round().astype(int))
    axes[0].plot(fine, [uniformity_of_uniform(int(d)) for d in fine], "-", color=style.BLACK, lw=1, label="closed form")
    for law, (color, name) in NAMES.items():
        style.over_seeds(axes[0], dims, [uniform[law, d] for d in dims], color=color, ls="" if law == "uniform" else ":")
        axes[0].annotate(name, (dims[-1], mean(uniform[law, dims[-1]])), xytext=(0, 5), textcoords="offset points", color=color, ha="right")
    axes[0].set(title="Uniformity on the sphere", xscale="log", xlabel="dimension", ylabel="log mean exp(-2 |x - y|²)", ylim=(-4.2, 0.5))
    axes[0].legend(loc="lower left")
    sizes = batches(rows)
    for color, dim in zip(style.COLORS, (2, 8, 128)):
        losses = [values(rows, f"infonce/{n:05d}", by="dim", law="uniform")[dim] for n in sizes]
        axes[1].axhline(uniformity_of_uniform(dim, 1.0), color=color, lw=0.8, ls="--", label="limit, closed form" if dim == 128 else None)
        style.over_seeds(axes[1], sizes, losses, color=color)
        at = (sizes[-1], mean(losses[-1]))
        axes[1].annotate(f"dimension {dim}", at, xytext=(0, 5), textcoords="offset points", color=color, ha="right")
    axes[1].set(title="InfoNCE of aligned, uniform pairs", xscale="log", xlabel="batch size N", ylabel="loss - log N", ylim=(-2.08, -0.98))
    axes[1].legend(loc="upper right")
    for ax, at in ((axes[0], dims), (axes[1], sizes)):
        ax.set_xticks(at, list(map(str, at)))
        ax.minorticks_off()
    return figure
