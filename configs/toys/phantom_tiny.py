"""CLIP of the tiny phantom's images and reports, two blocks of width 32: what sweeps are tried on. Seconds on two cores.

Command: mmrep sweep configs/toys/phantom_tiny.py --over objectives.clip.name=contrastive,sigmoid --seeds 3 --out runs/tiny
2,048 training, 512 validation and 512 test subjects of 32 x 32 pixels. In 200 steps it learns next to nothing: configs/quickstart.py does.
"""

import base

from mmrep.config import parse_arg


def get_config(arg: str = ""):
    a = parse_arg(arg, smoke=False, width=32, depth=2)
    c = base.get_config()
    c.total = "4 steps" if a.smoke else "200 steps"
    blocks = {"width": a.width, "heads": 2, "pool": "mean"}
    c.encoders = {"image": {"name": "vit", "patch": (8, 8), "depth": a.depth, "positions": "sincos"} | blocks,
                  "text": {"name": "text", "depth": 1} | blocks}
    c.head.dim = 32
    c.inputs = {"image": {"mean": 0.42, "std": 0.15}}
    c.tokenizer = {"name": "wordpiece", "vocab_size": 256, "length": 32}
    c.objectives = {"clip": {"name": "contrastive"}}
    c.data = {"main": {"source": {"name": "phantom", "scale": "tiny", "whole": False, "modalities": ("image", "text")}, "batch": 32,
                       "cache_mib": 64}}
    c.optim.warmup = "10%"
    c.evals = {"zeroshot": {"name": "zeroshot", "label": "class", "prompts": "phantom"}, "retrieval": {"name": "retrieval"},
               "probe": {"name": "probe", "label": "class", "fractions": (1.0,), "knn": False}}
    c.eval.controls = ("untrained",)
    return c
