"""What the loader benchmark reads: JPEGs of 224 px and texts of 32 tokens, to 64 px, batch 256.

Command: mmrep bench data configs/bench_data.py[:decode=exact,cached,gray,augment]     (peers: experiments/loader)
`decode` is "fast" or "exact", `cached` keeps the prepared rows in memory, `gray` reads one channel, `augment` crops and jitters at random.
Without `path` (a folder with metadata.csv) it writes 2,048 pictures of waves and noise to the temporary folder, once.
"""

import csv
import getpass
import io
import tempfile
from pathlib import Path

import base
import numpy as np

from mmrep.config import parse_arg


def get_config(arg: str = ""):
    a = parse_arg(arg, smoke=False, path="", decode="fast", cached=False, gray=False, augment=False, batch=256, rows=2048)
    c = base.get_config()
    c.total = "2 steps" if a.smoke else "100 steps"
    rows, batch = (64, 16) if a.smoke else (a.rows, a.batch)
    tower = {"width": 32 if a.smoke else 192, "depth": 1 if a.smoke else 12, "heads": 2 if a.smoke else 3, "pool": "mean"}
    c.encoders = {"image": {"name": "vit", "patch": (16, 16), **tower}, "text": {"name": "text", **tower}}
    c.tokenizer = {"name": "byte", "length": 32}
    c.objectives = {"clip": {"name": "contrastive"}}
    path = a.path or str(write_table(Path(tempfile.gettempdir()) / f"mmrep-bench-data-{getpass.getuser()}-{rows}", rows))
    c.data = {"main": {
        "source": {"name": "manifest", "path": path, "channels": 1 if a.gray else 3, "decode": a.decode,
                   "size_hint": 96 if a.augment else 64, "columns": {"image": "image", "text": "text", "split": "split"}},
        "prepare": () if a.augment else ({"name": "resize", "size": 64},),
        "augment": ({"name": "random_crop", "size": 64}, {"name": "intensity"}) if a.augment else (),
        "batch": batch, "cache_mib": 1024 if a.cached else 0}}
    c.loader = {"threads": 2, "prefetch": 4}
    return c


def write_table(folder: Path, rows: int) -> Path:
    """JPEGs u8[224, 224, 3] of quality 90 (about 17 kB) and texts of 30 letters, all in train; written once."""
    from PIL import Image

    if (folder / "metadata.csv").is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    rng, side = np.random.default_rng(0), np.arange(224) / 223
    y, x = np.meshgrid(side, side)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz    "))
    table = io.StringIO()
    lines = csv.writer(table)
    lines.writerow(("image", "text", "split"))
    for row in range(rows):
        waves = sum(np.sin(2 * np.pi * (rng.integers(1, 7) * x + rng.integers(1, 7) * y + rng.random()))[..., None] * rng.random(3)
                    for _ in range(5))
        pixels = np.clip(128 + 25 * waves + 8 * rng.standard_normal((224, 224, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{row:05d}.jpg", quality=90)
        lines.writerow((f"{row:05d}.jpg", "x" + "".join(rng.choice(letters, 28)) + "x", "train"))
    part = folder / "metadata.part"
    part.write_text(table.getvalue())
    part.rename(folder / "metadata.csv")
    return folder
