"""Step time and R@1 against the share of patches that is dropped, what a tuning on whole images brings, and R@1 against training time."""

from statistics import median

from mmrep.sweeps import style
from mmrep.sweeps.results import mean, values, where

WAYS = ("retrieval/image_to_text/R@1/instance", "retrieval/text_to_image/R@1/instance")


def recall(rows: list, training: str = "once", control: str = "") -> dict[float, list[float]]:
    """{mask: R@1 by seed, the mean of both directions}."""
    ways = [values(rows, metric, by="mask", training=training, control=control) for metric in WAYS]
    return {mask: [mean(pair) for pair in zip(*(way[mask] for way in ways))] for mask in ways[0]}


def seconds(rows: list, training: str = "once") -> dict[float, list[float]]:
    """{mask: seconds of the steps by seed}: the median step times the number of steps, so without what is compiled."""
    found: dict[float, list[float]] = {}
    for row in sorted(where(rows, metric=WAYS[0], training=training), key=lambda r: (r["mask"], r["seed"])):
        found.setdefault(row["mask"], []).append(row["seconds_step"] * row["step"])
    return found


def ratios(rows: list, training: str = "once") -> dict[float, list[float]]:
    """{mask: time of training over that of the same seed once without a mask}."""
    return {mask: [over(a, b) for a, b in zip(times, seconds(rows)[0.0])] for mask, times in seconds(rows, training).items()}


def over(a: float, b: float) -> float:
    """a / b; NaN where the steps were too few, or too short, for their time to be told."""
    return a / b if b else float("nan")


def measure(rows: list) -> dict[str, float]:
    once, twice, tuned = ({mask: mean(v) for mask, v in recall(rows, t).items()} for t in ("once", "twice", "tuned"))
    plain, untrained = seconds(rows)[0.0], mean(recall(rows, "once", "untrained")[0.0])
    out = {"R@1/untrained": untrained, "time over no mask/another seed": median(over(b, a) for a, b in zip(plain, [*plain[1:], plain[0]]))}
    out |= {f"time over no mask/mask {mask:g}": median(v) for mask, v in ratios(rows).items()}
    out |= {f"time over no mask/mask {mask:g}, twice the pairs": median(v) for mask, v in ratios(rows, "twice").items()}
    for end, found in (("", once), (", twice the pairs", twice), (", tuned", tuned)):
        out |= {f"R@1/mask {mask:g}{end}": v for mask, v in found.items()}
        out |= {f"R@1 lost/mask {mask:g}{end}": once[0.0] - v for mask, v in found.items()}
        out |= {f"share of R@1 kept/mask {mask:g}{end}": v / once[0.0] for mask, v in found.items()}
        out |= {f"R@1 over untrained/mask {mask:g}{end}": v - untrained for mask, v in found.items()}
    gain = {mask: v - once[mask] for mask, v in tuned.items()}
    out |= {f"R@1 gained by tuning/mask {mask:g}": v for mask, v in gain.items()}
    return out | {f"R@1 gained by tuning beyond no mask's/mask {mask:g}": v - gain[0.0] for mask, v in gain.items()}


def draw(rows: list):
    import matplotlib.pyplot as plt

    time, once, tuned = ratios(rows), recall(rows), recall(rows, "tuned")
    figure, axes = plt.subplots(1, 3, figsize=(7.2, 2.6))
    style.over_seeds(axes[0], list(time), list(time.values()), color=style.BLUE, label="ours")
    axes[0].plot([0, 1], [1, 0], ":", color=style.GREY, lw=1, label="share kept")
    axes[0].set(title="Time of a step", ylabel="time over that without a mask", ylim=(0, 1.25))
    style.over_seeds(axes[1], list(once), list(once.values()), color=style.BLUE, label="masked alone")
    style.over_seeds(axes[1], list(tuned), list(tuned.values()), color=style.GREEN, marker="^", label="and whole tuning")
    axes[1].axhline(mean(recall(rows, "once", "untrained")[0.0]), color=style.GREY, lw=1, ls=":", label="untrained")
    axes[1].set(title="Retrieval of whole images", ylabel="R@1 of 512", ylim=(0, None))
    for ax in axes[:2]:
        ax.set(xlabel="share of patches dropped", xticks=(0, 0.25, 0.5, 0.75, 1), xlim=(-0.05, 1.05))
        ax.legend()
    for training, marker in (("once", "o"), ("twice", "D")):
        for color, (mask, found) in zip(style.COLORS if training == "once" else style.COLORS[1:], recall(rows, training).items()):
            at = ratios(rows, training)[mask]
            axes[2].plot(at, found, ".", ms=4, color=color, alpha=0.45)
            label = f"mask {mask:g}" + (", twice the pairs" if training == "twice" else "")
            axes[2].plot(median(at), mean(found), marker, color=color, label=label)
    axes[2].set(title="For the time", xlabel="time over that without a mask", ylabel="R@1 of 512", xlim=(0, 1.3))
    axes[2].set_ylim(0, 1.7 * axes[2].get_ylim()[1])  # room for the legend
    axes[2].legend(loc="upper left")
    return figure
