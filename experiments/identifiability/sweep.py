"""Which latents two encoders of two modalities hold: dependent latents, dimensions, and what must fail (Daunhawer et al. 2023)."""

from mmrep.sweeps import fixed, named, product

CONFIG = "configs/toys/identify.py"
SEEDS = {"smoke": 1, "small": (10, 11, 12), "paper": (10, 11, 12)}
SEEDED = ("data.main.source.seed",)  # as in the paper, a seed draws the mixing networks and the covariances, too
SHOWN = tuple(f"identify/x1/{label}/r2_kernel" for label in ("content", "style", "private_1", "private_2"))
LATENT = "data.main.source.latent."


def sweep(scale: str) -> list:
    n = 5 if scale == "paper" else 3  # content, style and private latents each
    p75 = {LATENT + "change": 0.75}
    settings = {"p=1": {"eval.controls": ("untrained",)}, "p=.75": p75, "statistical": p75 | {LATENT + "dependent": True},
                "causal": p75 | {LATENT + "dependent": True, LATENT + "causal": True, "eval.controls": ("untrained",)}}
    settings |= {f"dim {dim}": {"arg.dim": str(dim)} for dim in (1, n - 1, 2 * n)}
    # what is off: pairs that belong together; a style that differs between the views; a covariance that leaves some of it nearly as it is
    settings |= {"wrong pairs": {LATENT + "pair_noise": {"train": 1.0}}, "same style": {LATENT + "change": 0.0},
                 "even covariance": p75 | {LATENT + "dependent": True, LATENT + "freedom": 50}}
    size = {f"arg.{part}": str(n) for part in ("content", "style", "private")}
    of_scale = {"smoke": {"arg.smoke": "true", "arg.width": "32"}, "small": {"arg.width": "128", "total": "3000 steps"},
                "paper": {"arg.paper": "true"}}[scale]
    return product(named("setting", settings), fixed(size | of_scale))
