"""The smallest configs that exercise everything, and helpers to run a step of them on any mesh."""

import importlib.util
from pathlib import Path

import jax
import numpy as np

from mmrep.core import sharding
from mmrep.data import pipeline, streams
from mmrep.run import assemble, train_transform

ROOT = Path(__file__).resolve().parent.parent
TOWERS = {"image": {"name": "vit", "patch": (8, 8), "width": 16, "depth": 1, "heads": 2},
          "text": {"name": "text", "width": 16, "depth": 1, "heads": 2}}


def base():
    """configs/base.py's ConfigDict."""
    spec = importlib.util.spec_from_file_location("base", ROOT / "configs" / "base.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()


def config(objectives: dict, batch: int = 16, nets: dict | None = None, **changes):
    """A tiny config with these objectives; changes: {"optim.lr": 1e-2, ...}."""
    c = base()
    c.total = "4 steps"
    c.encoders, c.objectives, c.nets = TOWERS, objectives, nets or {}
    c.head.dim = 16
    c.tokenizer.length = 24
    c.mesh.min_shard = 0
    c.data = {"main": {"source": {"name": "phantom", "n": 64, "size": 32, "modalities": ("image", "text"),
                                  "duplicates": 0.3, "missing": {"text": 0.2}}, "batch": batch}}
    for key, value in changes.items():
        node = c
        *parts, last = key.split(".")
        for part in parts:
            node = node[part]
        with node.unlocked(), node.ignore_type():
            node[last] = value
    return c


def first_batches(run, steps: int = 1):
    """The run's first global batches on its mesh."""
    readers = {n: pipeline.train_batches(run.sources[n], s.batch, run.config.seed,
                                         train_transform(run.config, n, run.tokenizer), spec=run.specs[n], steps=steps,
                                         threads=0)
               for n, s in run.config.data.items()}
    for _ in range(steps):
        yield {n: sharding.put_batch(run.mesh, streams.without_text(next(r))) for n, r in readers.items()}
    for r in readers.values():
        r.close()


def on_mesh(c, shape: tuple[int, int, int], micro: int = 1, steps: int = 1):
    """(run, state at the seed, batches, hp) on a (data, fsdp, tensor) mesh of fake devices."""
    with c.unlocked():
        c.mesh.update(dict(zip(("data", "fsdp", "tensor"), shape)))
        c.micro = micro
    run = assemble(c, devices=jax.devices()[: int(np.prod(shape))])
    with jax.set_mesh(run.mesh):
        state = jax.jit(run.init, out_shardings=run.placed)(np.int32(c.seed), run.hp)
        batches = list(first_batches(run, steps))
        hp = jax.device_put(run.hp, sharding.replicated(run.mesh))
    return run, state, batches, hp


def value_and_grads(c, shape=(1, 1, 1), micro: int = 1):
    """(loss, {path: gradient}) as numpy, at the seed's params, on the first batch."""
    from mmrep.core import tree

    run, state, batches, hp = on_mesh(c, shape, micro)
    with jax.set_mesh(run.mesh):
        fn = jax.jit(jax.value_and_grad(
            lambda p: run.loss(p, state.ema, state.aux, batches[0], state.rng, state.step, hp)[0]))
        value, grads = jax.device_get(fn(state.params))
    return float(value), dict(zip(tree.paths(grads), jax.tree.leaves(grads)))


def assert_close(a: dict, b: dict, tolerance: float = 1e-5):
    """Every leaf to `tolerance` of its largest entry, with a floor of 1e-6 of the global norm."""
    norm = np.sqrt(sum((x**2).sum() for x in a.values()))
    for path in a:
        allowed = max(tolerance * np.abs(a[path]).max(), 1e-6 * norm)
        worst = np.abs(a[path] - b[path]).max()
        assert worst <= allowed, f"{path}: differs by {worst:.3g}, allowed {allowed:.3g}"


