"""Encoders of two modalities, trained apart, at many widths and budgets: do their kernels grow alike (Huh et al. 2024, figures 2 and 3)?"""

from mmrep.sweeps import Point, fixed, product

CONFIG = "configs/toys/captions.py"
SEEDS = {"smoke": 1, "small": (10, 11, 12), "paper": (10, 11, 12)}
VIEWS = ("x1", "x2")
LABELS = (("object", 4), *((f"attribute_{i}", 4) for i in range(1, 6)))  # and their classes
LABELS_PAPER = (("class", 10), ("severity_bin", 3), ("laterality", 2), ("zone", 3))  # what both a picture and a report of the phantom show
WIDTHS = {"smoke": (16,), "small": (16, 64, 256), "paper": (192, 384, 768, 1024)}
STEPS = {"smoke": (2, 4), "small": (10, 40, 160, 640), "paper": (1000, 10_000, 100_000)}


def learns(view: str, labels: tuple[tuple[str, int], ...]) -> dict:
    """An objective that sees one view alone."""
    return {"name": "supervised", "view": view, "heads": {label: {"kind": "ce", "classes": n} for label, n in labels}}


def trained(name: str, labels: tuple[tuple[str, int], ...]) -> dict:
    """What is learned: all labels by both views, each apart; half of them by each, so that they have no task in common; or pairs."""
    half = len(labels) // 2
    tasks = {"apart": (labels, labels), "other tasks": (labels[:half], labels[half:])}.get(name)
    return {"objectives": {view: learns(view, told) for view, told in zip(VIEWS, tasks)} | {"pair": None}} if tasks else {}


def probes(labels: tuple[tuple[str, int], ...]) -> dict:
    """Linear probes of both views: of one label of each half, for the others are alike."""
    probed = (labels[0][0], labels[len(labels) // 2 + (len(labels) > 4)][0])
    kept = {"name": "probe", "feature": "embedding", "fractions": (1.0,), "knn": False}
    return dict.fromkeys(("object", "attribute_1", "attribute_2")) | {
        f"{label}_{view}": kept | {"label": label, "modality": view} for view in VIEWS for label in probed}


def encoders(scale: str, width: int) -> dict:
    """Perceptrons; at paper scale vision and text transformers of up to ViT-L's width."""
    if scale != "paper":
        return {f"encoders.{view}.widths": (width, width, 32) for view in VIEWS}
    blocks = {"width": width, "depth": 24 if width == 1024 else 12, "heads": width // 64, "scan": True}
    return {"encoders.x1": {"name": "vit", "field": "image", "patch": (14, 14)} | blocks,
            "encoders.x2": {"name": "text", "field": "text"} | blocks}


# pictures and reports of the phantom, each learned by what it is labeled with; data.main.source takes your own pairs
PAPER = {"data.main.source": {"mode": "render", "attributes": None, "scale": "paper", "modalities": ("image", "text"),
                              "n": {"train": 102_400}},
         "tokenizer": {"name": "wordpiece", "vocab_size": 32_000, "length": 64}}


def sweep(scale: str) -> list:
    labels = LABELS_PAPER if scale == "paper" else LABELS
    # noise of the views: without it everything is learned at once
    common = {"evals": probes(labels), "eval.controls": ("untrained",)} | (
        PAPER if scale == "paper" else {"data.main.source.attributes.noise": 0.5})
    largest, longest = WIDTHS[scale][-1], STEPS[scale][-1]
    settings = [("apart", width, steps) for width in WIDTHS[scale] for steps in STEPS[scale]]
    # a control: every budget at the largest width, every width at the longest budget
    settings += [("other tasks", width, steps) for _, width, steps in settings if width == largest or steps == longest]
    settings += [("paired", largest, longest)]
    return product(fixed(common), [
        Point({"trained": name, "width": width, "steps": steps},
              trained(name, labels) | encoders(scale, width) | {"total": f"{steps} steps"}) for name, width, steps in settings])
