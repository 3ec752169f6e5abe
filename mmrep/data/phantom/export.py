"""The phantom as a table of pictures on disk: something to try the manifest source on before one's own data is at hand."""

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np

from mmrep.data.phantom.latents import CLASSES, LATERALITIES
from mmrep.data.phantom.source import phantom


def write_table(folder: str | Path, n: int = 48, size: int = 32, seed: int = 0) -> Path:
    """Write n training and n // 3 validation and test subjects as `images/*.png` and `metadata.jsonl`; returns the table.

    Columns: image, caption, case_id, split (train | dev | test), type (laterality), location_category (class), caption_ok.
    A folder that is there already is left as it is; a new one appears whole or not at all. Raises OSError.
    """
    from PIL import Image

    folder = Path(folder)
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=folder.name + ".part"))
        (part / "images").mkdir()
        rows = []
        for split, name, count in (("train", "train", n), ("val", "dev", n // 3), ("test", "test", n // 3)):
            block = phantom(split, seed=seed, n=count, size=size, modalities=("image", "text")).block(np.arange(count))
            for i in range(count):
                image = f"images/{name}{i:04d}.png"
                Image.fromarray(block["image"][i, ..., 0]).save(part / image)
                rows.append({"image": image, "caption": block["text"][i], "case_id": f"{name}-{i}", "split": name,
                             "type": LATERALITIES[block["label/laterality"][i]],
                             "location_category": CLASSES[block["label/class"][i]], "caption_ok": True})
        (part / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        try:
            part.rename(folder)
        except OSError:  # another process was first
            shutil.rmtree(part, ignore_errors=True)
            if not folder.is_dir():
                raise
    return folder / "metadata.jsonl"
