"""CLIP on a table of your own: one row an image, volume, signal or vector and its text (CSV, TSV, JSONL or Parquet).

  mmrep train configs/clip_table.py:path=table.csv,text=report,label=finding,case=patient --workdir runs/mine
  mmrep train configs/clip_table.py:path=ecgs.csv,signal=filename_hr,text=report,case=patient --workdir runs/ecg \
    --config.data.main.source.read="{'signal': {'rate': 250}}"

The argument names the table (path), the pictures' folder or archive (images; without it the table's folder) and the columns:
image, volume, signal (file names) or features (lists of numbers, file names, or a pattern of columns: gene_*), text, split (train, val or
test of every row), and, where there are such, label (a class or a finding; judged by a linear probe) and case (the patient; what
intervals resample by). image=frontal+lateral names several pictures of a row, of which each epoch draws one and evaluation
takes the first that is there. batch (128) must not be larger than the table's training rows. Rows of equal text are positives of each
other. Volumes and signals must be of one shape, which `patch` divides (patch=4x8x8). Everything else by --config.KEY=VALUE, or in a copy of
this file. `:smoke` alone writes a small table of synthetic subjects to the temporary folder and trains on that.
"""

import getpass
import tempfile
from pathlib import Path

import base

from mmrep.config import parse_arg

PATCH = {"image": "8x8", "volume": "8x8x8", "signal": "25", "features": ""}


def get_config(arg: str = ""):
    a = parse_arg(arg, path="", images="", image="image", volume="", signal="", features="", text="caption", split="split", label="",
                  case="", channels=1, size=64, patch="", batch=0, smoke=False)
    kind = next((key for key in ("volume", "signal", "features") if a[key]), "image")
    c = base.get_config()
    c.total = "2 steps" if a.smoke else "60 epochs"
    width, depth = (32, 1) if a.smoke else (128, 6)
    patch = tuple(int(n) for n in str(a.patch or PATCH[kind]).split("x") if n)
    c.encoders = {
        kind: {"name": "mlp", "width": 2 * width, "depth": 3, "dropout": 0.1} if kind == "features" else
              {"name": "vit", "patch": patch, "width": width, "depth": depth, "heads": 4, "pool": "mean", "positions": "sincos"},
        "text": {"name": "text", "width": width, "depth": max(depth // 2, 1), "heads": 4, "pool": "mean"},
    }
    # the run says at its start where your pixels are far from this
    c.inputs = {kind: {"mean": 0.5, "std": 0.25}} if kind in ("image", "volume") else {}
    c.tokenizer = {"name": "wordpiece", "vocab_size": 4096, "length": 64}
    # half of the patches in every step (FLIP, Li 2023): twice the epochs in the same time
    c.objectives = {"clip": {"name": "contrastive", "temperature": 0.1, "a": {"modality": kind, "mask": 0.5} if patch else kind}}
    several = a.image.split("+") if kind == "image" and "+" in a.image else []
    columns = {kind: several or a[kind], "text": a.text, "group": a.text, "split": a.split}
    columns |= {"case": a.case} if a.case else {}
    columns |= {"label": {a.label: a.label}} if a.label else {}
    prepare = ({"name": "resize", "size": a.size},)
    augment = ({"name": "random_crop", "size": a.size, "scale": (0.5, 1.0)}, {"name": "rotate", "degrees": 10.0}, {"name": "intensity"})
    if several:
        prepare = ({"name": "each", "transforms": prepare}, {"name": "choose", "count": len(several), "random": False})
        augment = ({"name": "choose", "count": 1}, {"name": "each", "transforms": augment})
    c.data = {"main": {
        "source": {"name": "manifest", "path": a.path, "channels": a.channels, "columns": columns, "splits": {}, "filter": {}}
                  | ({"images": a.images} if a.images else {}),
        "prepare": prepare if kind == "image" else (), "augment": augment if kind == "image" else (),
        "batch": a.batch or (32 if a.smoke else 128), "cache_mib": 1024}}
    if several:
        c.data.main.source.missing = "absent"
        c.data.main.evaluate = ({"name": "choose", "count": 1, "random": False},)
    if a.smoke and not a.path:
        from mmrep.data.phantom.export import write_table

        c.data.main.source.path = str(write_table(Path(tempfile.gettempdir()) / f"mmrep-smoke-{getpass.getuser()}"))
        c.data.main.source.splits = {"val": "dev"}
    c.optim.name = "muon"
    c.optim.kwargs = {"consistent_rms": 0.2}
    c.optim.lr = 1e-3
    c.optim.wd = 0.05
    c.optim.warmup = "10%"
    pair = {} if kind == "image" else {"pair": (kind, "text")}
    c.evals = {"retrieval": {"name": "retrieval", "ks": (1, 5, 10)} | pair, "alignment": {"name": "alignment"} | pair}
    if a.label:
        c.evals[a.label] = {"name": "probe", "label": a.label, "fractions": (1.0,), "modality": kind}
    return c
