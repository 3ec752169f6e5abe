"""CLIP on images and texts of your own: a table with one row an image (CSV, TSV, JSONL or Parquet) and a folder of pictures.

  mmrep train configs/clip_table.py:path=table.csv,text=report,label=finding,case=patient --workdir runs/mine

The argument names the table (path), the pictures' folder, zip or npz (images; without it the table's folder) and the columns:
image (file names), text, split (train, val or test of every row), and, where there are such, label (a class or a finding; judged
by a linear probe) and case (the patient; what intervals resample by). Rows of equal text are positives of each other. Everything else
by --config.KEY=VALUE, or in a copy of this file. `:smoke` alone writes a small table of synthetic subjects to the temporary folder and
trains on that.
"""

import getpass
import tempfile
from pathlib import Path

import base

from mmrep.config import parse_arg


def get_config(arg: str = ""):
    a = parse_arg(arg, path="", images="", image="image", text="caption", split="split", label="", case="", channels=1, size=64,
                  smoke=False)
    c = base.get_config()
    c.total = "2 steps" if a.smoke else "60 epochs"
    width, depth = (32, 1) if a.smoke else (128, 6)
    c.encoders = {
        "image": {"name": "vit", "patch": (8, 8), "width": width, "depth": depth, "heads": 4, "pool": "mean",
                  "positions": "sincos"},
        "text": {"name": "text", "width": width, "depth": max(depth // 2, 1), "heads": 4, "pool": "mean"},
    }
    c.inputs = {"image": {"mean": 0.5, "std": 0.25}}  # the run says at its start where your pixels are far from this
    c.tokenizer = {"name": "wordpiece", "vocab_size": 4096, "length": 64}
    # half of the patches in every step (FLIP, Li 2023): twice the epochs in the same time
    c.objectives = {"clip": {"name": "contrastive", "temperature": 0.1, "a": {"modality": "image", "mask": 0.5}}}
    columns = {"image": a.image, "text": a.text, "group": a.text, "split": a.split}
    columns |= {"case": a.case} if a.case else {}
    columns |= {"label": {a.label: a.label}} if a.label else {}
    c.data = {"main": {
        "source": {"name": "manifest", "path": a.path, "channels": a.channels, "columns": columns, "splits": {}, "filter": {}}
                  | ({"images": a.images} if a.images else {}),
        "prepare": ({"name": "resize", "size": a.size},),
        "augment": ({"name": "random_crop", "size": a.size, "scale": (0.5, 1.0)}, {"name": "rotate", "degrees": 10.0},
                    {"name": "intensity"}),
        "batch": 32 if a.smoke else 128, "cache_mib": 1024}}
    if a.smoke and not a.path:
        from mmrep.data.phantom.export import write_table

        c.data.main.source.path = str(write_table(Path(tempfile.gettempdir()) / f"mmrep-smoke-{getpass.getuser()}"))
        c.data.main.source.splits = {"val": "dev"}
    c.optim.name = "muon"
    c.optim.kwargs = {"consistent_rms": 0.2}
    c.optim.lr = 1e-3
    c.optim.wd = 0.05
    c.optim.warmup = "10%"
    c.evals = {"retrieval": {"name": "retrieval", "ks": (1, 5, 10)}, "alignment": {"name": "alignment"}}
    if a.label:
        c.evals[a.label] = {"name": "probe", "label": a.label, "fractions": (1.0,)}
    return c
