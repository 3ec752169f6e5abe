"""Measuring: model FLOPs from the traced program, the GEMM peak, memory, and `mmrep bench step`."""

import math
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def matmul_flops(fn: Callable, *args: Any) -> float:
    """Floating-point operations of all matrix products and convolutions in `fn(*args)`, scans counted by their length.

    XLA's own `cost_analysis` counts a scan's body once, so it under-reports micro-batches and stacked layers.
    """
    return _count(jax.make_jaxpr(fn)(*args).jaxpr)


def _count(jaxpr: Any) -> float:
    total = 0.0
    for eqn in jaxpr.eqns:
        times = 1.0
        if eqn.primitive.name == "dot_general":
            (contract, _), _ = eqn.params["dimension_numbers"]
            shared = math.prod(eqn.invars[0].aval.shape[i] for i in contract)
            total += 2.0 * shared * math.prod(eqn.outvars[0].aval.shape)
        elif eqn.primitive.name == "conv_general_dilated":
            kernel = eqn.invars[1].aval.shape
            out_features = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
            total += 2.0 * math.prod(eqn.outvars[0].aval.shape) * math.prod(kernel) / out_features
        elif eqn.primitive.name == "scan":
            times = eqn.params["length"]
        elif eqn.primitive.name == "custom_vjp_call":
            total += _count(eqn.params["call_jaxpr"].jaxpr)
            continue
        for value in eqn.params.values():
            for inner in value if isinstance(value, (tuple, list)) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    total += times * _count(inner)
    return total


def gemm_peak(dtype: Any = jnp.float32, n: int = 2048, repeats: int = 9) -> float:
    """FLOP/s of the best of several n x n x n products in this process."""
    a = jnp.ones((n, n), dtype)
    product = jax.jit(lambda x, y: x @ y)
    product(a, a).block_until_ready()
    best = math.inf
    for _ in range(repeats):
        began = time.perf_counter()
        product(a, a).block_until_ready()
        best = min(best, time.perf_counter() - began)
    return 2.0 * n**3 / best


def peak_rss_mib() -> float:
    """Peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def minor_faults() -> int:
    """Minor page faults of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def tree_bytes(shapes: Any, placed: Any) -> int:
    """Bytes on one device of a tree of ShapeDtypeStructs under its shardings."""
    total = 0
    for leaf, sharding in zip(jax.tree.leaves(shapes), jax.tree.leaves(placed)):
        item = 8 if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf.dtype.itemsize
        total += math.prod(sharding.shard_shape(leaf.shape)) * item
    return total


def prepare(config: Any) -> tuple[Any, Any, dict, dict]:
    """(run, state, first batches on the devices, hp) for measuring and checking. Call inside `jax.set_mesh`."""
    from mmrep.core import sharding
    from mmrep.data import pipeline, streams
    from mmrep.run import assemble, train_transform

    run = assemble(config)
    with jax.set_mesh(run.mesh):
        state = jax.jit(run.init, out_shardings=run.placed)(np.int32(config.seed), run.hp)
        batches = {}
        for n, s in config.data.items():
            with pipeline.train_batches(run.sources[n], s.batch, config.seed, train_transform(config, n, run.tokenizer),
                                        steps=1, spec=run.specs[n], on_error=s.get("on_error")) as stream:
                batches[n] = sharding.put_batch(run.mesh, streams.without_text(next(stream)))
        hp = jax.device_put(run.hp, sharding.replicated(run.mesh))
    return run, state, batches, hp


def model_flops(run: Any, batches: dict) -> float:
    """Matrix-product FLOPs of a step: forward once and backward twice; recomputation (remat) does not count."""
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (run.shapes, batches))

    def forward(state: Any, batches: dict) -> jax.Array:
        return run.loss(state.params, state.ema, state.aux, batches, state.rng, state.step, run.hp)[0]

    return 3.0 * matmul_flops(forward, *shapes)


def bench_step(config: Any, steps: int = 10) -> dict[str, float]:
    """Compile and time the whole train step on one fixed batch; step_s is the median of `steps`."""
    run, state, batches, hp = prepare(config)
    with jax.set_mesh(run.mesh):
        began = time.perf_counter()
        program = jax.jit(run.step, donate_argnums=0, out_shardings=(run.placed, None)).lower(state, batches, hp).compile()
        compile_s = time.perf_counter() - began
        for _ in range(2):
            state, metrics = program(state, batches, hp)
            jax.block_until_ready(metrics)
        rss = peak_rss_mib()
        faults, times = minor_faults(), []
        for _ in range(steps):
            began = time.perf_counter()
            state, metrics = program(state, batches, hp)
            jax.block_until_ready((state, metrics))
            times.append(time.perf_counter() - began)
        faults = (minor_faults() - faults) / steps
        step_s = statistics.median(times)
        flops = model_flops(run, batches)
        peak = gemm_peak(jnp.dtype(config.dtype)) * jax.device_count()
    examples = sum(s.batch for s in config.data.values())
    return {"compile_s": round(compile_s, 3), "step_s": round(step_s, 5), "examples_per_s": round(examples / step_s, 1),
            "model_flops_per_s": flops / step_s, "gemm_peak_flops_per_s": peak, "peak_share": round(flops / step_s / peak, 4),
            "peak_rss_mib": round(rss, 1), "minor_faults_per_step": round(faults, 1), "loss": float(metrics["loss"])}
