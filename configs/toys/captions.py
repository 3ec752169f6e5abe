"""Two small perceptrons on lists of attributes, the second view a caption that names some: the toy of information imbalance.

Command: mmrep train configs/toys/captions.py --workdir runs/captions     (`:smoke` is shorter; `:mentioned=1` names the object alone)
Six attributes of four values; every caption names attribute 0, the object, and others at random (mmrep/data/phantom/attributes.py).
"""

import base

from mmrep.config import parse_arg

PROBED = ("object", "attribute_1", "attribute_2")  # the others are alike


def get_config(arg: str = ""):
    a = parse_arg(arg, smoke=False, mentioned=6, noise=0.1, width=256, dim=32)
    c = base.get_config()
    c.total = "4 steps" if a.smoke else "2000 steps"
    c.encoders = {view: {"name": "perceptron", "widths": (a.width, a.width, a.dim)} for view in ("x1", "x2")}
    c.head.kind = "none"
    c.objectives = {"pair": {"name": "contrastive", "a": "x1", "b": "x2"}}
    n = {"train": 256 if a.smoke else 65_536, "val": 1024, "test": 1024}
    attributes = {"count": 6, "values": 4, "mentioned": a.mentioned, "noise": a.noise, "balanced": False}
    source = {"name": "phantom", "mode": "attributes", "n": n, "attributes": attributes}
    c.data = {"main": {"source": source, "batch": 256, "cache_mib": 64}}
    c.optim.wd = 0.0
    c.rules = ()  # the usual ones shard transformers
    c.evals = {"retrieval": {"name": "retrieval", "pair": ("x1", "x2")}, "alignment": {"name": "alignment", "pair": ("x1", "x2")}}
    for label in PROBED:
        c.evals[label] = {"name": "probe", "label": label, "modality": "x1", "feature": "embedding", "fractions": (1.0,), "knn": False}
    c.eval.limit = 2048
    c.eval.controls = ()
    c.save.every, c.save.keep = "100%", 1
    return c
