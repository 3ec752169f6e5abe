"""The loss against the gap, and the best gap against the scale of the logits, with what theory says."""

import math

from mmrep.sweeps import style
from mmrep.sweeps.results import values

SHOWN = (1.0, 10.0, 50.0, 100.0)


def predicted(rows: list, scale: float) -> float:
    """The best |z| in closed form. u_i . v_j = (1 - z^2) cos(a_i - a_j) - z^2, and the constant -z^2 cancels in the softmax: height only
    multiplies the scale by 1 - z^2. So the loss is lowest where that product is the best scale s* of circles that coincide:
    |z| = sqrt(1 - s* / scale), 0 where scale <= s*."""
    best = values(rows, "best scale", by="scale", mismatch="true")[scale][0]
    return math.sqrt(max(1 - best / scale, 0.0))


def measure(rows: list) -> dict[str, float]:
    wrong, right = (values(rows, "best |z|", by="scale", mismatch=m) for m in ("true", "false"))
    lowest, flat = (values(rows, name, by="scale", mismatch="true") for name in ("lowest loss", "loss at z=0"))
    found = {f"best |z| with mismatch/{scale:g}": v[0] for scale, v in wrong.items()}
    found |= {f"best |z| without mismatch/{scale:g}": v[0] for scale, v in right.items()}
    found |= {f"lowest loss with mismatch/{scale:g}": v[0] for scale, v in lowest.items()}
    found |= {f"loss at z=0 with mismatch/{scale:g}": v[0] for scale, v in flat.items()}
    return found | {"largest best |z| without mismatch": max(v[0] for v in right.values()),
                    "largest best |z| with mismatch": max(v[0] for v in wrong.values()),
                    "largest distance to the closed form": max(abs(v[0] - predicted(rows, s)) for s, v in wrong.items()),
                    "largest distance to the closed form without mismatch": max(abs(v[0] - predicted(rows, s)) for s, v in right.items())}


def draw(rows: list):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(6.8, 2.5), width_ratios=(1, 1, 1.2))
    heights = [z / 50 - 1 + 0.0 for z in range(0, 101, 2)]
    for ax, mismatch, title in ((axes[0], "false", "All pairs right"), (axes[1], "true", "One pair mismatched")):
        for color, scale in zip(style.COLORS, SHOWN):
            curve = [values(rows, f"loss/z={z:+.2f}", by="scale", mismatch=mismatch)[scale][0] for z in heights]
            gaps = [2 * z for z in heights]
            ax.plot(gaps, [c - min(curve) for c in curve], color=color, label=f"{scale:g}")
            lowest = [values(rows, "best |z|", by="scale", mismatch=mismatch)[scale][0]]
            ax.plot([2 * z for z in lowest], [0] * len(lowest), "o", color=color, ms=4, clip_on=False)
        ax.set(title=title, xlabel="gap, 2z", ylim=(-0.005, 0.16))
    axes[0].set_ylabel("loss above its lowest")
    axes[0].legend(title="scale", loc="upper center", title_fontsize=7)
    found = values(rows, "best |z|", by="scale", mismatch="true")
    line = [10 ** (k / 20) for k in range(0, 61)]
    best = values(rows, "best scale", by="scale", mismatch="true")[1000.0][0]
    axes[2].plot(line, [2 * math.sqrt(max(1 - best / s, 0)) for s in line], "--", color=style.GREY, lw=1, label="closed form")
    right = values(rows, "best |z|", by="scale", mismatch="false")
    axes[2].plot(list(right), [2 * v[0] for v in right.values()], "s", mfc="none", ms=7, color=style.BLUE, label="all pairs right")
    axes[2].plot(list(found), [2 * v[0] for v in found.values()], "o", color=style.RED, label="one pair mismatched")
    axes[2].set(xscale="log", title="Best gap", xlabel="scale of the logits, 1 / temperature",
                ylabel="gap", ylim=(-0.12, 2.9), yticks=(0, 0.5, 1, 1.5, 2))
    axes[2].legend(loc="upper left")
    return figure
