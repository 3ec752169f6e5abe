"""A table of pictures whose traps are known: what validate, overlap and split are tested on."""

import io
import json

import numpy as np
from PIL import Image

from mmrep.data.phantom import phantom

SPLITS = ["train"] * 24 + ["val"] * 8 + ["test"] * 8
PICTURES = phantom("train", n=60, size=64).block(np.arange(60))["image"][..., 0]


def jpeg(pixels, quality=92):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality)
    return out.getvalue()


def changed(pixels):
    """The same picture as another site would store it: smaller, darker, of lower quality."""
    small = np.asarray(Image.fromarray(pixels).resize((48, 48), Image.Resampling.LANCZOS))
    return jpeg((small * 0.8 + 10).astype(np.uint8), 90)


def write(folder, first=0, name=lambda i: f"{i:04d}.jpg", rows=None, **changes):
    """40 rows, one picture each; changes: {row: {column: value}} by `rows`. Returns metadata.jsonl; patients are PATIENT-..., two rows
    each."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for i, split in enumerate(SPLITS):
        (folder / name(i)).write_bytes(jpeg(PICTURES[(first + i) % 60]))
        line = {"file": name(i), "report": f"Report number {first + i}.", "dx": "ab"[i % 2], "patient": f"PATIENT-{first + i // 2}",
                "split": split}
        lines.append(line | (rows or {}).get(i, {}))
    path = folder / "metadata.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def spec(path, **more):
    columns = {"image": "file", "text": "report", "label": {"dx": "dx"}, "case": "patient"}
    return {"source": {"name": "manifest", "path": str(path), "columns": columns | more.pop("columns", {})} | more}
