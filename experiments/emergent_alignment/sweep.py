"""Two modalities that never meet, aligned through a hub (Girdhar et al. 2023): which pairs are trained, and how many of them are wrong."""

from mmrep.sweeps import Point, fixed, named, product

CONFIG = "configs/toys/hub.py"
SEEDS = {"smoke": 1, "small": (10, 11, 12), "paper": (10, 11, 12)}
SHOWN = ("retrieval/x1_to_x2/R@1/instance", "retrieval/x1_to_x3/R@1/instance", "retrieval/x2_to_x3/R@1/instance")

# ImageBind's sizes: ViT-H/14, CLIP's text encoder, and that of its IMU records, here of ECGs; 1,024 dimensions, AdamW; the hub: pictures
LARGE = {"scan": True, "remat": True}
PAPER = {
    "encoders.x1": {"name": "vit", "field": "image", "patch": (14, 14), "width": 1280, "depth": 32, "heads": 16, "pool": "cls"} | LARGE,
    "encoders.x2": {"name": "text", "field": "text", "width": 1024, "depth": 24, "heads": 16, "causal": True, "pool": "last"} | LARGE,
    "encoders.x3": {"name": "vit", "field": "signal", "patch": (8,), "width": 512, "depth": 6, "heads": 8, "pool": "cls"} | LARGE,
    "head": {"kind": "linear", "dim": 1024}, "tokenizer": {"name": "wordpiece", "vocab_size": 49_408, "length": 77}, "dtype": "bfloat16",
    "data.main.source": {"mode": "render", "latent": None, "scale": "paper", "modalities": ("image", "text", "signal")},
    "data.main.batch": 2048, "total": "64 epochs", "optim.lr": 1.6e-3, "optim.wd": 0.2, "optim.kwargs": {"b2": 0.95}}


def sweep(scale: str) -> list:
    pairs = named("pairs", all={}, hub={"objectives.x2_x3": None}, one={"objectives.x2_x3": None, "objectives.x1_x3": None})
    # wrong pairs are of the training rows alone: what is judged are true pairs
    wrong = "data.main.source" + (".pair_noise" if scale == "paper" else ".latent.pair_noise")
    noise = [Point({"pair_noise": share}, {wrong: {"train": share}}) for share in (0.0, 0.25, 0.5, 1.0)]
    points = [*product(pairs, noise[:1]), *product(pairs[1:2], noise[1:])]
    of_scale = {"smoke": {"arg.smoke": "true", "total": "20 steps"}, "small": {}, "paper": PAPER}[scale]
    return product(fixed(of_scale), points)
