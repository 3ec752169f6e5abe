"""`mmrep bench step` and `mmrep bench data`, and the state and batches that they and `mmrep check` work on."""

import math
import os
import statistics
import time
from contextlib import ExitStack
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmrep import config as cfg
from mmrep.core import allocator, profiling, sharding
from mmrep.data import fast, pipeline, sources, streams
from mmrep.data.cache import cached
from mmrep.data.reading import read_rows
from mmrep.run import assemble, init_program, train_transform

WARM_UP = 3  # steps before the timed ones
CACHED_ROWS, CACHED_BYTES = 4096, 2**30  # at most: what the rate of the cache is measured on


def prepare(config: Any) -> tuple[Any, Any, dict, dict]:
    """(run, state, first batches on the devices, hp) for measuring and checking."""
    run = assemble(config)
    streams.check_sizes(config, run.sources)
    with jax.set_mesh(run.mesh):
        state = init_program(run)(np.int32(config.seed), run.hp)
        batches = {}
        for n in config.data:
            with _batches(run, n, steps=1) as stream:
                batches[n] = sharding.put_batch(run.mesh, streams.without_text(next(stream)))
        hp = jax.device_put(run.hp, sharding.replicated(run.mesh))
    return run, state, batches, hp


def _batches(run: Any, stream: str, steps: int | None = None) -> pipeline.Batches:
    config, wanted = run.config, run.config.data[stream]
    return pipeline.train_batches(
        run.sources[stream], wanted.batch, streams.stream_seed(config.seed, stream), train_transform(config, stream, run.tokenizer),
        threads=config.loader.threads, prefetch=config.loader.prefetch, steps=steps, spec=run.specs[stream],
        on_error=wanted.get("on_error"))


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


def bench_data(config: Any, batches: int = 32, steps: int = 0) -> dict[str, Any]:
    """Rates of the stream `main` (or the first): read, decode, prepare, augment, tokenize, stack, as training does, without its cache.

    batches: how many are timed, after as many as lie ready. steps: train so many, too.
    cpu_s_per_example: of this process and its threads, which other processes disturb less than the rates; first_batch_s: from opening
    the data; cached_examples_per_s: of at most CACHED_ROWS rows, once they are read and kept, in a later epoch; decode: what decodes the
    pictures of tables; step_s, wait_share: seconds a train step, and the share of them spent waiting for data.
    """
    if batches < 1 or steps < 0:
        raise ValueError(f"--batches {batches} --steps {steps}: time at least one batch, and 0 steps or more")
    name = "main" if "main" in config.data else sorted(config.data)[0]
    stream = cfg.plain(config.data[name])
    began = time.perf_counter()
    source = streams.open_source(stream | {"cache_mib": 0}, "train", f"config.data.{name}")
    tokenizer = streams.open_tokenizer(config, {name: source})
    transform = streams.stream_transform(stream, tokenizer, config.tokenizer.length, True, f"config.data.{name}")
    spec = pipeline.probe(source, transform, on_error=stream.get("on_error"))

    def rate(source: Any, count: int, before: int) -> tuple[float, float, float]:
        """Examples a second, CPU seconds an example, moment of the first batch; `before`: batches that are not timed."""
        with pipeline.train_batches(source, stream["batch"], streams.stream_seed(config.seed, name), transform, spec=spec,
                                    threads=config.loader.threads, prefetch=config.loader.prefetch,
                                    on_error=stream.get("on_error")) as iterator:
            next(iterator)
            first = time.perf_counter()
            for _ in range(before):
                next(iterator)
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(count):
                next(iterator)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return count * stream["batch"] / wall, cpu / count / stream["batch"], first

    ready = config.loader.prefetch + config.loader.threads
    examples_per_s, cpu_s, first = rate(source, batches, ready)
    row_bytes = sum(math.prod(shape) * dtype.itemsize for shape, dtype in spec.values() if shape is not None)
    most = max(min(CACHED_ROWS, CACHED_BYTES // max(row_bytes, 1)), stream["batch"])
    kept = cached(sources.subset(source, np.arange(min(len(source), most))))
    for rows in np.array_split(np.arange(len(kept)), -(-len(kept) // 64)):
        read_rows(kept, rows)
    cached_per_s, _, _ = rate(kept, 4 * batches, len(kept) // stream["batch"] + ready)
    specs = stream["sources"].values() if "sources" in stream else [stream["source"]]
    said = [spec.get("decode", "exact") for spec in specs if spec["name"] == "manifest"]
    found = {"examples_per_s": round(examples_per_s, 1), "cpu_s_per_example": cpu_s, "first_batch_s": round(first - began, 3),
             "cached_examples_per_s": round(cached_per_s, 1), "cached_rows": len(kept), "batch": stream["batch"],
             "threads": config.loader.threads, "cores": len(os.sched_getaffinity(0)), "decode": sorted(set(map(fast.library, said)))}
    return found | (_waiting(config, steps) if steps else {})


def _waiting(config: Any, steps: int) -> dict[str, Any]:
    """Seconds a train step, and the share of them spent waiting for batches, over `steps` after WARM_UP untimed ones."""
    run, state, fixed, hp = prepare(config)
    with jax.set_mesh(run.mesh), ExitStack() as closing:
        program = jax.jit(run.step, donate_argnums=0, out_shardings=(run.placed, None)).lower(state, fixed, hp).compile()
        allocator.fill_holes()
        iterators = {n: closing.enter_context(_batches(run, n)) for n in config.data}
        for step in range(WARM_UP + steps):
            if step == WARM_UP:
                jax.block_until_ready(state)
                began, before = time.perf_counter(), sum(i.waited for i in iterators.values())
            inputs = {n: sharding.put_batch(run.mesh, streams.without_text(next(i))) for n, i in iterators.items()}
            jax.block_until_ready(state)  # as in training: the next batch is fetched while a step runs
            state, _ = program(state, inputs, hp)
        jax.block_until_ready(state)
        seconds = time.perf_counter() - began
        waited = sum(i.waited for i in iterators.values()) - before
    return {"step_s": round(seconds / steps, 5), "wait_share": round(waited / seconds, 4)}
