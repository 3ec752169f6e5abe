"""A contact sheet of phantom subjects in all modalities. Command: python -m experiments.headroom.sheet --out runs/phantom.png"""

import argparse
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.phantom import CATEGORIES, CLASSES, COLUMNS, FINDINGS, LATERALITIES, LEADS, MODALITIES, ORGANS, RHYTHMS, SEVERITIES, ZONES
from mmrep.data.phantom import phantom as open_phantom
from mmrep.data.phantom.signal import FEW
from mmrep.data.phantom.source import SCALES

PAPER = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"), ("II",))


def truth(block: dict, i: int) -> str:
    """What a subject has, in words."""
    found = [name for name, there in zip(FINDINGS, block["label/findings"][i]) if there]
    where = f"{LATERALITIES[block['label/laterality'][i]]} {ZONES[block['label/zone'][i]]}"
    lesion = f"{SEVERITIES[block['label/severity_bin'][i]]} {CLASSES[block['label/class'][i]]} lesion, {where}"
    return (f"{ORGANS[block['label/organ'][i]]}, {lesion}; "
            f"{', '.join(found) or 'no finding'}; {RHYTHMS[block['label/rhythm'][i]]}")


def ecg(ax: Any, signal: np.ndarray, rate: float) -> None:
    """A record f32[T,leads] in millivolt as on paper: twelve leads in three rows of four and lead II below over the whole time; few leads
    one below the other."""
    names = LEADS if signal.shape[1] == 12 else FEW
    lead, seconds = dict(zip(names, signal.T - np.median(signal, 0)[:, None])), len(signal) / rate
    rows = PAPER if len(names) == 12 else [(name,) for name in names]
    for r, shown in enumerate(rows):
        for k, name in enumerate(shown):
            part = slice(len(signal) * k // len(shown), len(signal) * (k + 1) // len(shown))
            ax.plot(np.arange(len(signal))[part] / rate, lead[name][part] - 2.0 * r, color="black", linewidth=0.6)
            ax.text(seconds * k / len(shown) + 0.05, 0.8 - 2.0 * r, name, fontsize=8)
    low, high = -2.0 * len(rows) + 0.8, 1.6
    ax.set(xlim=(0, seconds), ylim=(low, high), xticks=np.arange(0, seconds, 0.2), yticks=np.arange(np.ceil(low * 2) / 2, high, 0.5))
    ax.grid(color="tab:red", alpha=0.25, linewidth=0.4)
    ax.tick_params(length=0, labelbottom=False, labelleft=False)
    ax.set_title("ECG, a square is 0.2 s and 0.5 mV", fontsize=8)


def sheet(out: Path, n: int = 10, scale: str = "paper", seed: int = 0) -> Path:
    """Write a PNG: a row a subject: image with its boxes, a slice through the lesion, the volume's mean, ECG, report, table, omics."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    block = open_phantom("train", seed=seed, n=n, scale=scale, modalities=MODALITIES, masks=True).block(np.arange(n))
    figure = Figure(figsize=(24, 3.4 * n), layout="constrained")
    axes = figure.subplots(n, 6, width_ratios=[1, 1, 1, 2.5, 1.8, 1], squeeze=False)
    for i, row in enumerate(axes):
        picture, volume = block["image"][i, ..., 0], block["volume"][i, ..., 0]
        lesion = np.flatnonzero((block["mask/volume"][i, ..., 0] == 1).any((1, 2)))
        for ax, shown, title in ((row[0], picture, "image; coded: lesion (red), findings"),
                                 (row[1], volume[lesion[len(lesion) // 2]], "volume: slice at the lesion"),
                                 (row[2], volume.mean(0), "volume: mean along the depth")):
            ax.imshow(shown, cmap="gray")
            ax.set(xticks=[], yticks=[])
            ax.set_title(title, fontsize=8)
            ax.text(0.02, 0.98, "R", color="white", fontsize=11, va="top", transform=ax.transAxes)  # as on film: the patient's right
        for k, (top, left, bottom, right) in enumerate(block["label/boxes"][i] * len(picture)):
            if bottom > top:
                color = "tab:red" if k == 0 else "tab:orange"
                row[0].add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=color, linewidth=0.8))
                if k:
                    at_left = left < 0.6 * len(picture)  # else the name would leave the picture
                    x, ha = (left, "left") if at_left else (right, "right")
                    row[0].text(x, top, FINDINGS[k - 1], ha=ha, va="bottom", color=color, fontsize=8, bbox={"color": "black", "pad": 0.5})
        ecg(row[3], block["signal"][i], SCALES[scale]["rate"])
        table = [f"{name} {value:.4g}" for name, value in zip((*COLUMNS, *CATEGORIES), (*block["tabular"][i][:10], *block["category"][i]))]
        for name, words, high in (("truth", truth(block, i), 1), ("report", block["text"][i], 0.69), ("table", ", ".join(table), 0.38)):
            row[4].text(0, high, name, fontsize=8, color="0.4", va="top")
            row[4].text(0, high - 0.06, textwrap.fill(words, 54), fontsize=10, va="top")
        row[4].axis("off")
        row[5].bar(np.arange(64), block["features"][i][:64], color="tab:blue")
        row[5].set_title("omics, 64 genes", fontsize=8)
        row[5].set(xticks=[])
    FigureCanvasAgg(figure)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=70)
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/phantom.png"))
    parser.add_argument("--n", type=int, default=10)
    parser.add_argument("--scale", default="paper")
    args = parser.parse_args()
    print("wrote", sheet(args.out, args.n, args.scale))
