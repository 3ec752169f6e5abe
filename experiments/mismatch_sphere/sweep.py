"""Two circles on the sphere, one pair mismatched: where the contrastive loss wants them (Liang et al. 2022, figure 3)."""

import numpy as np

from mmrep.sweeps import grid

SEEDS = {"smoke": 1, "small": 1, "paper": 1}  # nothing is drawn
SCALES = (1.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1000.0)  # of the logits: 1 / temperature
ANGLES = np.append(np.arange(8) / 4, 1.53) * np.pi  # eight compass points and one close to the seventh
HEIGHTS = np.linspace(-1, 1, 201)
SWAPPED = (6, 8)  # the two that lie close together


def sweep(scale: str) -> list:
    return grid({"mismatch": (False, True), "scale": SCALES})


def loss(height: float, scale: float, mismatch: bool) -> float:
    """The library's symmetric InfoNCE of images on the circle at `height` and texts on the one at -height."""
    import jax.numpy as jnp

    from mmrep.objectives.allpairs import infonce

    radius = np.sqrt(max(1 - height**2, 0.0))
    image, text = (np.stack([radius * np.cos(ANGLES), radius * np.sin(ANGLES), np.full(9, z)], 1) for z in (height, -height))
    order = np.arange(9)
    if mismatch:
        order[list(SWAPPED)] = order[list(SWAPPED[::-1])]
    return float(infonce(jnp.asarray(image[order]), jnp.asarray(text), jnp.float32(scale), method="dense"))


def simulate(point: dict, seed: int) -> dict[str, float]:
    """{"loss/z=...": over the heights, "best |z|", "lowest loss", "loss at z=0", "best scale": of circles that coincide}."""
    from scipy.optimize import minimize_scalar

    found = [loss(z, point["scale"], point["mismatch"]) for z in HEIGHTS]
    best = min(range(len(HEIGHTS)), key=lambda i: (found[i], abs(HEIGHTS[i])))
    flat = minimize_scalar(lambda log: loss(0.0, float(np.exp(log)), point["mismatch"]), bounds=(0, 9), method="bounded")
    curve = {f"loss/z={HEIGHTS[i]:+.2f}": found[i] for i in range(0, 201, 4)}
    return curve | {"best |z|": abs(float(HEIGHTS[best])), "lowest loss": found[best], "loss at z=0": found[100],
                    "best scale": float(np.exp(flat.x))}
