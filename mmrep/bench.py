"""`mmrep bench step`, and the state and batches that it and `mmrep check` work on."""

import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmrep.core import allocator, profiling, sharding
from mmrep.data import pipeline, streams
from mmrep.run import assemble, init_program, train_transform

WARM_UP = 3  # steps before the timed ones


def prepare(config: Any) -> tuple[Any, Any, dict, dict]:
    """(run, state, first batches on the devices, hp) for measuring and checking."""
    run = assemble(config)
    streams.check_sizes(config, run.sources)
    with jax.set_mesh(run.mesh):
        state = init_program(run)(np.int32(config.seed), run.hp)
        batches = {}
        for n, s in config.data.items():
            with pipeline.train_batches(
                    run.sources[n], s.batch, streams.stream_seed(config.seed, n), train_transform(config, n, run.tokenizer), steps=1,
                    spec=run.specs[n], on_error=s.get("on_error")) as stream:
                batches[n] = sharding.put_batch(run.mesh, streams.without_text(next(stream)))
        hp = jax.device_put(run.hp, sharding.replicated(run.mesh))
    return run, state, batches, hp


def bench_step(config: Any, steps: int = 10) -> dict[str, Any]:
    """Compile and time the whole train step on one fixed batch.

    step_s and minor_faults_per_step are medians over `steps` steps, after WARM_UP untimed ones: the heap grows in a few
    single steps, which say nothing of the others.
    """
    if steps < 1:
        raise ValueError(f"--steps {steps}: time at least one")
    run, state, batches, hp = prepare(config)
    with jax.set_mesh(run.mesh):
        began = time.perf_counter()
        program = jax.jit(run.step, donate_argnums=0, out_shardings=(run.placed, None)).lower(state, batches, hp).compile()
        compile_s = time.perf_counter() - began
        allocator.fill_holes()
        for _ in range(WARM_UP):
            state, metrics = program(state, batches, hp)
            jax.block_until_ready(metrics)
        rss = profiling.peak_rss_mib()
        faults, times = [], []
        for _ in range(steps):
            before, began = profiling.minor_faults(), time.perf_counter()
            state, metrics = program(state, batches, hp)
            jax.block_until_ready((state, metrics))
            times.append(time.perf_counter() - began)
            faults.append(profiling.minor_faults() - before)
        step_s = statistics.median(times)
        flops = profiling.model_flops(run, batches)
        peak = profiling.gemm_peak(jnp.dtype(config.dtype)) * jax.device_count()
    examples = sum(s.batch for s in config.data.values())
    return {"compile_s": round(compile_s, 3), "step_s": round(step_s, 5), "examples_per_s": round(examples / step_s, 1),
            "model_flops_per_s": flops / step_s, "gemm_peak_flops_per_s": peak, "peak_share": round(flops / step_s / peak, 4),
            "peak_rss_mib": round(rss, 1), "minor_faults_per_step": statistics.median(faults), "loss": float(metrics["loss"]),
            "devices": profiling.device_kinds()}
