"""Modality gap after a short training at fixed temperatures, and of untrained towers by depth (Liang et al. 2022, section 4)."""

from mmrep.sweeps import Point, fixed, product

CONFIG = "configs/toys/pairs.py"
SEEDS = {"smoke": 1, "small": (10, 11, 12), "paper": (10, 11, 12)}
TEMPERATURES = (1.0, 0.1, 0.05, 1 / 30, 0.02, 0.01)  # those of the authors' notebook
STEPS = {"smoke": (2, 4), "small": (200, 1000), "paper": (5000, 50_000)}
DEPTHS = (1, 2, 4, 8)
SHORT = {"data.main.batch": 256, "optim.lr": 1e-4, "optim.schedule": "constant", "optim.warmup": "0 steps"}

# CLIP ViT-B/32, which the paper fine-tunes. CLIP: folder of a run with its params, "": from scratch; data.main.source: your own pairs
CLIP, SCAN = "", {"scan": True}
PAPER = {
    "encoders.x1": {"name": "vit", "field": "image", "patch": (32, 32), "width": 768, "depth": 12, "heads": 12, "pool": "cls"} | SCAN,
    "encoders.x2": {"name": "text", "field": "text", "width": 512, "depth": 12, "heads": 8, "causal": True, "pool": "last"} | SCAN,
    "init.path": CLIP,
    "head": {"kind": "linear", "dim": 512}, "tokenizer": {"name": "wordpiece", "vocab_size": 49_408, "length": 77},
    "data.main.source": {"mode": "render", "latent": None, "scale": "paper", "modalities": ("image", "text"), "n": {"train": 102_400}}}


def towers(depth: int, kind: str = "ReLU") -> dict:
    """Two perceptrons that start as in figure 2 of the paper, from N(0, 1 / fan in), so that each has a cone of its own; linear ones
    without biases, which have none."""
    spec = {"name": "perceptron", "widths": (256,) * depth + (128,), "start": "normal"}
    spec |= {"activation": "relu"} if kind == "ReLU" else {"activation": "linear", "bias": False}
    return {"encoders.x1": spec, "encoders.x2": spec}


def sweep(scale: str) -> list:
    common = {"objectives.pair.learn_temperature": False, "evals.alignment.separability": True, "evals.alignment.limit": 512} | SHORT
    temperatures, depths = (TEMPERATURES[::5], DEPTHS[::3]) if scale == "smoke" else (TEMPERATURES, DEPTHS)
    trained = [Point({"temperature": round(t, 4), "steps": n},
                     {"objectives.pair.temperature": t, "total": f"{n} steps"} | (PAPER if scale == "paper" else towers(4)))
               for n in STEPS[scale] for t in temperatures]
    # a control: towers that start together are trained in the same way
    together = [Point({"tower": "linear", "temperature": round(t, 4), "steps": STEPS[scale][0]},
                      {"objectives.pair.temperature": t, "total": f"{STEPS[scale][0]} steps"} | towers(4, "linear")) for t in temperatures]
    untrained = [Point({"tower": kind, "depth": d}, {"total": "1 steps"} | towers(d, kind)) for kind in ("ReLU", "linear") for d in depths]
    return product(fixed(common), trained + together + untrained)
