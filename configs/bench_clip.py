"""The two towers that the step benchmarks time: ViT-Ti/16 at 64 px (or ViT-S/16 at 96) and a 12-layer text tower of its width.

Command: mmrep bench step configs/bench_clip.py[:preset=s96,batch=256,low_memory]      (peers: experiments/step_time)
Bytes of the phantom's reports are the text, 32 tokens; pictures have 3 channels as the peers' have.
"""

import base

from mmrep.config import parse_arg

SIZES = {"ti64": (64, 192, 3), "s96": (96, 384, 6)}


def get_config(arg: str = ""):
    a = parse_arg(arg, smoke=False, preset="ti64", batch=64, low_memory=False)
    if a.preset not in SIZES:
        raise ValueError(f"config argument preset={a.preset!r}; valid: {', '.join(SIZES)}")
    size, width, heads = SIZES[a.preset]
    c = base.get_config()
    c.total = "2 steps" if a.smoke else "100 steps"
    depth = 1 if a.smoke else 12
    # low memory: one compiled block over stacked params, recomputed in the backward pass
    tower = {"width": width, "depth": depth, "heads": heads, "pool": "mean", "scan": a.low_memory, "remat": a.low_memory}
    c.encoders = {"image": {"name": "vit", "patch": (16, 16), **tower}, "text": {"name": "text", **tower}}
    c.head.dim = width
    c.tokenizer = {"name": "byte", "length": 32}
    c.objectives = {"clip": {"name": "contrastive"}}
    batch = 8 if a.smoke else a.batch
    c.data = {"main": {"source": {"name": "phantom", "size": size, "n": 4 * batch, "modalities": ("image", "text")},
                       "prepare": ({"name": "to_channels", "channels": 3},), "batch": batch}}
    c.optim.lr = 1e-4
    return c
