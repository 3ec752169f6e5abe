"""Two modalities that never meet, aligned through a hub (Girdhar et al. 2023): which pairs are trained, and how many of them are wrong."""

from mmrep.sweeps import Point, fixed, named, product

CONFIG = "configs/toys/hub.py"
SEEDS = {"smoke": 1, "small": (10, 11, 12), "paper": (10, 11, 12)}
SHOWN = ("retrieval/x1_to_x2/R@1/instance", "retrieval/x1_to_x3/R@1/instance", "retrieval/x2_to_x3/R@1/instance")
NOISE = "data.main.source.latent.pair_noise"


def sweep(scale: str) -> list:
    pairs = named("pairs", all={}, hub={"objectives.x2_x3": None}, one={"objectives.x2_x3": None, "objectives.x1_x3": None})
    # wrong pairs are of the training rows alone: what is judged are true pairs
    noise = [Point({"pair_noise": share}, {NOISE: {"train": share}}) for share in (0.0, 0.25, 0.5, 1.0)]
    points = [*product(pairs, noise[:1]), *product(pairs[1:2], noise[1:])]
    return product(points, fixed({"arg.smoke": "true", "total": "20 steps"} if scale == "smoke" else {}))
