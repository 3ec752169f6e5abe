"""Any two modalities of the whole phantom by CLIP: mmrep train configs/phantom.py:a=signal,b=text --workdir runs/ecg_text

a, b: image, volume, signal, text; scale: tiny, small or paper. Every modality reaches an encoder by the lines of `ENCODERS` below.
"""

import base

from mmrep.config import parse_arg

ENCODERS = {
    "image": {"name": "vit", "patch": (4, 4), "positions": "sincos"},
    "volume": {"name": "vit", "patch": (4, 2, 2), "positions": "sincos"},
    "signal": {"name": "vit", "patch": (8,), "positions": "sincos"},
    "text": {"name": "text"},
}
LABELS = ("class", "findings", "severity_bin")


def get_config(arg: str = ""):
    a = parse_arg(arg, smoke=False, a="volume", b="text", scale="tiny")
    if a.a not in ENCODERS or a.b not in ENCODERS or a.a == a.b:
        raise ValueError(f"configs/phantom.py: a and b must be two of {', '.join(ENCODERS)}, got {a.a!r} and {a.b!r}")
    c = base.get_config()
    c.total = "4 steps" if a.smoke else "1000 steps"
    width, depth = (32, 1) if a.smoke else (96, 4)
    c.encoders = {m: ENCODERS[m] | {"width": width, "depth": 1 if m == "text" else depth, "heads": 2, "pool": "mean"} for m in (a.a, a.b)}
    c.head.dim = 96
    c.inputs = {"image": {"mean": 0.42, "std": 0.15}, "volume": {"mean": 0.24, "std": 0.18}}
    c.inputs = {m: v for m, v in c.inputs.items() if m in c.encoders}
    c.tokenizer = {"name": "wordpiece", "vocab_size": 256, "length": 32 if a.scale == "tiny" else 64}
    c.objectives = {"clip": {"name": "contrastive", "a": a.a, "b": a.b}}
    c.data = {"main": {"source": {"name": "phantom", "scale": a.scale, "n": 128 if a.smoke else 65_536, "modalities": (a.a, a.b)},
                       "batch": 32 if a.smoke else 128}}
    c.optim.name = "muon"
    c.optim.kwargs = {"consistent_rms": 0.2, "adam_b2": 0.98}
    c.optim.lr = 2e-3
    c.optim.warmup = "10%"
    first = next(m for m in (a.a, a.b) if m != "text")
    evals = {f"probe_{label}": {"name": "probe", "label": label, "modality": first} for label in LABELS}
    evals["retrieval"] = {"name": "retrieval", "pair": (a.a, a.b)}
    evals["alignment"] = {"name": "alignment", "pair": (a.a, a.b), "limit": 512}
    c.evals = {"retrieval": evals["retrieval"]} if a.smoke else evals
    if a.smoke:
        c.eval.controls = ("untrained",)
    return c
