"""Two perceptrons on two views of known latents, judged by which latents they hold (Daunhawer et al. 2023; von Kuegelgen et al. 2021).

Command: mmrep train configs/toys/identify.py --workdir runs/identify     (`:smoke` is shorter)
Content is shared, style is shared but for a change, private latents are each view's own; InfoNCE of -|u - v|^2. `shared`: one network mixes
both views, which are two samples of the field `x`, and one encoder reads them. `dim`: of the encodings (0: the content's). `paper`: widths,
batch, steps and learning rate of the authors' code (main_mlp.py of both repositories), hours on a GPU.
"""

import base

from mmrep.config import parse_arg


def get_config(arg: str = ""):
    a = parse_arg(arg, smoke=False, paper=False, shared=False, content=5, style=5, private=5, dim=0, width=256)
    c = base.get_config()
    total, dim = a.content + a.style + a.private, a.dim or a.content
    widths = tuple(n * total for n in (10, 50, 50, 50, 50, 10)) if a.paper else (a.width,) * 3
    names = ("x", "x") if a.shared else ("x1", "x2")
    c.total = "4 steps" if a.smoke else "300001 steps" if a.paper else "4000 steps"
    c.encoders = {name: {"name": "perceptron", "widths": (*widths, dim), "start": "torch" if a.paper else "kaiming"} for name in names}
    c.inputs = {name: {"mean": 0.0, "std": 1.0} for name in names}  # as they are
    c.head.kind = "none"
    views = ({"modality": "x", "sample": 0}, {"modality": "x", "sample": 1}) if a.shared else names
    c.objectives = {"pair": {"name": "contrastive", "a": views[0], "b": views[1], "similarity": "l2", "temperature": 1.0,
                             "learn_temperature": False}}
    latent = {"content": a.content, "style": a.style, "private": a.private, "layers": 3 if a.paper else 2, "names": names,
              "shared_mixing": a.shared, "change": 1.0, "causal": False, "dependent": False, "freedom": 1 if a.paper else 5,
              "pair_noise": {"train": 0.0}}
    fitted = 20480 if a.paper else 1024  # rows of the kernel regressions
    n = {"train": 2**24 if a.paper else 2**18, "val": max(fitted, 4096), "test": max(fitted, 4096)}
    n = {"train": 512, "val": 256, "test": 256} if a.smoke else n
    c.data = {"main": {"source": {"name": "phantom", "mode": "latent", "seed": 0, "n": n, "latent": latent},
                       "batch": 6144 if a.paper else 512, "cache_mib": 0 if a.paper else 128}}
    c.optim.lr, c.optim.wd, c.optim.clip = (1e-4 if a.paper else 2e-3), 0.0, 2.0
    if a.paper:
        c.optim.schedule, c.optim.warmup = "constant", "0 steps"
    c.rules = ()  # the usual ones shard transformers
    labels = ("content", "style", *(("private_1", "private_2") if a.private else ()))
    c.evals = {"identify": {"name": "identify", "modality": names[0], "labels": labels, "limit": fitted}}
    c.eval.controls, c.eval.limit = (), max(fitted, 4096)
    c.save.every, c.save.keep = "100%", 1
    return c
