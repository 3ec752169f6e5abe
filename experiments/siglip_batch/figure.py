"""R@1 of both losses against batch size and wrong pairs, and of the sigmoid against its start, beside the authors' numbers."""

from mmrep.sweeps import style
from mmrep.sweeps.results import mean, values

WAYS = ("retrieval/x1_to_x2/R@1/instance", "retrieval/x2_to_x1/R@1/instance")
USUAL = "b -10, t' log 10"
FAR, NEAR = ("b 0", "t' log 1"), ("b -7.5", "t' log 5")  # one-sided starts: of table 4, and of the control
# table 4: zero-shot ImageNet at batch 8,192
PUBLISHED = {USUAL: 63.0, "b 0, t' log 10": 61.7, "b -10, t' log 1": 61.0, "b 0, t' log 1": 53.7}
COLORS = {"sigmoid": style.BLUE, "softmax": style.RED}


def found(rows: list, by: str, **equal) -> dict:
    """{value of `by`: R@1 by seed, the mean of both directions}."""
    ways = [values(rows, metric, by=by, **equal) for metric in WAYS]
    return {key: [mean(pair) for pair in zip(*(way[key] for way in ways))] for key in ways[0]}


def batches(rows: list, loss: str) -> dict[int, list[float]]:
    return found(rows, "batch", loss=loss, noise=0.0, start=USUAL)


def noisy(rows: list, loss: str) -> dict[float, list[float]]:
    """At the batch of the wrong pairs, which is the one that softmax has them at."""
    batch = next(r["batch"] for r in rows if r["loss"] == "softmax" and r["noise"])
    return found(rows, "noise", loss=loss, batch=batch, start=USUAL)


def starts(rows: list) -> dict[str, list[float]]:
    batch = next(r["batch"] for r in rows if r["start"] != USUAL)
    return found(rows, "start", loss="sigmoid", batch=batch, noise=0.0)


def measure(rows: list) -> dict[str, float]:
    out = {}
    for name, curve in (("batch", batches), ("noise", noisy)):
        ours, theirs = curve(rows, "sigmoid"), curve(rows, "softmax")
        out |= {f"R@1 of {loss}/{name} {x:g}": mean(v) for loss, line in (("sigmoid", ours), ("softmax", theirs)) for x, v in line.items()}
        out |= {f"advantage of sigmoid/{name} {x:g}": mean(ours[x]) - mean(theirs[x]) for x in theirs}
        out |= {f"distance of the losses/{name} {x:g}": abs(mean(ours[x]) - mean(theirs[x])) for x in theirs}
    r = {start: mean(v) for start, v in starts(rows).items()}
    out |= {f"R@1 of start {start}": v for start, v in r.items()}
    for bias, warm in (FAR, NEAR):
        one, other, both = r[f"{bias}, t' log 10"], r[f"b -10, {warm}"], r[f"{bias}, {warm}"]
        out |= {f"usual start less {bias}": r[USUAL] - one, f"usual start less {warm}": r[USUAL] - other,
                f"better of the one-sided starts less {bias}, {warm}": max(one, other) - both, f"{bias} less {warm}": one - other}
    return out


def draw(rows: list):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(7.2, 2.7), width_ratios=(1, 1, 1.15))
    for loss, color in COLORS.items():
        line = batches(rows, loss)
        style.over_seeds(axes[0], list(line), list(line.values()), color=color, label=loss)
        line = noisy(rows, loss)
        style.over_seeds(axes[1], list(line), list(line.values()), color=color, label=loss)
    axes[0].set(title="Batch size", xscale="log", xlabel="batch", ylabel="R@1", ylim=(None, 1.01))
    axes[0].set_xticks(list(batches(rows, "softmax")), list(map(str, batches(rows, "softmax"))))
    axes[0].minorticks_off()
    axes[0].legend(loc="lower right")
    axes[1].set(title="Wrong pairs", xlabel="share of wrong training pairs", ylim=(-0.02, 1.02))
    axes[1].legend(loc="upper right")
    ours = starts(rows)
    order = sorted(PUBLISHED, key=PUBLISHED.get)
    axes[2].barh([i + 0.2 for i in range(4)], [mean(ours[s]) for s in order], 0.38, color=style.BLUE, label="ours: R@1")
    for i, start in enumerate(order):
        axes[2].plot(ours[start], [i + 0.2] * len(ours[start]), ".", color=style.BLACK, ms=3)
    axes[2].barh([i - 0.2 for i in range(4)], [PUBLISHED[s] / 100 for s in order], 0.38, color=style.SKY, label="published: ImageNet")
    axes[2].set_yticks(range(4), order)
    axes[2].set(title="Start of the sigmoid", xlabel="R@1 (ours), accuracy (published)", xlim=(0, 1.0), ylim=(-0.6, 4.6))
    axes[2].legend(loc="upper left", ncols=2, columnspacing=1.0, handlelength=1.2)
    return figure
