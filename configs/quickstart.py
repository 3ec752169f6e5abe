"""The embedded default: CLIP on the phantom, in about three minutes on two CPU cores.

Command: mmrep train configs/quickstart.py --workdir runs/quickstart     (`make demo`)
Its controls, at the same number of steps (experiments/quickstart_controls): `:shuffled` trains on the reports of strangers,
`:supervised` trains the image encoder alone on the labels that the reports reveal.
"""

import base

from mmrep.config import parse_arg


def get_config(arg: str = ""):
    a = parse_arg(arg, smoke=False, size=32, shuffled=False, supervised=False)
    c = base.get_config()
    c.total = "4 steps" if a.smoke else "480 steps"
    width, depth = (32, 2) if a.smoke else (96, 4)
    c.encoders = {
        "image": {"name": "vit", "patch": (4, 4), "width": width, "depth": depth, "heads": 2, "pool": "mean",
                  "positions": "sincos"},  # strong from the start: where the lesion lies is learned several times sooner
        "text": {"name": "text", "width": width, "depth": 1, "heads": 2, "pool": "mean"},  # one block reads these reports
    }
    c.head.dim = 96
    c.inputs = {"image": {"mean": 0.42, "std": 0.15}}  # about the training images': 0.5 and 0.5 learn far slower
    c.tokenizer = {"name": "wordpiece", "vocab_size": 256, "length": 32}
    c.objectives = {"clip": {"name": "contrastive"}}
    # 65,536 training, 512 validation and 512 test subjects
    c.data = {"main": {"source": {"name": "phantom", "size": a.size, "modalities": ("image", "text")},
                       "batch": 32 if a.smoke else 128}}  # no cache: hardly a row is read twice
    if a.smoke:
        c.data.main.source.n = 128
    if a.shuffled:
        c.data.main.source.pair_noise = 1.0
    # Muon at the scale of Adam's steps: zero-shot 0.85 and more where AdamW at 1e-3 had 0.29 (one run each, 500 steps of four heads)
    c.optim.name = "muon"
    c.optim.kwargs = {"consistent_rms": 0.2, "adam_b2": 0.98}
    c.optim.lr = 2e-3
    c.optim.warmup = "10%"
    c.evals = {
        "zeroshot": {"name": "zeroshot", "label": "class", "prompts": "phantom"},
        "zeroshot_findings": {"name": "zeroshot", "label": "findings", "prompts": "phantom"},
        "retrieval": {"name": "retrieval"},
        "probe": {"name": "probe", "label": "findings"},
        "probe_class": {"name": "probe", "label": "class", "fractions": (1.0,)},
        "alignment": {"name": "alignment", "limit": 512},
    }
    if a.supervised:
        c.data.main.source.modalities = ("image",)
        del c.encoders["text"]
        c.objectives = {"labels": {"name": "supervised", "heads": {
            "findings": {"kind": "bce", "classes": 6, "weight": 6.0}, "class": {"kind": "ce", "classes": 10},
            "severity_bin": {"kind": "ce", "classes": 3}, "laterality": {"kind": "ce", "classes": 2},
            "zone": {"kind": "ce", "classes": 3}}}}
        c.evals = {k: v for k, v in c.evals.items() if v["name"] == "probe"}
    if a.smoke:
        c.eval.controls = ("untrained",)
        c.evals = {k: v for k, v in c.evals.items() if k in ("zeroshot", "retrieval")}
    return c
