"""The plane of alignment and uniformity: encoders of many weights of the two, and of InfoNCE (Wang & Isola 2020, section 5)."""

from mmrep.sweeps import Point, fixed, product

CONFIG = "configs/toys/captions.py"
SEEDS = {"smoke": 1, "small": (10, 11, 12), "paper": (10, 11, 12)}
STEPS = {"smoke": "4 steps", "small": "400 steps", "paper": "200 epochs"}
SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 1.0)  # of uniformity; the rest is alignment's
TEMPERATURES = (0.02, 0.07, 0.2, 0.5, 1.0, 2.0)


# the paper's batch, dimensions and learning rate (0.12 for 256 rows); its encoders see STL-10
PAPER = {"data.main.batch": 768, "optim.name": "sgd", "optim.kwargs": {"momentum": 0.9}, "optim.lr": 0.36, "optim.wd": 1e-4,
         "optim.clip": 0.0, **{f"encoders.{view}.widths": (512, 512, 128) for view in ("x1", "x2")}}


def sweep(scale: str) -> list:
    pair = {"a": "x1", "b": "x2"}
    shares, temperatures = (SHARES[::3], TEMPERATURES[::3]) if scale == "smoke" else (SHARES, TEMPERATURES)
    weights = [(2.0, u) for u in shares] + [(8.0, u) for u in shares if 0 < u < 1]
    both = [Point({"loss": "align_uniform", "uniform": u, "t": t}, {
        "objectives.pair": {"name": "align_uniform", "align": 1.0 - u, "uniform": u, "t": t} | pair}) for t, u in weights]
    infonce = [Point({"loss": "InfoNCE", "temperature": t}, {
        "objectives.pair": {"name": "contrastive", "temperature": t, "learn_temperature": False} | pair}) for t in temperatures]
    # noise of the views: where there is little, whatever is spread tells all
    return product(fixed({"total": STEPS[scale], "data.main.source.attributes.noise": 0.5} | (PAPER if scale == "paper" else {})),
                   both + infonce)
