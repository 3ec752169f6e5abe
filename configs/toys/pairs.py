"""Two small perceptrons on two views of known latents: the toy that studies of losses, gaps and collapse share. Seconds on two cores.

Command: mmrep train configs/toys/pairs.py --workdir runs/pairs     (`:smoke` is shorter; `:content=8,style=0,private=4` sets the latents)
Eight shared and four private Gaussian latents a view, each view a random invertible network of them (mmrep/data/phantom/identify.py).
"""

import base

from mmrep.config import parse_arg


def get_config(arg: str = ""):
    a = parse_arg(arg, smoke=False, content=8, style=0, private=4)
    c = base.get_config()
    c.total = "4 steps" if a.smoke else "1000 steps"
    c.encoders = {"x1": {"name": "perceptron", "widths": (256, 256, 32)}, "x2": {"name": "perceptron", "widths": (256, 256, 32)}}
    c.head.kind = "none"
    c.objectives = {"pair": {"name": "contrastive", "a": "x1", "b": "x2"}}
    latent = {"content": a.content, "style": a.style, "private": a.private, "layers": 2, "candidates": 1000}
    n = {"train": 256 if a.smoke else 65_536, "val": 1024, "test": 1024}
    c.data = {"main": {"source": {"name": "phantom", "mode": "latent", "n": n, "latent": latent}, "batch": 64, "cache_mib": 64}}
    c.optim.wd = 0.0
    c.rules = ()  # the usual ones shard transformers
    c.evals = {"retrieval": {"name": "retrieval", "pair": ("x1", "x2")}, "alignment": {"name": "alignment", "pair": ("x1", "x2")}}
    c.eval.controls = ("untrained",)
    c.save.every = "100%"
    c.save.keep = 1
    return c
