"""Singular values of linear encoders: noise on half of the inputs (case 1), layers that start small (case 2) (Jing et al. 2022)."""

from mmrep.sweeps import fixed, named, product

CONFIG = "configs/toys/collapse.py"
SEEDS = {"smoke": 1, "small": (10, 11, 12), "paper": (10, 11, 12)}
SEEDED = ("data.main.source.seed",)
SHOWN = ("spectrum/x:pooled/effective_rank", "spectrum/x:pooled/dimensions")
NOISE = (0.01, 0.5, 1.0, 1.5, 3.0)
DEPTHS = (1, 2, 3, 4)


def sweep(scale: str) -> list:
    def noise(k: float) -> dict:
        return {"data.main.source.latent.amplitude": {"train": k}}

    def deep(layers: int, decay: float = 0.35) -> dict:
        start = {"arg.start": "decay", "encoders.x.decay": decay}
        return noise(1e-3) | start | {"arg.layers": str(layers), "arg.bias": "false", "optim.lr": 1e-2}

    settings = {f"noise {k:g}": noise(k) for k in NOISE} | {f"layers {n}": deep(n) for n in DEPTHS}
    settings |= {"layers 4, even start": deep(4, 0.0)}  # all singular values start at 1
    return product(named("setting", settings), fixed({"arg.smoke": "true"} if scale == "smoke" else {}))
