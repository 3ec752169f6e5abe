"""One row of data as panels side by side: pictures with their masks and boxes, the slice of a volume, traces, vectors, a table's values."""

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmrep.data.transforms.masks import BOXES, masks_of

MODALITIES = ("image", "volume", "signal", "features", "tabular")
LINES = 12  # of a table that is drawn
COLORS = ("#ff4040", "#ffd040", "#40d0ff", "#60ff60", "#ff60ff", "#ffa060", "#a0a0ff")


def panels(row: dict) -> list[str]:
    """What of a row is drawn, in the order of MODALITIES, then an image's crops; at least one: a row of text alone has its place."""
    return [key for key in MODALITIES if key in row] + [key for key in row if key.startswith("image/")] or ["text"]


def draw(ax: Any, row: dict, present: dict, names: Mapping[str, Any] | None = None) -> None:
    """Draw a row's modalities into `ax`, side by side; present: modality -> bool, or bool[S] of several samples, as a batch has it;
    names: "tabular" -> its columns, "category" -> {column: values}, where they have names."""
    keys = panels(row)
    for i, key in enumerate(keys):
        inner = ax.inset_axes([i / len(keys), 0, (1 if len(keys) == 1 else 0.97) / len(keys), 1])
        inner.set_xticks([])
        inner.set_yticks([])
        for spine in inner.spines.values():
            spine.set(color="0.85")
        here = np.atleast_1d(np.asarray(present.get(key, row.get(key) is not None)))
        if key != "text" and (row[key] is None or not here.any()):
            inner.text(0.5, 0.5, f"no {key}", ha="center", va="center", transform=inner.transAxes, color="gray")
        elif key == "volume" or key.partition("/")[0] == "image":
            _picture(inner, key, row, here)
        elif key == "signal":
            signal = np.asarray(_first(row[key], 2), np.float32)
            step = float(np.ptp(signal)) / 2 or 1.0
            inner.plot(signal - step * np.arange(signal.shape[-1]), lw=0.5, color="k")
        elif key == "features":
            _features(inner, np.asarray(row[key]))
        elif key == "tabular":
            _table(inner, row, names or {})
    ax.axis("off")


def _picture(ax: Any, key: str, row: dict, here: np.ndarray) -> None:
    """All samples of an image, or the slice of a volume with most of its masks, else the middle one."""
    value, depth = row[key], 4 if key == "volume" else 3
    several = isinstance(value, list) or value.ndim > depth
    marked = {} if several else {name: np.asarray(row[name])[..., 0] for name in masks_of(row, key)}
    if key == "volume":
        area = sum(((mask > 0).sum((1, 2)) for mask in marked.values()), np.zeros(1))
        at = int(area.argmax()) if area.any() else len(_first(value, depth)) // 2
        marked = {name: mask[at] for name, mask in marked.items()}
        value = _first(value, depth)[at]
    elif several:
        value = _strip([np.asarray(one) for one in value], here)
    # the whole range of the dtype, not each picture's own: what is too dark for the model must look dark
    low, high = (0, np.iinfo(value.dtype).max) if value.dtype.kind == "u" else (-2, 2) if key != "volume" else (value.min(), value.max())
    gray = value.shape[-1] != 3
    ax.imshow(value[..., 0] if gray else np.clip((value.astype(np.float32) - low) / (high - low), 0, 1), cmap="gray", vmin=low, vmax=high,
              interpolation="nearest")
    color = 0
    for mask in marked.values():
        for number in np.unique(mask)[:len(COLORS) + 1]:
            if number > 0 and min(mask.shape) > 1:
                ax.contour(mask == number, levels=[0.5], colors=COLORS[color % len(COLORS)], linewidths=0.8)
                color += 1
    for top, left, bottom, right in np.reshape(row.get(BOXES, ()), (-1, 4)) if key == "image" and not several else ():
        height, width = value.shape[:2]
        if bottom > top and right > left:
            ax.add_patch(_rectangle(left * width - 0.5, top * height - 0.5, (right - left) * width, (bottom - top) * height))


def _rectangle(x: float, y: float, width: float, height: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), width, height, fill=False, edgecolor=COLORS[1], linewidth=0.8)


def _first(value: Any, depth: int) -> np.ndarray:
    """The first sample of several."""
    return np.asarray(value[0]) if isinstance(value, list) or np.ndim(value) > depth else value


def _strip(pictures: list[np.ndarray], here: np.ndarray) -> np.ndarray:
    """Pictures side by side at the height of the tallest; an absent one is middle gray."""
    height, channels = max(len(one) for one in pictures), max(one.shape[-1] for one in pictures)
    parts = []
    for i, one in enumerate(pictures):
        rows = np.arange(height) * len(one) // height
        columns = np.arange(max(one.shape[1] * height // len(one), 1)) * len(one) // height
        wide = np.repeat(one, channels, -1) if one.shape[-1] < channels else one
        part = wide[rows][:, np.minimum(columns, one.shape[1] - 1)]
        middle = np.iinfo(one.dtype).max // 2 if one.dtype.kind == "u" else 0
        parts.append(part if len(here) != len(pictures) or here[i] else np.full_like(part, middle))
    return np.concatenate(parts, 1)


def _features(ax: Any, values: np.ndarray) -> None:
    if values.ndim > 1:  # a bag: a line for each of its vectors
        ax.imshow(values.reshape(-1, values.shape[-1])[:256], aspect="auto", cmap="coolwarm", interpolation="nearest")
        return
    ax.bar(np.arange(values.size), values, width=1.0, color="#3070a0")
    ax.axhline(0, color="0.6", lw=0.5)


def _table(ax: Any, row: dict, names: Mapping[str, Any]) -> None:
    """A row's numbers and categories, a line each where they have names, else in their order; of several samples the numbers alone."""
    samples = np.atleast_2d(row["tabular"])
    codes = () if row.get("category") is None else np.atleast_2d(row["category"])
    columns, kinds = names.get("tabular") or (), names.get("category") or {}
    if len(samples) == 1 and len(columns) == samples.shape[1]:
        cells = [(name, f"{value:.4g}") for name, value in zip(columns, samples[0])]
        cells += [(name, str(values[code]) if 0 < code < len(values) else "-") for (name, values), code in zip(kinds.items(), codes[0])] \
            if len(codes) == 1 else []
        lines = [f"{_cut(str(name), 18)}  {_cut(value, 14)}" for name, value in cells]
        text = "\n".join(lines if len(lines) <= LINES else [*lines[:LINES - 1], f"and {len(lines) - LINES + 1} more"])
    else:
        numbers = [" ".join(f"{value:.4g}" for value in one[:48]) for one in samples]
        text = "\n\n".join(textwrap.fill(one, 24, max_lines=max(10 // len(numbers), 1), placeholder=" ...") for one in numbers)
        text += "\n".join(["\n\ncategories", *(" ".join(str(int(value)) for value in one[:24]) for one in codes)]) if len(codes) else ""
    ax.text(0.04, 0.96, text, ha="left", va="top", fontsize=7.5, transform=ax.transAxes)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most - 1] + "\u2026"


def labels(row: dict, names: Mapping[str, Any]) -> str:
    """A row's labels in words, "finding nodule, findings edema, effusion"; names: label/NAME -> its classes."""
    told = []
    for key, value in row.items():
        if not key.startswith("label/") or key == BOXES:
            continue
        value, known = np.asarray(value), names.get(key, ())
        shown: Any = np.round(value, 2) if value.dtype.kind == "f" else value
        if value.ndim == 0 and value.dtype.kind == "i":
            shown = known[int(value)] if 0 <= value < len(known) else "(none)" if value < 0 else value
        elif value.ndim == 1 and value.dtype.kind in "iu" and len(value) == len(known):
            signed = value.astype(int)
            found = [str(known[k]) for k in np.flatnonzero(signed == 1)] + [f"{known[k]}?" for k in np.flatnonzero(signed == -1)][:3]
            shown = "/".join(found) or "(none)"
        told.append(f"{key[6:]} {str(shown).replace(chr(10), '')}")
    return ", ".join(told)
