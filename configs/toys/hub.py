"""Three perceptrons on three views of known latents, paired all with all: `x1` is the hub of studies that leave pairs out.

Command: mmrep train configs/toys/hub.py --workdir runs/hub     (`:smoke` is shorter)
Eight shared and four private Gaussian latents a view, each view a random invertible network of them (mmrep/data/phantom/identify.py).
"""

from itertools import combinations

import base

from mmrep.config import parse_arg

VIEWS = ("x1", "x2", "x3")


def get_config(arg: str = ""):
    a = parse_arg(arg, smoke=False, width=256, dim=32)
    c = base.get_config()
    c.total = "4 steps" if a.smoke else "1000 steps"
    c.encoders = {view: {"name": "perceptron", "widths": (a.width, a.width, a.dim)} for view in VIEWS}
    c.head.kind = "none"
    c.objectives = {f"{a}_{b}": {"name": "contrastive", "a": a, "b": b} for a, b in combinations(VIEWS, 2)}
    n = {"train": 512 if a.smoke else 65_536, "val": 1024, "test": 1024}
    latent = {"content": 8, "style": 0, "private": 4, "layers": 2, "candidates": 1000, "names": VIEWS}
    c.data = {"main": {"source": {"name": "phantom", "mode": "latent", "n": n, "latent": latent}, "batch": 256, "cache_mib": 64}}
    c.optim.wd = 0.0
    c.rules = ()  # the usual ones shard transformers
    c.evals = {f"retrieval_{a}_{b}": {"name": "retrieval", "pair": (a, b)} for a, b in combinations(VIEWS, 2)}
    c.eval.controls = ()
    c.save.every, c.save.keep = "100%", 1
    return c
