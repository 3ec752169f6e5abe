"""`mmrep check`: what to know of a config before a long run."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmrep.core import profiling, sharding, tree
from mmrep.data import pipeline, streams
from mmrep.run import Run, train_transform

# dense bf16 peak FLOP/s of one chip (vendor data sheets) and the share of it that training usually reaches
CHIPS = {"TPU v4": 275e12, "TPU v5p": 459e12, "A100": 312e12, "H100": 989e12}
USUAL_SHARE = 0.4


def check(config: Any, steps: int = 60, say: Callable[[str], None] = print) -> bool:
    """Print one line a check with ok, LOOK or FAIL; True if none failed. Trains `steps` steps twice."""
    run, state, batches, hp = profiling.prepare(config)
    failed = False

    def line(mark: str, name: str, text: str) -> None:
        nonlocal failed
        failed |= mark == "FAIL"
        say(f"{mark:5}{name:28}{text}")

    with jax.set_mesh(run.mesh):
        _sizes(run, batches, line)
        _tokens(run, line)
        grads = jax.jit(jax.grad(lambda p: run.loss(p, state.ema, state.aux, batches, state.rng, state.step, hp)[0]))
        _gradients(run, grads(state.params), line)
        program = jax.jit(run.step, out_shardings=(run.placed, None))
        one = _fixed_rate(hp, steps)
        first = _overfit(run, program, state, batches, one, steps, line)
        _first_losses(run, first, batches, line)
        if any(term.objective.coupled for term in run.terms.values()):
            _shuffled(run, program, state, one, steps, line)
    return not failed


def _fixed_rate(hp: dict, steps: int) -> dict:
    """The run's hyper-parameters on a short schedule."""
    return hp | {"optim": hp["optim"] | {"total": jnp.float32(steps), "warmup": jnp.float32(max(steps // 10, 1))}}


def _sizes(run: Run, batches: dict, line: Callable) -> None:
    line("ok", "parameters", ", ".join(f"{'/'.join(k)} {tree.size(v):,}" for k, v in _groups(run.shapes.params)))
    held = profiling.tree_bytes(run.shapes, run.placed)
    line("ok", "state, bytes a device", f"{held:,} ({held / 2**20:.1f} MiB) on {jax.device_count()} device(s)")
    flops = profiling.model_flops(run, batches) * run.total
    hours = ", ".join(f"{n} {flops / (p * USUAL_SHARE) / 3600:.3g}" for n, p in CHIPS.items())
    line("ok", "accelerator hours", f"{hours} for {run.total} steps, {flops:.3g} FLOP at {USUAL_SHARE:.0%} of bf16 peak")


def _groups(params: dict) -> list[tuple[tuple[str, str], Any]]:
    return [((top, name), part) for top, inner in params.items() for name, part in inner.items()]


def _tokens(run: Run, line: Callable) -> None:
    for name, source in run.sources.items():
        found = list(streams.texts(source, 2000)) if "text" in source.fields else []
        if found:
            share = float((run.tokenizer.lengths(found) > run.config.tokenizer.length).mean())
            line("LOOK" if share > 0.05 else "ok", f"truncated texts ({name})",
                 f"{share:.1%} of {len(found)} are longer than config.tokenizer.length = {run.config.tokenizer.length}")


def _gradients(run: Run, grads: dict, line: Callable) -> None:
    norms = {"/".join(k): float(jnp.sqrt(sum(jnp.vdot(g, g) for g in jax.tree.leaves(v)))) for k, v in _groups(grads)}
    bad = [k for k, v in norms.items() if not math.isfinite(v)]
    line("FAIL" if bad else "ok", "gradient norms", ", ".join(f"{k} {v:.3g}" for k, v in norms.items()))
    dead = [p for p, g in zip(tree.paths(grads), jax.tree.leaves(grads)) if p not in run.frozen and not bool(jnp.any(g))]
    line("LOOK" if dead else "ok", "leaves without gradient", ", ".join(dead[:5]) + (" ..." if len(dead) > 5 else "")
         if dead else "none")
    line("ok", "frozen leaves", f"{len(run.frozen)} of {len(tree.paths(run.shapes.params))}")


def _overfit(run: Run, program: Callable, state: Any, batches: dict, hp: dict, steps: int, line: Callable) -> dict:
    first: dict = {}
    for _ in range(steps):
        state, metrics = program(state, batches, hp)
        first = first or {k: float(v) for k, v in metrics.items() if k != "finite"}
        if not bool(metrics["finite"].all()):
            line("FAIL", "overfit one batch", f"not finite: {run.names[int(np.argmin(np.asarray(metrics['finite'])))]}")
            return first
    start, end = first["loss"], float(metrics["loss"])
    mark = "ok" if end < 0.5 * start else "LOOK" if end < start else "FAIL"
    line(mark, "overfit one batch", f"loss {start:.4f} -> {end:.4f} in {steps} steps")
    return first


def _first_losses(run: Run, first: dict, batches: dict, line: Callable) -> None:
    """Contrastive at random: log n. Supervised: log K a class, log 2 a finding."""
    for name, spec in run.config.objectives.items():
        rows, want = batches[run.terms[name].stream], None
        n = int(rows["valid"].sum())
        if spec.name == "contrastive":
            want = math.log(n)
        elif spec.name == "supervised":
            want = sum(h.get("weight", 1.0) * (math.log(h["classes"]) if h["kind"] == "ce" else math.log(2))
                       for h in spec.heads.values())
        elif spec.name == "matching":
            want = math.log(2)
        if want is not None and f"{name}/loss" in first:
            got = first[f"{name}/loss"]
            line("ok" if abs(got - want) <= 0.25 * want else "LOOK", f"first loss of {name}",
                 f"{got:.4f}, at random {want:.4f}")


def _shuffled(run: Run, program: Callable, state: Any, hp: dict, steps: int, line: Callable) -> None:
    """Train on pairs shuffled within each batch: a loss below chance means that something besides the pairs leaks."""
    config, late = run.config, []
    readers = {n: pipeline.train_batches(run.sources[n], s.batch, config.seed + 1,
                                         train_transform(config, n, run.tokenizer), on_error=s.get("on_error"), spec=run.specs[n])
               for n, s in config.data.items()}
    for at in range(steps):
        batches = {}
        for n, reader in readers.items():
            rows = streams.without_text(next(reader))
            order = np.random.Generator(np.random.Philox(key=[config.seed, at])).permutation(len(rows["index"]))
            last = [m for m in sorted(rows["present"])][-1]
            rows = rows | {last: rows[last][order], "present": rows["present"] | {last: rows["present"][last][order]}}
            rows.pop("group", None)  # after the shuffle it speaks of one modality only
            rows["group"] = np.asarray(rows["index"], np.int32)
            batches[n] = sharding.put_batch(run.mesh, rows)
        state, metrics = program(state, batches, hp)
        late.append(float(metrics["loss"]))
    for reader in readers.values():
        reader.close()
    for name, term in run.terms.items():
        if term.objective.coupled and config.objectives[name].name == "contrastive":
            n = config.data[term.stream].batch
            got = float(metrics[f"{name}/loss"])
            line("ok" if got > 0.97 * math.log(n) else "FAIL", "shuffled pairs at chance",
                 f"{name} loss {got:.4f} after {steps} steps, chance {math.log(n):.4f}")

