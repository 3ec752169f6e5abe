"""Gap and object bias against how many attributes a caption names (Schrodi et al. 2025, figure 6)."""

from mmrep.sweeps import Point, fixed, product

CONFIG = "configs/toys/captions.py"
SEEDS = {"smoke": 1, "small": (10, 11, 12), "paper": (10, 11, 12)}
STEPS = {"smoke": "4 steps", "small": "1000 steps", "paper": "50000 steps"}
MENTIONED = (1, 2, 3, 4, 6)
# CLIP on as many pictures as MAD has. A picture of the phantom shows class, severity, side, zone and three groups of findings; its report
# names the class, the object here, and some of the others
REPORTED = (1, 2, 3, 4, 7)
BLOCKS = {"width": 384, "depth": 12, "heads": 6, "scan": True}
PROBES = {label: {"name": "probe", "label": label, "modality": "x1", "feature": "embedding", "fractions": (1.0,), "knn": False}
          for label in ("class", "laterality", "zone")}
PAPER = {
    "encoders.x1": {"name": "vit", "field": "image", "patch": (8, 8)} | BLOCKS,
    "encoders.x2": {"name": "text", "field": "text", "causal": True, "pool": "last"} | BLOCKS, "head": {"kind": "linear", "dim": 256},
    "tokenizer": {"name": "wordpiece", "vocab_size": 32_000, "length": 64},
    "data.main.source": {"mode": "render", "attributes": None, "scale": "small", "whole": False, "modalities": ("image", "text"),
                         "n": {"train": 60_000}},
    "optim.lr": 5e-4, "optim.wd": 0.2, "optim.kwargs": {"b2": 0.98},
    "evals": dict.fromkeys(("object", "attribute_1", "attribute_2")) | PROBES}


def sweep(scale: str) -> list:
    if scale == "paper":  # the picture shows all
        return product(fixed({"total": STEPS[scale]} | PAPER), [
            Point({"mentioned": n, "image": "whole"}, {"data.main.source.n_mentioned": n - 1}) for n in REPORTED])
    views = "data.main.source.attributes"
    return product(fixed({"total": STEPS[scale]}), [
        Point({"mentioned": n, "image": image}, {f"{views}.mentioned": n, f"{views}.balanced": image == "as poor"})
        for image in ("whole", "as poor") for n in MENTIONED if n < 6 or image == "whole"])
