"""`mmrep data show`: a contact sheet of decoded training batches, as the model gets them."""

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data import pipeline, streams, survey


def show(config: Any, out: Path, rows: int = 16, say: Callable[[str], None] = print) -> Path:
    """Draw the first rows of the first training batch of every stream: pictures, tokens decoded, labels; say what a user may not
    expect of them (`survey.surprises`)."""
    if out.suffix != ".png":
        raise ValueError(f"--out {out}: write to a .png file")
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    streams.check_streams(config.data)
    sources = {n: streams.open_source(s, "train", f"config.data.{n}") for n, s in config.data.items()}
    streams.check_sizes(config, sources)
    tokenizer = streams.open_tokenizer(config, sources)
    cells, scales = [], survey.scales(config)
    for name, stream in config.data.items():
        transform = streams.stream_transform(stream, tokenizer, config.tokenizer.length, True, f"config.data.{name}")
        for line in survey.surprises(name, sources[name], transform, tokenizer, config.tokenizer.length, scales):
            say(line)
        with pipeline.train_batches(sources[name], stream.batch, streams.stream_seed(config.seed, name), transform, steps=1,
                                    on_error=stream.get("on_error")) as batches:
            batch = next(batches)
        for i in range(min(rows, len(batch["index"]))):
            cells.append((name, {k: v[i] for k, v in batch.items() if k != "present"},
                          {k: v[i] for k, v in batch["present"].items()}))
    columns = min(4, len(cells))
    lines = -(-len(cells) // columns)
    fig, axes = plt.subplots(lines, columns, figsize=(3.6 * columns, 3.5 * lines), squeeze=False, layout="constrained")
    for ax in axes.flat:
        ax.axis("off")
    for ax, (name, row, present) in zip(axes.flat, cells):
        _cell(ax, name, row, present, tokenizer, getattr(sources[name], "label_names", {}))
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.stem + ".part.png")
    fig.savefig(part, dpi=80)
    plt.close(fig)
    part.replace(out)
    return out


def _cell(ax: Any, name: str, row: dict, present: dict, tokenizer: Any, names: dict[str, list]) -> None:
    if "image" in row and np.all(present["image"]):
        image = row["image"]
        image = np.concatenate(list(image), 1) if image.ndim == 4 else image  # several samples side by side
        # the whole range of the dtype, not each picture's own: what is too dark for the model must look dark
        low, high = (0, np.iinfo(image.dtype).max) if image.dtype.kind == "u" else (-2, 2)
        shown = image.squeeze() if image.shape[-1] == 1 else np.clip((image.astype(np.float32) - low) / (high - low), 0, 1)
        ax.imshow(shown, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    elif "image" in row:
        ax.text(0.5, 0.5, "no image", ha="center", va="center", transform=ax.transAxes, color="gray")
    labels = []
    for key, value in row.items():
        if key.startswith("label/"):
            value, known = np.asarray(value), names.get(key[6:], ())
            shown = np.round(value, 2) if value.dtype.kind == "f" else value
            if value.ndim == 0 and value.dtype.kind == "i" and 0 <= value < len(known):
                shown = known[int(value)]
            elif value.ndim == 0 and value.dtype.kind == "i" and value < 0:
                shown = "(none)"
            labels.append(f"{key[6:]} {str(shown).replace(chr(10), '')}")
    ax.set_title(textwrap.fill(f"{name} {row['index']}  " + ", ".join(labels), 52), fontsize=6.5, loc="left")
    if "text" in row:
        tokens = row["text"] if np.ndim(row["text"]) == 1 else row["text"][0]
        text = tokenizer.decode(tokens) if np.all(present["text"]) else "(no text)"
        ax.text(0, -0.03, textwrap.fill(text, 52, max_lines=6, placeholder=" ..."), fontsize=7, va="top", transform=ax.transAxes)
