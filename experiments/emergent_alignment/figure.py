"""Retrieval of every pair by which pairs were trained, and of the pair that never met by how many of the hub's pairs are wrong."""

from mmrep.sweeps import style
from mmrep.sweeps.results import mean, values

PAIRS = (("x1", "x2"), ("x1", "x3"), ("x2", "x3"))
NAMES = {"all": "all pairs", "hub": "hub: x1-x2, x1-x3", "one": "x1-x2"}


def recall(rows: list, a: str, b: str, pairs: str, noise: float = 0.0) -> list[float]:
    return values(rows, f"retrieval/{a}_to_{b}/R@1/instance", pairs=pairs, pair_noise=noise)[()]


def chance(rows: list) -> float:
    return mean(values(rows, "retrieval/chance:x2-x3/R@1/instance")[()])


def measure(rows: list) -> dict[str, float]:
    guessed = chance(rows)
    emergent, supervised, one = (mean(recall(rows, "x2", "x3", pairs)) for pairs in ("hub", "all", "one"))
    by_noise = [mean(recall(rows, "x2", "x3", "hub", noise)) for noise in (0.0, 0.25, 0.5, 1.0)]
    return {"emergent over supervised R@1": emergent / supervised, "emergent R@1 over chance": emergent / guessed,
            "R@1 over chance without the third view": one / guessed, "R@1 without the third view over supervised": one / supervised,
            "R@1 over chance with shuffled pairs": by_noise[-1] / guessed, "shuffled over supervised R@1": by_noise[-1] / supervised,
            "emergent R@1 lost to a half of wrong pairs": by_noise[0] - by_noise[2],
            "smallest fall of emergent R@1 with noise": min(a - b for a, b in zip(by_noise, by_noise[1:]))}


def draw(rows: list):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(6.8, 2.6), width_ratios=(1.3, 1))
    for i, (color, pairs) in enumerate(zip(style.COLORS, ("all", "hub", "one"))):
        found = [recall(rows, a, b, pairs) for a, b in PAIRS]
        at = [k + (i - 1) * 0.26 for k in range(3)]
        axes[0].bar(at, [mean(v) for v in found], 0.24, color=color, label=NAMES[pairs])
        for x, v in zip(at, found):
            axes[0].plot([x] * len(v), v, ".", color=style.BLACK, ms=3)
    axes[0].axhline(chance(rows), color=style.GREY, lw=1, ls=":")
    axes[0].set_xticks(range(3), [f"{a} to {b}" for a, b in PAIRS])
    axes[0].set(title="Retrieval by trained pairs", ylabel="R@1", ylim=(0, 1.38), yticks=(0, 0.25, 0.5, 0.75, 1))
    axes[0].legend(title="trained on", ncols=3, loc="upper center", title_fontsize=7)
    noise = (0.0, 0.25, 0.5, 1.0)
    for color, (a, b), text in zip(style.COLORS[1:], (("x2", "x3"), ("x1", "x2")), ("x2 to x3 (never met)", "x1 to x2 (trained)")):
        style.over_seeds(axes[1], noise, [recall(rows, a, b, "hub", x) for x in noise], color=color, label=text)
    axes[1].axhline(chance(rows), color=style.GREY, lw=1, ls=":", label="chance")
    axes[1].set(title="Hub with wrong pairs", xlabel="share of the hub's pairs that are wrong", ylabel="R@1", ylim=(-0.02, 1.05))
    axes[1].legend(loc="upper right")
    return figure
