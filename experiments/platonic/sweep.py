"""Encoders of two modalities, trained apart, at many widths and budgets: do their kernels grow alike (Huh et al. 2024, figures 2 and 3)?"""

from mmrep.sweeps import Point, fixed, product

CONFIG = "configs/toys/captions.py"
SEEDS = {"smoke": 1, "small": (10, 11, 12), "paper": (10, 11, 12)}
VIEWS = ("x1", "x2")
ATTRIBUTES = ("object", *(f"attribute_{i}" for i in range(1, 6)))
PROBED = ("object", "attribute_4")  # one of each half; the others are alike
WIDTHS = {"smoke": (16,), "small": (16, 64, 256), "paper": (192, 384, 768, 1024)}
STEPS = {"smoke": (2, 4), "small": (10, 40, 160, 640), "paper": (1000, 10_000, 100_000)}


def learns(view: str, labels: tuple[str, ...]) -> dict:
    """An objective that sees one view alone."""
    return {"name": "supervised", "view": view, "heads": {label: {"kind": "ce", "classes": 4} for label in labels}}


TRAINED = {
    "apart": {"objectives": {"x1": learns("x1", ATTRIBUTES), "x2": learns("x2", ATTRIBUTES), "pair": None}},
    "other tasks": {"objectives": {"x1": learns("x1", ATTRIBUTES[:3]), "x2": learns("x2", ATTRIBUTES[3:]), "pair": None}},
    "paired": {}}  # the config's InfoNCE of pairs
PROBES = {f"{label}_{view}": {"name": "probe", "label": label, "modality": view, "feature": "embedding", "fractions": (1.0,), "knn": False}
          for view in VIEWS for label in PROBED}


def encoders(scale: str, width: int) -> dict:
    """Perceptrons; at paper scale vision and text transformers of up to ViT-L's width."""
    if scale != "paper":
        return {f"encoders.{view}.widths": (width, width, 32) for view in VIEWS}
    blocks = {"width": width, "depth": 24 if width == 1024 else 12, "heads": width // 64}
    return {"encoders.x1": {"name": "vit", "field": "image", "patch": (14, 14)} | blocks,
            "encoders.x2": {"name": "text", "field": "text"} | blocks}


# pictures and reports of the phantom, each learned by what it is labeled with; data.main.source takes your own pairs
PAPER = {"data.main.source": {"mode": "render", "attributes": None, "scale": "paper", "modalities": ("image", "text"),
                              "n": {"train": 102_400}},
         "tokenizer": {"name": "wordpiece", "vocab_size": 32_000, "length": 64}}


def sweep(scale: str) -> list:
    if scale == "paper":
        heads = {"class": {"kind": "ce", "classes": 10}}
        apart = {"objectives": {"x1": {"name": "supervised", "view": "x1", "heads": heads},
                                "x2": {"name": "supervised", "view": "x2", "heads": heads}, "pair": None}}
        trained = {"apart": apart, "paired": {}}
        probes = {f"class_{view}": {"name": "probe", "label": "class", "modality": view, "feature": "embedding"} for view in VIEWS}
        common = {"evals": dict.fromkeys(("object", "attribute_1", "attribute_2")) | probes} | PAPER
    else:
        trained = TRAINED
        # noise of the views: without it everything is learned at once
        common = {"evals": {"object": None, "attribute_1": None, "attribute_2": None} | PROBES, "data.main.source.attributes.noise": 0.5}
    largest, longest = WIDTHS[scale][-1], STEPS[scale][-1]
    settings = [("apart", width, steps) for width in WIDTHS[scale] for steps in STEPS[scale]]
    settings += [(name, largest, longest) for name in trained if name != "apart"]
    return product(fixed(common | {"eval.controls": ("untrained",)}), [
        Point({"trained": name, "width": width, "steps": steps}, trained[name] | encoders(scale, width) | {"total": f"{steps} steps"})
        for name, width, steps in settings])
