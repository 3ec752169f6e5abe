"""Measuring: model FLOPs from the traced program, the GEMM peak, memory and page faults."""

import math
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from mmrep.core import tree


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


def device_kinds() -> list[str]:
    """Names of the devices, which times and ratios hold for; of a CPU its processor's, where the system tells."""
    kinds = {d.device_kind for d in jax.devices()}
    if "cpu" in kinds:
        try:
            lines = Path("/proc/cpuinfo").read_text().splitlines()
        except OSError:
            lines = []
        names = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
        kinds = kinds - {"cpu"} | {f"cpu: {name}" for name in names} if names else kinds
    return sorted(kinds)


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


def model_flops(run: Any, batches: dict) -> float:
    """Matrix-product FLOPs of loss and gradients of what trains: teachers and frozen towers count their forward pass only.

    Recomputation does not count: where remat or micro-batches bring it above three forward passes, it is those three.
    """
    state, batches = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (run.shapes, batches))

    def loss(trained: dict, state: Any, batches: dict) -> jax.Array:
        params = tree.overlay(state.params, trained)
        return run.loss(params, state.ema, state.aux, batches, state.rng, state.step, run.hp)[0]

    trained = tree.prune(state.params, lambda path: path not in run.frozen)
    return min(matmul_flops(jax.value_and_grad(loss), trained, state, batches), 3.0 * matmul_flops(loss, trained, state, batches))
