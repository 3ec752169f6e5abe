"""First loss against batch size, and the bias' first gradient, each with its closed form for orthogonal embeddings."""

import math

from mmrep.sweeps import style
from mmrep.sweeps.results import mean, values


def softplus(x: float) -> float:
    return math.log1p(math.exp(x)) if x < 30 else x


def first_loss(n: float, bias: float) -> float:
    """The sigmoid loss of n pairs of orthogonal embeddings: every logit is the bias."""
    return softplus(-bias) + (n - 1) * softplus(bias)


def first_slope(n: float, bias: float) -> float:
    """Its derivative by the bias: the push of n - 1 negatives less the pull of one positive."""
    return (n - 1) / (1 + math.exp(-bias)) - 1 / (1 + math.exp(bias))


def off(found: dict, expected) -> float:
    """The largest relative distance of {(batch, bias): values by seed} to a closed form."""
    return max(abs(v - expected(*key)) / max(abs(expected(*key)), 1.0) for key, seeds in found.items() for v in seeds)


def measure(rows: list) -> dict[str, float]:
    found = {}
    for kind in ("orthogonal", "untrained"):
        loss = values(rows, "sigmoid", by=("batch", "bias"), embeddings=kind)
        found |= {f"distance to the first loss/{kind}": off(loss, first_loss),
                  f"distance to the first slope/{kind}": off(
                      values(rows, "sigmoid/slope", by=("batch", "bias"), embeddings=kind), first_slope),
                  f"distance of InfoNCE to log n/{kind}": off(
                      values(rows, "softmax", by=("batch", "bias"), embeddings=kind), lambda n, _: math.log(n))}
        tiles = values(rows, "sigmoid/chunked", by=("batch", "bias"), embeddings=kind)
        found[f"distance of the chunked loss/{kind}"] = max(
            abs(a - b) / b for key in loss for a, b in zip(tiles[key], loss[key]))
        small, large = min(n for n, _ in loss), max(n for n, _ in loss)
        for bias in (0.0, -10.0):
            growth = mean(loss[large, bias]) / mean(loss[small, bias])
            found |= {f"first loss of the largest batch over the smallest/{kind}/{bias:g}": growth,
                      f"growth of the first loss over that of the batch/{kind}/{bias:g}": growth / (large / small)}
    return found


def draw(rows: list):
    import matplotlib.pyplot as plt
    import numpy as np

    figure, axes = plt.subplots(1, 2, figsize=(6.8, 2.7))
    loss, slope = (values(rows, name, by=("embeddings", "batch", "bias")) for name in ("sigmoid", "sigmoid/slope"))
    sizes = sorted({batch for _, batch, _ in loss})
    fine = np.geomspace(min(sizes), max(sizes), 50)
    for color, bias in ((style.RED, 0.0), (style.ORANGE, -5.0), (style.BLUE, -10.0)):
        axes[0].plot(fine, [first_loss(n, bias) for n in fine], "-", color=color, lw=1)
        axes[0].plot(sizes, [mean(loss["orthogonal", n, bias]) for n in sizes], "o", color=color, label=f"sigmoid, bias {bias:g}")
        for n in sizes:
            axes[0].plot([n] * len(loss["untrained", n, bias]), loss["untrained", n, bias], "x", color=color, ms=3, mew=0.7, alpha=0.7)
    softmax = values(rows, "softmax", by=("embeddings", "batch"))
    axes[0].plot(fine, np.log(fine), "-", color=style.BLACK, lw=1)
    axes[0].plot(sizes, [mean(softmax["orthogonal", n]) for n in sizes], "s", color=style.BLACK, label="softmax (log n)")
    axes[0].plot([], [], "x", color=style.GREY, ms=3, label="untrained towers")
    axes[0].plot([], [], "-", color=style.GREY, lw=1, label="closed form")
    axes[0].set(title="First loss", xscale="log", yscale="log", xlabel="batch size n", ylabel="loss of the first step",
                ylim=(2, 100 * sizes[-1]))
    axes[0].legend(loc="upper left", ncol=2, columnspacing=1.0, handletextpad=0.4)
    axes[0].set_xticks(sizes, list(map(str, sizes)))
    axes[0].minorticks_off()
    biases = sorted({bias for _, _, bias in slope})
    line = np.linspace(min(biases), max(biases), 80)
    for color, n in zip((style.SKY, style.GREEN, style.PURPLE, style.BLACK), sizes):
        axes[1].plot(line, [first_slope(n, b) for b in line], "-", color=color, lw=1)
        axes[1].plot(biases, [mean(slope["orthogonal", n, b]) for b in biases], "o", color=color, label=f"n = {n}")
        axes[1].plot([-math.log(n - 1)], [0], "|", color=color, ms=9, mew=1.3)
    axes[1].axhline(0, color=style.GREY, lw=0.7)
    axes[1].set_yscale("symlog", linthresh=1.0)
    ticks = (-1, 0, *(10**k for k in range(math.ceil(math.log10(sizes[-1])))))
    axes[1].set_yticks(ticks, list(map(str, ticks)))
    axes[1].set(title="Push and pull on the bias", xlabel="starting bias b", ylabel="d loss / d b", ylim=(-1.5, 2 * sizes[-1]))
    axes[1].legend(loc="upper left", title="zero at b = -log(n - 1)", title_fontsize=7, alignment="left")
    return figure
