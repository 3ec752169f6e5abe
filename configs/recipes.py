"""A published system's augmentation on the phantom: mmrep train configs/recipes.py:recipe=convirt --workdir runs/convirt

recipe: convirt, gloria, mgca, cxr_clip, biovil, multi_crop (pictures and reports), nnunet (volumes), ecg (signals) or table (SCARF), of
`mmrep/data/transforms/recipes.py`; with your own data, put `**recipes.convirt(224)` into a stream. scale: of the phantom.
"""

import base

from mmrep.config import parse_arg
from mmrep.data.transforms import recipes

BLOCKS = {"width": 96, "depth": 4, "heads": 2, "pool": "mean"}
VIT = {"name": "vit", "positions": "sincos"}
ENCODERS = {"image": VIT | {"patch": (4, 4)}, "volume": VIT | {"patch": (4, 4, 4)}, "signal": VIT | {"patch": (8,)},
            "tabular": {"name": "table"}, "text": {"name": "text"}}
# recipe -> what it is of, and its arguments for the phantom's sizes (tiny; small in the second place)
USES = {"convirt": ("image", (32,), (64,)), "gloria": ("image", (28,), (56,)), "mgca": ("image", (28,), (56,)),
        "cxr_clip": ("image", (32,), (64,)), "biovil": ("image", (28,), (60,)), "multi_crop": ("image", (32, 16, 4), (64, 32, 4)),
        "nnunet": ("volume", ((12, 12, 12),), ((16, 16, 16),)), "ecg": ("signal", (50.0, 96), (100.0, 200)), "table": ("tabular", (), ())}


def get_config(arg: str = ""):
    a = parse_arg(arg, smoke=False, recipe="convirt", scale="tiny")
    if a.recipe not in USES or a.scale not in ("tiny", "small"):
        raise ValueError(f"configs/recipes.py: recipe must be one of {', '.join(USES)} and scale tiny or small, got {a.recipe}, {a.scale}")
    modality, *sizes = USES[a.recipe]
    used = (modality,) if a.recipe == "table" else (modality, "text")
    c = base.get_config()
    c.total = "4 steps" if a.smoke else "1000 steps"
    c.encoders = {m: ENCODERS[m] | BLOCKS | ({"width": 32, "depth": 1} if a.smoke else {}) for m in used}
    c.head.dim = 32 if a.smoke else 96
    c.tokenizer = {"name": "wordpiece", "vocab_size": 256, "length": 64}
    other = {"modality": modality, "sample": 1}
    c.objectives = {"scarf": {"name": "contrastive", "a": modality, "b": other}} if a.recipe == "table" else {
        "clip": {"name": "contrastive", "a": modality, "b": "text"}}
    if a.recipe == "cxr_clip":  # every image sample with every text sample, and those of a kind with each other
        texts = ("text", {"modality": "text", "sample": 1})
        pairs = {"image0_text1": ("image", texts[1]), "image1_text0": (other, texts[0]), "image1_text1": (other, texts[1]),
                 "images": ("image", other), "texts": texts}
        c.objectives.update({name: {"name": "contrastive", "a": x, "b": y} for name, (x, y) in pairs.items()})
    if a.recipe == "multi_crop":
        crops = {f"local{i}": {"modality": "image", "crop": "local", "sample": i} for i in range(2)}
        c.objectives.update({name: {"name": "contrastive", "a": other, "b": crop} for name, crop in crops.items()})
    source = {"name": "phantom", "scale": a.scale, "n": 64 if a.smoke else {"train": 65_536}, "modalities": used,
              "masks": a.recipe == "nnunet", "n_mentioned": 3}
    recipe = recipes.RECIPES[a.recipe](*sizes[a.scale == "small"])
    c.data = {"main": {"source": source, "batch": 16 if a.smoke else 128, **recipe}}
    c.evals = {f"probe_{label}": {"name": "probe", "label": label, "modality": modality} for label in ("class", "findings")}
    if a.recipe != "table":
        c.evals.retrieval = {"name": "retrieval", "pair": (modality, "text")}
    if a.smoke:
        c.eval.controls = ("untrained",)
    return c
