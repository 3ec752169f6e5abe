"""Gap and object bias against how many attributes a caption names (Schrodi et al. 2025, figure 6)."""

from mmrep.sweeps import Point, fixed, product

CONFIG = "configs/toys/captions.py"
SEEDS = {"smoke": 1, "small": (10, 11, 12), "paper": (10, 11, 12)}
STEPS = {"smoke": "4 steps", "small": "1000 steps", "paper": "50000 steps"}
MENTIONED = (1, 2, 3, 4, 6)


def sweep(scale: str) -> list:
    views = "data.main.source.attributes"
    return product(fixed({"total": STEPS[scale]}), [
        Point({"mentioned": n, "image": image}, {f"{views}.mentioned": n, f"{views}.balanced": image == "as poor"})
        for image in ("whole", "as poor") for n in MENTIONED if n < 6 or image == "whole"])
