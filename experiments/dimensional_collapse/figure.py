"""Spectra of the encodings' covariance: by the noise on half of the inputs, by the number of layers, and of a start without decay."""

import math

from mmrep.sweeps import style
from mmrep.sweeps.results import mean, values, where

VALUES = 16
RAMP = ("#9ecae1", "#6baed6", "#3182bd", "#08519c", style.BLACK)  # from little to much: readable without hues
EVEN = "layers 4, even start"


def of(rows: list, metric: str, control: str = "") -> dict[str, list[float]]:
    """{setting: the metric's values by seed}; control: "untrained" for the start."""
    return values(where(rows, control=control), f"spectrum/x:pooled/{metric}", by="setting", control=control)


def spectra(rows: list, control: str = "") -> dict[str, list[list[float]]]:
    """{setting: [values by seed of every log singular value]}."""
    found: dict = {}
    for i in range(VALUES):
        for setting, seeds in of(rows, f"log_sv/{i + 1:02d}", control).items():
            found.setdefault(setting, []).append(seeds)
    return found


def knobs(found: dict, word: str) -> dict[float, str]:
    """{amount of noise, or layers: setting}, from little to much."""
    return dict(sorted((float(name.split()[1]), name) for name in found if name.startswith(word) and "," not in name))


def survivors(logs: list[float]) -> int:
    """Singular values above 1e-3 of the first."""
    return sum(v > logs[0] + math.log(1e-3) for v in logs)


def measure(rows: list) -> dict[str, float]:
    line = {name: [mean(v) for v in logs] for name, logs in spectra(rows).items()}
    start = {name: [mean(v) for v in logs] for name, logs in spectra(rows, "untrained").items()}
    rank = {name: mean(v) for name, v in of(rows, "effective_rank").items()}
    dims = {name: mean(v) for name, v in of(rows, "dimensions").items()}
    noise, layers = knobs(rank, "noise"), knobs(rank, "layers")
    found = {f"effective rank/{name}": v for name, v in rank.items()} | {f"dimensions/{name}": v for name, v in dims.items()}
    found |= {f"fall behind the 8th/{name}": line[name][7] - line[name][8] for name in noise.values()}
    found |= {f"slope of the start/{name}": (start[name][-1] - start[name][0]) / (VALUES - 1) for name in (*layers.values(), EVEN)}
    ranks, left = [rank[name] for name in noise.values()], [dims[name] for name in layers.values()]
    return found | {"smallest fall of the effective rank with noise": min(a - b for a, b in zip(ranks, ranks[1:])),
                    "smallest loss of dimensions a layer": min(a - b for a, b in zip(left, left[1:]))}


def draw(rows: list):
    import matplotlib.pyplot as plt

    trained, start, at = spectra(rows), spectra(rows, "untrained"), range(1, VALUES + 1)
    figure, axes = plt.subplots(1, 3, figsize=(6.8, 2.7))
    for ax, word, title, label in ((axes[0], "noise", "Noise on 8 of 16 inputs", "noise {:g}"),
                                   (axes[1], "layers", "Depth", "{:.0f} layers")):
        for color, (amount, name) in zip(RAMP, knobs(trained, word).items()):
            style.over_seeds(ax, at, trained[name], color=color, marker=None, label=label.format(amount).replace("1 layers", "1 layer"))
        ax.set(title=title)
    for name, found, color, text in (("layers 4", trained, style.BLUE, "small start"), ("layers 4", start, style.BLUE, "before training"),
                                     (EVEN, trained, style.RED, "even start")):
        style.over_seeds(axes[2], at, found[name], color=color, marker=None, ls=":" if found is start else "-", label=text)
    axes[2].set(title="4 layers, by start")
    for ax in axes:
        ax.set(xlabel="singular value", xticks=(1, 4, 8, 12, 16))
        ax.legend(loc="lower left")
    axes[0].set_ylabel("log singular value of the covariance")
    return figure
