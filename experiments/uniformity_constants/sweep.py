"""Uniformity of points on the sphere and InfoNCE of perfectly aligned ones against closed forms (Wang & Isola 2020, section 4)."""

from mmrep.sweeps import fixed, grid, product

SEEDS = {"smoke": 1, "small": (10, 11, 12), "paper": (10, 11, 12)}
POINTS = {"smoke": 512, "small": 4096, "paper": 16_384}
BATCHES = {"smoke": (16, 64), "small": (16, 64, 256, 1024, 4096), "paper": (16, 64, 256, 1024, 4096, 16_384)}
DIMS = (2, 3, 8, 32, 128, 512)
LAWS = ("uniform", "cone", "narrow", "collapsed")


def sweep(scale: str) -> list:
    return product(grid({"law": LAWS, "dim": DIMS}), fixed({"points": POINTS[scale], "batches": BATCHES[scale]}))


def simulate(point: dict, seed: int) -> dict[str, float]:
    """{"uniformity": at t = 2, "infonce/00064": loss - log 64 of aligned pairs at temperature 1/2, "infonce/00064/shuffled": of others}."""
    import math

    import jax
    import numpy as np

    from mmrep.metrics.geometry import normalize, uniformity
    from mmrep.objectives.allpairs import infonce

    rng = np.random.Generator(np.random.Philox(key=[seed, point["dim"]]))
    x = rng.standard_normal((point["points"], point["dim"]))
    # a cone: the mean is as long as the deviations, as after a few random ReLU layers; narrow: 100 times as long; collapsed: one point
    x = x + {"cone": 1, "narrow": 100}.get(point["law"], 0) * math.sqrt(point["dim"]) * np.eye(point["dim"])[0]
    x = normalize(np.ones_like(x) if point["law"] == "collapsed" else x)
    loss = jax.jit(lambda u, v: infonce(u, v, 2.0))
    found = {"uniformity": uniformity(x)}
    for n in point["batches"]:
        losses = {"": [], "/shuffled": []}
        for part in np.split(x, len(x) // n)[:8]:
            losses[""].append(loss(part, part))
            losses["/shuffled"].append(loss(part, np.roll(part, 1, axis=0)))
        found |= {f"infonce/{n:05d}{name}": float(np.mean(values)) - math.log(n) for name, values in losses.items()}
    return found
