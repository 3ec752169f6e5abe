"""The phantom's omics vector: expression of gene programs, whose co-regulation (not whose level) tells the class."""

from functools import lru_cache

import numpy as np

from mmrep.data.phantom.image import noise_of
from mmrep.data.phantom.latents import Latents
from mmrep.data.phantom.philox import bits_of, normal, uniform
from mmrep.data.phantom.scene import rim_level

BATCHES = 4
LEVELS = {"program": 0.33, "organ": 0.35, "batch": 0.6, "noise": 0.8}


@lru_cache(maxsize=4)
def _loadings(genes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signs of ten programs f32[10,genes], levels by organ f32[3,genes] and by assay batch f32[4,genes]; the same for every seed."""
    rng = np.random.Generator(np.random.Philox(key=[2026, genes]))
    signs = rng.integers(0, 2, (10, genes)) * 2 - 1
    levels = rng.integers(-1024, 1025, (3 + BATCHES, genes)) / 592.0  # uniform of unit variance, in exact steps
    return signs.astype(np.float32), levels[:3].astype(np.float32), levels[3:].astype(np.float32)


def omics(block: Latents, genes: int = 64) -> np.ndarray:
    """Latents of B subjects -> f32[B,genes], log expression around 0. genes: 16..20000.

    x = activity * program[class] + organ + assay batch + noise: the activity is of either sign and its size grows with severity,
    so that the mean expression tells the organ alone and the covariance the class. Raises ValueError for genes out of range.
    """
    if not 16 <= genes <= 20_000:
        raise ValueError(f"phantom omics: genes must be 16..20000, got {genes}")
    programs, organs, batches = _loadings(genes)
    raw = bits_of(block, {"omics/activity": 3})["omics/activity"]
    sign = np.where(raw[:, 0] >> np.uint64(63), np.float32(1), np.float32(-1))
    size = (1 + 0.35 * rim_level(block) + 0.1 * normal(uniform(raw[:, 1]))).astype(np.float32)
    batch = (raw[:, 2] >> np.uint64(62)).astype(np.int64)
    level = {k: np.float32(v) for k, v in LEVELS.items()}
    noise = noise_of(block, "omics/noise", genes)
    return (level["program"] * (sign * size)[:, None] * programs[block["class"]] + level["organ"] * organs[block["organ"]]
            + level["batch"] * batches[batch] + level["noise"] * noise)
