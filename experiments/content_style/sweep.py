"""Content and style in the encoder of two views: dependent latents, what must fail (von Kuegelgen et al. 2021, table of section 5.1)."""

from mmrep.sweeps import fixed, named, product

CONFIG = "configs/toys/identify.py"
SEEDS = {"smoke": 1, "small": (10, 11, 12), "paper": (10, 11, 12)}
SEEDED = ("data.main.source.seed",)  # as in the paper, a seed draws the mixing network and the covariances, too
SHOWN = ("identify/x/content/r2_kernel", "identify/x/style/r2_kernel")
LATENT = "data.main.source.latent."


def sweep(scale: str) -> list:
    p75 = {LATENT + "change": 0.75}
    statistical = p75 | {LATENT + "dependent": True, LATENT + "freedom": 1}
    settings = {"p=1": {"eval.controls": ("untrained",)}, "p=.75": p75, "statistical": statistical,
                "causal": statistical | {LATENT + "causal": True, "eval.controls": ("untrained",)}}
    # what is off: pairs that belong together; a covariance that hardly changes some directions of the style
    settings |= {"wrong pairs": {LATENT + "pair_noise": {"train": 1.0}}, "even covariance": statistical | {LATENT + "freedom": 50}}
    of_scale = {"smoke": {"arg.smoke": "true", "arg.width": "32"}, "small": {"arg.width": "128"},
                "paper": {"arg.paper": "true", "total": "100001 steps", "optim.clip": 0.0}}[scale]
    return product(named("setting", settings), fixed({"arg.shared": "true", "arg.private": "0"} | of_scale))
