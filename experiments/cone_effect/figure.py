"""Cosine against depth, with the authors' printed values and the closed form of infinitely wide ReLU networks."""

import math

from mmrep.sweeps import style
from mmrep.sweeps.results import mean, values

# of the authors' notebook bias_linear_relu.ipynb, ReLU with biases; see README.md
PUBLISHED = {1: 0.3195, 2: 0.4943, 3: 0.6069, 5: 0.7541, 10: 0.9477, 15: 0.9980, 20: 0.9999}
DEPTH = 25
NAMES = {"relu": "ReLU", "leaky_relu": "leaky ReLU", "sigmoid": "sigmoid", "tanh": "tanh", "linear": "linear"}


def arc_cosine(depth: int) -> list[float]:
    """Cosine of two orthogonal inputs after each ReLU layer of infinite width without biases (Cho & Saul 2009, eq. 6)."""
    r, found = 0.0, []
    for _ in range(depth):
        r = (math.sqrt(1 - r * r) + r * (math.pi - math.acos(r))) / math.pi
        found.append(r)
    return found


def curves(rows: list) -> dict[tuple[str, str], list[list[float]]]:
    """{(activation, bias): [values by seed of every layer]}."""
    found: dict = {}
    for layer in range(1, DEPTH + 1):
        for key, seeds in values(rows, f"cos/{layer:02d}", by=("activation", "bias")).items():
            found.setdefault(key, []).append(seeds)
    return found


def measure(rows: list) -> dict[str, float]:
    by = curves(rows)
    line = {key: [mean(v) for v in layers] for key, layers in by.items()}
    relu, plain = line["relu", "true"], line["relu", "false"]
    steps = [b - a for key in (("relu", "true"), ("relu", "false"), ("leaky_relu", "true")) for a, b in zip(line[key], line[key][1:])]
    found = {f"cos/relu/{layer}": relu[layer - 1] for layer in PUBLISHED}
    found |= {"largest distance to the published curve": max(abs(relu[k - 1] - v) for k, v in PUBLISHED.items()),
              "largest distance to the closed form": max(abs(a - b) for a, b in zip(plain, arc_cosine(DEPTH))),
              "cos/relu without bias/1": plain[0], "smallest step of the ReLU curves": min(steps)}
    for name in ("relu", "leaky_relu", "sigmoid"):
        found[f"cos/{name}/25"] = line[name, "true"][-1]
    for name in ("tanh", "linear"):
        found[f"largest |cos|/{name} without bias"] = max(map(abs, line[name, "false"]))
    linear = line["linear", "true"]
    found |= {"cos/linear/1": linear[0], "cos/linear/25": linear[-1],
              "largest distance of linear to the published curve": max(abs(linear[k - 1] - v) for k, v in PUBLISHED.items()),
              "largest distance of tanh without bias to the closed form": max(
                  abs(a - b) for a, b in zip(line["tanh", "false"], arc_cosine(DEPTH))),
              "largest |cos|/relu without bias": max(map(abs, plain))}
    return found


def draw(rows: list):
    import matplotlib.pyplot as plt

    by, depth = curves(rows), range(1, DEPTH + 1)
    figure, axes = plt.subplots(1, 2, figsize=(6.8, 2.7), sharey=True)
    for ax, bias, title in ((axes[0], "true", "With biases"), (axes[1], "false", "Without biases")):
        for color, (key, name) in zip(style.COLORS, NAMES.items()):
            style.over_seeds(ax, depth, by[key, bias], color=color, label=name, marker=None, ls="--" if key == "leaky_relu" else "-")
        ax.set(title=title, xlabel="layers", xlim=(0, DEPTH + 0.5), ylim=(-0.05, 1.05))
    axes[0].plot(list(PUBLISHED), list(PUBLISHED.values()), "o", mfc="none", mec=style.BLACK, ms=5, label="published (ReLU)")
    axes[1].plot(depth, arc_cosine(DEPTH), ":", color=style.BLACK, lw=1.6, label="closed form (ReLU)")
    axes[0].set_ylabel("mean cosine of two inputs")
    lines = {label: line for ax in axes[::-1] for line, label in zip(*ax.get_legend_handles_labels())}
    axes[1].legend(lines.values(), lines.keys(), loc="center right")
    return figure
