"""Any modalities of the whole phantom, aligned by CLIP: mmrep train configs/phantom.py:a=signal,b=text --workdir runs/ecg_text

a, b: image, volume, signal, text, tabular, features. more: others, as more=tabular+features; each is aligned with b, as ImageBind does
(Girdhar et al. 2023), or with pairs=all every two of them. missing: share of the rows that lack a modality, of each but b. scale: tiny,
small or paper. Every modality reaches an encoder by its line of `ENCODERS` below; tables and vectors are standardized by the training rows.
"""

from itertools import combinations

import base

from mmrep.config import parse_arg

BLOCKS = {"width": 96, "depth": 4, "heads": 2, "pool": "mean"}
ENCODERS = {
    "image": {"name": "vit", "patch": (4, 4), "positions": "sincos"} | BLOCKS,
    "volume": {"name": "vit", "patch": (4, 2, 2), "positions": "sincos"} | BLOCKS,
    "signal": {"name": "vit", "patch": (8,), "positions": "sincos"} | BLOCKS,
    "text": {"name": "text"} | BLOCKS | {"depth": 1},
    "tabular": {"name": "table"} | BLOCKS | {"pool": "cls"},
    "features": {"name": "mlp", "width": 192, "depth": 3, "dropout": 0.1},
}
LABELS = ("class", "findings", "severity_bin")


def get_config(arg: str = ""):
    a = parse_arg(arg, smoke=False, a="volume", b="text", more="", pairs="anchor", missing=0.0, scale="tiny")
    used = [a.a, a.b, *filter(None, a.more.split("+"))]
    if set(used) - set(ENCODERS) or len(set(used)) < len(used):
        raise ValueError(f"configs/phantom.py: a, b and more must be different ones of {', '.join(ENCODERS)}, got {', '.join(used)}")
    if a.pairs not in ("anchor", "all"):
        raise ValueError(f"configs/phantom.py: pairs must be anchor or all, got {a.pairs!r}")
    c = base.get_config()
    c.total = "4 steps" if a.smoke else "1000 steps"
    c.encoders = {m: ENCODERS[m] | ({"width": 32, "depth": 1} if a.smoke else {}) for m in used}
    c.head.dim = 96
    c.inputs = {"image": {"mean": 0.42, "std": 0.15}, "volume": {"mean": 0.24, "std": 0.18}}
    c.inputs = {m: v for m, v in c.inputs.items() if m in used}
    c.tokenizer = {"name": "wordpiece", "vocab_size": 256, "length": 64}
    pairs = list(combinations(used, 2)) if a.pairs == "all" else [(m, a.b) for m in used if m != a.b]
    c.objectives = {f"{m}_{n}": {"name": "contrastive", "a": m, "b": n} for m, n in pairs} if len(pairs) > 1 else {
        "clip": {"name": "contrastive", "a": a.a, "b": a.b}}
    source = {"name": "phantom", "scale": a.scale, "n": 128 if a.smoke else {"train": 65_536}, "modalities": tuple(used)}
    if a.missing:
        source["missing"] = {m: a.missing for m in used if m != a.b}
    c.data = {"main": {"source": source, "batch": 32 if a.smoke else 128}}
    c.optim.name = "muon"
    c.optim.kwargs = {"consistent_rms": 0.2, "adam_b2": 0.98}
    c.optim.lr = 2e-3
    c.optim.warmup = "10%"
    retrieval = {f"retrieval_{m}_{n}": {"name": "retrieval", "pair": (m, n)} for m, n in pairs}
    probed = [m for m in used if m != "text"]
    evals = {f"probe_{m}_{label}": {"name": "probe", "label": label, "modality": m} for m in probed for label in LABELS}
    evals |= {f"alignment_{m}_{n}": {"name": "alignment", "pair": (m, n), "limit": 512} for m, n in pairs}
    c.evals = retrieval if a.smoke else retrieval | evals
    if a.smoke:
        c.eval.controls = ("untrained",)
    return c
