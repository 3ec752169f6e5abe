"""The picture of a run: curves, retrieval, and a 2-D map of both modalities' embeddings."""

from pathlib import Path

import numpy as np

from mmrep.summary import ceiling, chance
from mmrep.writers import read_rows

BLUE, RED, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8C8C8C"  # Okabe-Ito: safe for color-blind readers


def run_figure(workdir: Path, results: dict, features: dict | None) -> Path:
    """Draw WORKDIR/figure.png from metrics.jsonl, results and the test features."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure  # without pyplot, whose backend and settings are the caller's

    with rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10,
                     "axes.titleweight": "bold", "axes.titlelocation": "left"}):
        fig = Figure(figsize=(15, 3.6), layout="constrained")
        axes = fig.subplots(1, 4, width_ratios=(1.1, 1, 1.25, 1.1))
        _curves(axes[0], read_rows(workdir / "metrics.jsonl"))
        _retrieval(axes[1], results)
        _probes(axes[2], results)
        _map(axes[3], features)
        part = workdir / "figure.part.png"
        fig.savefig(part, dpi=130)
    part.replace(workdir / "figure.png")
    return workdir / "figure.png"


def _curves(ax, rows: list[dict]) -> None:
    rows = [r for r in rows if "loss" in r]
    steps = [r["step"] for r in rows]
    losses = [r["loss"] for r in rows]
    ax.plot(steps, losses, color=BLUE, lw=1.2, marker="o" if len(steps) < 10 else None, ms=4)
    ax.set(title="Training loss", xlabel="step", ylabel="loss")
    if losses and min(losses) >= 0 and max(losses) > 0:
        ax.set_ylim(0, 1.05 * max(losses))
    if rows and "lr" in rows[0]:
        twin = ax.twinx()
        twin.plot(steps, [r["lr"] for r in rows], color=GREY, lw=1, ls=":")
        twin.set_ylabel("learning rate (dotted)", color=GREY)
        twin.tick_params(colors=GREY)
        twin.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
        twin.spines["right"].set_visible(True)
        twin.spines["right"].set_color(GREY)


def _retrieval(ax, results: dict) -> None:
    m = results["metrics"]
    ways = sorted({k.split("/")[1] for k in m if k.startswith("retrieval/") and "_to_" in k}, key=lambda w: (w != "image_to_text", w))
    ax.set(title="Retrieval" + (f", {ways[0].replace('_', ' ')}" if ways else ""), xlabel="k", ylabel="R@k")
    if not ways:
        ax.text(0.5, 0.5, "no retrieval evaluator", ha="center", transform=ax.transAxes, color=GREY)
        return
    way = f"retrieval/{ways[0]}"
    ks = sorted({int(k.split("R@")[1].split("/")[0]) for k in m if k.startswith(f"{way}/R@")})
    x = range(len(ks))
    for kind, color, mark in (("group", GREEN, "s"), ("instance", BLUE, "o")):
        found = [m[f"{way}/R@{k}/{kind}"] for k in ks]
        y = np.array([f["value"] for f in found])
        err = np.abs(np.array([[f["value"] - f["low"], f["high"] - f["value"]] for f in found]).T)
        ax.errorbar(x, y, err, color=color, marker=mark, ms=4, lw=1.2, capsize=2, label=kind)
        for bound, line, what in ((chance, ":", "chance"), (ceiling, "--", "ceiling")):  # each kind's own
            values = [bound(f"{way}/R@{k}/{kind}", m) for k in ks]
            if None not in values:
                ax.plot(x, values, color=color, ls=line, lw=1, label=f"{what} ({kind})")
    ax.set_xticks(list(x), [str(k) for k in ks])
    ax.set_ylim(0, 1.5)  # room for the legend above the curves
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1])
    ax.legend(frameon=False, fontsize=8, ncols=2, loc="upper left")


def _probes(ax, results: dict) -> None:
    wanted = [k for k in results["metrics"] if k.startswith(("probe/", "zeroshot/", "supervised/")) and (
        k.endswith(("/auroc", "/top1")) or k.startswith("probe/") and k.endswith("/accuracy") and "%" not in k)]
    ax.set(title=f"Classification on {results['split']}", xlabel="AUROC or accuracy")
    for i, name in enumerate(wanted[::-1]):
        found = results["metrics"][name]
        ax.errorbar(found["value"], i, xerr=[[max(found["value"] - found["low"], 0)], [max(found["high"] - found["value"], 0)]],
                    color=BLUE, marker="o", ms=4, capsize=2, label="trained" if i == 0 else None)
        guess = chance(name, results["metrics"])
        if guess is not None:
            ax.plot([guess] * 2, [i - 0.3, i + 0.3], color=GREY, lw=1, ls=":", label="chance" if i == 0 else None)
        for control, color, mark in (("untrained", GREY, "x"), ("raw_pca", RED, "+")):
            other = results["controls"].get(control, {}).get(name)
            if other:
                ax.plot(other["value"], i, mark, color=color, ms=6, ls="")
    for control, color, mark in (("untrained", GREY, "x"), ("raw_pca", RED, "+")):
        if any(name in results["controls"].get(control, {}) for name in wanted):
            ax.plot([], [], mark, color=color, label=control.replace("_pca", " PCA"), ls="")
    ax.set_yticks(range(len(wanted)), wanted[::-1], fontsize=8)
    ax.set_xlim(0, 1.02)
    if not wanted:
        ax.text(0.5, 0.5, "no evaluator classifies", ha="center", transform=ax.transAxes, color=GREY)
    if wanted:
        ax.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.4, -0.16), ncols=4)


def _map(ax, features: dict | None) -> None:
    import matplotlib

    ax.set(title="Embeddings (PCA of both)", xticks=[], yticks=[])
    found = sorted({k.split("/")[0] for k in features or () if k.endswith("/embedding")}, key=lambda m: (m not in ("image", "text"), m))
    pair = found[:2]
    if len(pair) < 2:
        ax.text(0.5, 0.5, "nothing was embedded in two modalities", ha="center", transform=ax.transAxes, color=GREY)
        return
    few = np.linspace(0, len(features["index"]) - 1, min(600, len(features["index"]))).astype(int)
    features = {k: v[few] for k, v in features.items() if len(v) == len(features["index"])}
    both = np.concatenate([features[f"{m}/embedding"][features[f"present/{m}"]] for m in pair])
    if min(both.shape) < 2:
        ax.text(0.5, 0.5, "fewer than two embeddings", ha="center", transform=ax.transAxes, color=GREY)
        return
    centered = both - both.mean(0)
    xy = centered @ np.linalg.svd(centered, full_matrices=False)[2][:2].T
    n = int(features[f"present/{pair[0]}"].sum())
    key = next((k for k in sorted(features) if k.startswith("label/") and _classes(features[k])), None)
    ax.set_title("Embeddings (PCA of both)")
    ax.set_xlabel(f"color: {key[6:]}" if key else "")
    for part, m, mark, plain in ((xy[:n], pair[0], "o", BLUE), (xy[n:], pair[1], "^", RED)):
        label = features[key][features[f"present/{m}"]] if key else None
        tab10 = matplotlib.colormaps["tab10"]
        color = {"color": plain} if label is None else {"c": [tab10(v) if v >= 0 else GREY for v in label]}
        ax.scatter(*part.T, s=11, marker=mark, alpha=0.65, lw=0, **color)
        ax.plot([], [], mark, color=plain if label is None else GREY, ls="", ms=5, label=m)  # the key: a shape a modality
    ax.legend(frameon=False, fontsize=8, loc="best", handletextpad=0.2)


def _classes(label: np.ndarray) -> bool:
    """Whether a label is a class of ten or fewer, which ten colors can tell apart."""
    return label.ndim == 1 and label.dtype.kind == "i" and label.max(initial=-1) < 10 and len(np.unique(label)) > 1
