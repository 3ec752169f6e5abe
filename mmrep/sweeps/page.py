"""A report of many runs as one HTML page that needs nothing else: no network, no libraries. What it shows is in the folder `page/`."""

import base64
import html
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.sweeps.tables import plain

PARTS = Path(__file__).with_name("page")
SCRIPTS = ("base", "head", "chart", "results", "runs", "parallel", "detail", "map", "start")
SIDE = 48  # pixels of a thumbnail
LEADS = 3  # of a signal that are drawn


def page(data: dict[str, Any]) -> str:
    """The page as text. data, of plain JSON values (any list may be empty, any map or curve None):

    study, config, generated, commit, device: texts; axes, metrics, shown (metrics of the study's tables), problems: lists of texts
    runs: [{run, tag, seed, axes {name: value}, state "finished" | "failed" | "stopped" | "waiting", error, tries, step, seconds,
        values {metric: [value, low, high, n]}, controls {name: {metric: value}}, curve {"step": [...], key: [...]} | None, map | None}]
    map: {rows, pair [two modalities], xy {modality: [[x, y], ...]}, label {name, values, names} | None, data (a key of pictures),
        retrieval [{from, query (a row), found [[row, cosine], ...]}]}
    pictures: {key: {"images": {row: data URI}, "texts": {row: text}}}
    summary: of `compare.summarize`; comparisons: of `compare.compare`
    Values, curves and the like are rounded to 5 significant digits; NaN and infinities become null.
    """
    text = json.dumps(packed(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # "<" would let a text close the script element or open a comment; the others end lines in old JavaScript
    for sign in "<\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    parts = {"title": html.escape(f"{data['study']}: report"), "css": (PARTS / "page.css").read_text(encoding="utf-8"), "data": text,
             "script": "\n".join((PARTS / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)}
    return re.sub(r"<!--(\w+)-->", lambda m: parts[m[1]], (PARTS / "page.html").read_text(encoding="utf-8"))


def packed(data: dict[str, Any]) -> dict[str, Any]:
    """The data as the page's script reads them: values and controls as lists in the order of `metrics`, and the lists of curves and maps as
    their numbers in "pool", for many runs have the same steps, rates and rows."""
    metrics = list(dict.fromkeys([*data["metrics"], *(m for run in data["runs"] for m in run["values"])]))
    pool: dict[str, int] = {}

    def number(values: list) -> int:
        return pool.setdefault(json.dumps(short(values), separators=(",", ":")), len(pool))

    def one(run: dict) -> dict:
        curve, found = run["curve"], run["map"]
        if found is not None:
            kept = ("pair", "retrieval", "data")
            label = found["label"] and short(found["label"]) | {"values": number(found["label"]["values"])}
            found = {k: short(found[k]) for k in kept} | {"xy": short(found["xy"], 4), "rows": number(found["rows"]), "label": label}
        return {k: plain(run[k]) for k in ("run", "tag", "seed", "axes", "state", "error", "tries", "step")} | {
            "values": short([run["values"].get(m) for m in metrics]) if run["values"] else [], "seconds": short(run["seconds"]),
            "controls": {name: short([of.get(m) for m in metrics]) for name, of in run["controls"].items()},
            "curve": curve and {key: number(values) for key, values in curve.items()}, "map": found}

    runs = [one(run) for run in data["runs"]]
    tables = {key: [short(row) | {"axes": plain(row["axes"])} if "axes" in row else short(row) for row in data[key]]
              for key in ("summary", "comparisons")}
    return plain({k: v for k, v in data.items() if k not in tables and k != "runs"}) | tables | {
        "metrics": metrics, "runs": runs, "pool": [json.loads(text) for text in pool]}


def short(value: Any, digits: int = 5) -> Any:
    """A plain value whose floats have so many significant digits; whole numbers stay, NaN and infinities become None."""
    if isinstance(value, dict):
        return {k: short(v, digits) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [short(v, digits) for v in value]
    if isinstance(value, float):
        value = float(f"{value:.{digits}g}") if math.isfinite(value) else None
        return int(value) if value is not None and value.is_integer() and abs(value) < 1e15 else value
    return value


def thumbnail(array: np.ndarray) -> str:
    """A picture of at most 48 x 48 pixels as a data URI of a PNG.

    An image u8[H, W] or u8[H, W, C], the middle slice of a volume u8[D, H, W(, C)] (or the middle one of several views), a signal
    f32[T(, leads)] as lines. Other numbers than u8 are stretched from their least to their largest. Raises ValueError for other shapes.
    """
    from PIL import Image

    x = np.asarray(array)
    if not x.size or x.ndim > 4 or x.ndim == 0:
        raise ValueError(f"thumbnail: {x.dtype}{list(x.shape)} is no image, volume or signal")
    if x.ndim == 1 or (x.ndim == 2 and x.dtype.kind == "f"):
        return _uri(_lines(x.reshape(len(x), -1)))
    if x.ndim == 4 or (x.ndim == 3 and x.shape[2] > 4):
        x = x[len(x) // 2]
    if x.dtype != np.uint8:
        x = np.nan_to_num(x.astype(np.float64))
        x = ((x - x.min()) * (255 / (np.ptp(x) or 1))).astype(np.uint8)
    x = x if x.ndim == 2 or x.shape[2] in (3, 4) else x[:, :, 0]
    image = Image.fromarray(np.ascontiguousarray(x[..., :3]) if x.ndim == 3 else np.ascontiguousarray(x))
    image.thumbnail((SIDE, SIDE))
    return _uri(image)


def _lines(x: np.ndarray) -> Any:
    """The first leads of a signal, [T, leads], above each other: drawn four times as large, then reduced, for smooth lines."""
    from PIL import Image, ImageDraw

    large, leads = SIDE * 4, min(x.shape[1], LEADS)
    image = Image.new("L", (large, large), 255)
    draw = ImageDraw.Draw(image)
    for lead in range(leads):
        y = np.nan_to_num(x[:: max(1, len(x) // large), lead].astype(np.float64))
        y = (y - y.min()) / (np.ptp(y) or 1)
        across = np.linspace(4, large - 4, len(y))
        down = (lead + 0.92 - 0.84 * y) * (large / leads)
        draw.line(list(zip(across.tolist(), down.tolist())), fill=30, width=4)
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _uri(image: Any) -> str:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
