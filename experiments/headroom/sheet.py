"""A contact sheet of phantom subjects in all modalities. Command: python -m experiments.headroom.sheet --out runs/phantom.png"""

import argparse
import textwrap
from pathlib import Path

import numpy as np

from mmrep.data.phantom import CATEGORIES, CLASSES, COLUMNS, FINDINGS, LATERALITIES, LEADS, MODALITIES, ORGANS, RHYTHMS, SEVERITIES, ZONES
from mmrep.data.phantom import phantom as open_phantom
from mmrep.data.phantom.signal import FEW


def truth(block: dict, i: int) -> str:
    """What a subject has, in words."""
    found = [name for name, there in zip(FINDINGS, block["label/findings"][i]) if there]
    where = f"{LATERALITIES[block['label/laterality'][i]]} {ZONES[block['label/zone'][i]]}"
    lesion = f"{SEVERITIES[block['label/severity_bin'][i]]} {CLASSES[block['label/class'][i]]} lesion, {where}"
    return (f"{ORGANS[block['label/organ'][i]]}, {lesion}; "
            f"{', '.join(found) or 'no finding'}; {RHYTHMS[block['label/rhythm'][i]]}")


def sheet(out: Path, n: int = 10, scale: str = "paper", seed: int = 0) -> Path:
    """Write a PNG: a row a subject: image with its boxes, a slice through the lesion, the volume's mean, ECG, report, table, omics."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    block = open_phantom("train", seed=seed, n=n, scale=scale, modalities=MODALITIES, masks=True).block(np.arange(n))
    figure = Figure(figsize=(21, 2.9 * n), layout="constrained")
    axes = figure.subplots(n, 6, width_ratios=[1, 1, 1, 2.2, 1.5, 1.5], squeeze=False)
    for i, row in enumerate(axes):
        picture, volume = block["image"][i, ..., 0], block["volume"][i, ..., 0]
        lesion = np.flatnonzero((block["mask/volume"][i, ..., 0] == 1).any((1, 2)))
        for ax, shown, title in ((row[0], picture, "image"), (row[1], volume[lesion[len(lesion) // 2]], "volume: slice at the lesion"),
                                 (row[2], volume.mean(0), "volume: mean along the depth")):
            ax.imshow(shown, cmap="gray")
            ax.set(xticks=[], yticks=[])
            ax.set_title(title, fontsize=8)
        for k, (top, left, bottom, right) in enumerate(block["label/boxes"][i] * len(picture)):
            if bottom > top:
                color = "tab:red" if k == 0 else "tab:orange"
                row[0].add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=color, linewidth=0.8))
        row[0].set_ylabel(textwrap.fill(truth(block, i), 26), fontsize=7)
        signal = block["signal"][i]
        names = LEADS if signal.shape[1] == 12 else FEW
        for k, name in enumerate(names):
            row[3].plot(signal[:, k] - signal[:, k].mean() - 2 * k, color="black", linewidth=0.5)
            row[3].text(0, -2 * k + 0.5, name, fontsize=6)
        row[3].set(xticks=[], yticks=[])
        row[3].set_title("ECG", fontsize=8)
        table = [f"{name} {value:g}" for name, value in zip((*COLUMNS, *CATEGORIES), (*block["tabular"][i][:10], *block["category"][i]))]
        row[4].text(0, 1, textwrap.fill(block["text"][i], 44) + "\n\n" + textwrap.fill(", ".join(table), 44), fontsize=7, va="top")
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
