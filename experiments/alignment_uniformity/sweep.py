"""The plane of alignment and uniformity: encoders of many weights of the two, and of InfoNCE (Wang & Isola 2020, section 5)."""

from mmrep.sweeps import Point, fixed, product

CONFIG = "configs/toys/captions.py"
SEEDS = {"smoke": 1, "small": (10, 11, 12), "paper": (10, 11, 12)}
STEPS = {"smoke": "4 steps", "small": "400 steps", "paper": "200 epochs"}
SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 1.0)  # of uniformity; the rest is alignment's
TEMPERATURES = (0.02, 0.07, 0.2, 0.5, 1.0, 2.0)
DIM = {"smoke": 32, "small": 32, "paper": 128}  # of the embeddings; the floor of uniformity hangs on it

# noise of the views: where there is little, whatever is spread tells all
TOY = {"arg.dim": "32", "data.main.source.attributes.noise": 0.5}
# the paper's batch, epochs, dimensions, optimizer and learning rate (0.12 for 256 rows), on 100,000 rows as STL-10 has;
# its encoder is a small AlexNet of two crops of 64 pixels, ours see a picture and its report
BLOCKS = {"width": 384, "depth": 12, "heads": 6, "pool": "mean", "scan": True}
LABELS = ("class", "laterality", "zone")
PROBES = {label: {"name": "probe", "label": label, "modality": "x1", "feature": "embedding", "fractions": (1.0,), "knn": False}
          for label in LABELS}
PAPER = {
    "encoders.x1": {"name": "vit", "field": "image", "patch": (8, 8)} | BLOCKS, "encoders.x2": {"name": "text", "field": "text"} | BLOCKS,
    "head": {"kind": "linear", "dim": 128}, "tokenizer": {"name": "wordpiece", "vocab_size": 32_000, "length": 64},
    "data.main.source": {"mode": "render", "attributes": None, "scale": "small", "modalities": ("image", "text"), "n": {"train": 102_400}},
    "data.main.batch": 768, "optim.name": "sgd", "optim.kwargs": {"momentum": 0.9}, "optim.lr": 0.36, "optim.wd": 1e-4, "optim.clip": 0.0,
    "evals": dict.fromkeys(("object", "attribute_1", "attribute_2")) | PROBES}


def sweep(scale: str) -> list:
    pair = {"a": "x1", "b": "x2"}
    shares, temperatures = (SHARES[::3], TEMPERATURES[::3]) if scale == "smoke" else (SHARES, TEMPERATURES)
    weights = [(2.0, u) for u in shares] + [(8.0, u) for u in shares if 0 < u < 1]
    both = [Point({"loss": "align_uniform", "uniform": u, "t": t, "dim": DIM[scale]}, {
        "objectives.pair": {"name": "align_uniform", "align": 1.0 - u, "uniform": u, "t": t} | pair}) for t, u in weights]
    infonce = [Point({"loss": "InfoNCE", "temperature": t, "dim": DIM[scale]}, {
        "objectives.pair": {"name": "contrastive", "temperature": t, "learn_temperature": False} | pair}) for t in temperatures]
    return product(fixed({"total": STEPS[scale]} | (PAPER if scale == "paper" else TOY)), both + infonce)
