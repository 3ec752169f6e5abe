"""A linear encoder, one layer or several, under un-normalized InfoNCE: the two toys of dimensional collapse (Jing et al. 2022).

Command: mmrep train configs/toys/collapse.py --workdir runs/collapse     (`:smoke` is shorter)
10,000 points of 16 independent Gaussians; both views add noise to the last 8 of them, in training alone. `layers`: of the encoder, without
biases where there are several, which start from singular values exp(-0.35 i) (`start`). Everything is as in the authors'
toy_task/case_1.py (one layer, learning rate 1e-3) and case_2.py (several, 1e-2), besides what experiments/dimensional_collapse names.
"""

import base

from mmrep.config import parse_arg


def get_config(arg: str = ""):
    a = parse_arg(arg, smoke=False, layers=1, bias=True, start="torch")
    c = base.get_config()
    c.total = "20 steps" if a.smoke else "10000 steps"
    c.encoders = {"x": {"name": "perceptron", "widths": (16,) * a.layers, "activation": "linear", "bias": a.bias, "start": a.start,
                        "decay": 0.35}}
    c.inputs = {"x": {"mean": 0.0, "std": 1.0}}  # as they are
    c.head.kind = "none"
    views = ({"modality": "x", "sample": 0}, {"modality": "x", "sample": 1})
    c.objectives = {"pair": {"name": "contrastive", "a": views[0], "b": views[1], "similarity": "dot", "temperature": 0.1,
                             "learn_temperature": False, "direction": 1.0}}
    latent = {"content": 8, "style": 8, "private": 0, "layers": 0, "names": ("x", "x"), "both": True, "amplitude": {"train": 0.01}}
    n = {"train": 256 if a.smoke else 10_000, "val": 256, "test": 1024}
    c.data = {"main": {"source": {"name": "phantom", "mode": "latent", "seed": 0, "n": n, "latent": latent}, "batch": 128, "cache_mib": 64}}
    c.optim.name, c.optim.lr, c.optim.wd, c.optim.clip = "sgd", 1e-3, 0.0, 0.0
    c.optim.schedule, c.optim.warmup = "constant", "0 steps"
    c.rules = ()  # the usual ones shard transformers
    c.evals = {"spectrum": {"name": "spectrum", "modality": "x", "feature": "pooled", "values": 16}}
    c.eval.controls = ("untrained",)
    c.save.every, c.save.keep = "100%", 1
    return c
