"""`mmrep check`: what to know of a config before a long run."""

import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmrep import config as cfg
from mmrep.bench import prepare
from mmrep.core import profiling, sharding, tree
from mmrep.core.step import presence
from mmrep.core.types import Objective
from mmrep.data import pipeline, streams, survey
from mmrep.run import Run, train_transform
from mmrep.train import check_stage, stages_of

# dense bf16 peak FLOP/s of one chip (vendor data sheets) and the share of it that training usually reaches
CHIPS = {"TPU v4": 275e12, "TPU v5p": 459e12, "A100": 312e12, "H100": 989e12}
USUAL_SHARE = 0.4


def check(config: Any, steps: int = 60, say: Callable[[str], None] = print) -> bool:
    """Print one line a check with ok, LOOK or FAIL; True if none failed. Trains `steps` steps twice."""
    if steps < 2:
        raise ValueError(f"--steps {steps}: take at least two")
    stages = stages_of(config)
    for i, stage in enumerate(stages):
        check_stage(stage, f"config.stages[{i}]")
    if stages:
        say(f"ok   {'stages':28}all {len(stages)} can be built; what follows is of the first")
        config = stages[0]
    run, state, batches, hp = prepare(_skipping(config))  # to tell of all bad rows, not of the first alone
    failed = False

    def line(mark: str, name: str, text: str) -> None:
        nonlocal failed
        failed |= mark == "FAIL"
        say(f"{mark:5}{name:28}{text}")

    with jax.set_mesh(run.mesh):
        _rows(run, config, line)
        _sizes(run, batches, line)
        _tokens(run, line)
        one = _short(hp, steps)
        grads = jax.jit(jax.grad(lambda p: run.loss(p, state.ema, state.aux, batches, state.rng, state.step, one)[0]))
        _gradients(run, grads(state.params), line)
        program = jax.jit(run.step, out_shardings=(run.placed, None))
        first = _overfit(run, program, state, batches, one, steps, line)
        _first_losses(run, first, batches, line)
        _shuffled(run, program, state, one, steps, line)
    return not failed


def _skipping(config: Any) -> Any:
    """The config with every bad row masked, whatever its streams and sources say."""
    out = config.copy_and_resolve_references()
    with out.unlocked():
        for stream in out.data.values():
            stream.on_error = "skip"
            for source in (stream.source,) if "source" in stream else stream.sources.values():
                if "on_error" in source:
                    del source["on_error"]
    return out


def _skips(stream: Any) -> bool:
    """Whether a stream asks to mask bad rows; a mixture does where all of its sources do."""
    stream = cfg.plain(stream)
    sources = [stream["source"]] if "source" in stream else list(stream["sources"].values())
    return all((s.get("on_error") or stream.get("on_error")) == "skip" for s in sources)


def _rows(run: Run, asked: Any, line: Callable, most: int = 2000) -> None:
    """Rows of every split that cannot be read or are of another shape, what their sources say of them, and the scale of the pixels.

    asked: the config as it was given: where it does not skip bad rows, they fail the check.
    """
    for name, stream in run.config.data.items():
        opened = {}
        for split in streams.SPLITS if run.config.evals else ("train",):
            try:
                opened[split] = source = run.sources[name] if split == "train" else \
                    streams.open_source(stream, split, f"config.data.{name}")
            except (ValueError, OSError) as error:
                line("FAIL", f"rows of {split} ({name})", str(error))
                continue
            transform = train_transform(run.config, name, run.tokenizer, split == "train")
            spec = run.specs[name] if split == "train" else pipeline.probe(run.sources[name], transform, run.config.seed, "skip")
            tried, bad = survey.unreadable(source, most, transform, spec)
            problems = [*(str(why) for _, why in getattr(source, "problems", {}).values()), *map(str, bad)]
            rows = len(source) + getattr(source, "skipped", 0)
            line(("LOOK" if _skips(asked.data[name]) else "FAIL") if problems else "ok", f"rows of {split} ({name})",
                 f"{tried:,} of {rows:,} read, " + (f"bad: {len(problems)}, e.g. {problems[0]}" if problems else "none is bad"))
            for note in survey.of_split(run.sources[name], source, split):
                line("LOOK", f"rows of {split} ({name})", note)
        for note in (*survey.repeated(opened), *survey.one_text(survey.some_texts(run.sources[name]))):
            line("LOOK", f"rows ({name})", note)
        for note in survey.idle(name, run.config.data[name], run.sources[name]):
            line("LOOK", f"transforms ({name})", note)
        for counts in survey.class_counts(run.sources[name]):
            line("ok", f"labels of train ({name})", counts)
        scales = survey.scales(run.config)
        found = survey.pixels(run.sources[name], train_transform(run.config, name, run.tokenizer), scales)
        for m, values in found.items():
            odd = survey.odd_scale(name, {m: values})
            line("LOOK" if odd else "ok", f"{m} pixels ({name})", odd[0] if odd else
                 f"mean {values[2]:.2f}, std {values[3]:.2f} as the encoder gets them")


def _short(hp: dict, steps: int) -> dict:
    """The run's hyper-parameters on a short schedule, in which every term counts from the first step to the last."""
    always = {"from": jnp.float32(0), "until": jnp.float32(np.inf), "ramp": jnp.float32(0)}
    terms = {name: {k: always.get(k, v) for k, v in term.items()} for name, term in hp["terms"].items()}
    return hp | {"terms": terms, "optim": hp["optim"] | {"total": jnp.float32(steps), "warmup": jnp.float32(max(steps // 10, 1))}}


def _sizes(run: Run, batches: dict, line: Callable) -> None:
    line("ok", "parameters", ", ".join(f"{'/'.join(k)} {tree.size(v):,}" for k, v in _groups(run.shapes.params)))
    held = profiling.tree_bytes(run.shapes, run.placed)
    line("ok", "state, bytes a device", f"{held:,} ({held / 2**20:.1f} MiB) on {jax.device_count()} device(s)")
    flops = profiling.model_flops(run, batches) * run.total
    hours = ", ".join(f"{n} {flops / (p * USUAL_SHARE) / 3600:.3g}" for n, p in CHIPS.items())
    hours = hours if flops > 1e16 else f"seconds on any of {', '.join(CHIPS)}"
    line("ok", "accelerator hours", f"{hours} for {run.total} steps, {flops:.3g} FLOP at {USUAL_SHARE:.0%} of bf16 peak")


def _groups(params: dict) -> list[tuple[tuple[str, str], Any]]:
    return [((top, name), part) for top, inner in params.items() for name, part in inner.items()]


def _tokens(run: Run, line: Callable) -> None:
    for name, source in run.sources.items():
        most = run.config.tokenizer.length
        found = survey.truncated(survey.some_texts(source), run.tokenizer, most)
        if found[2]:
            odd = survey.odd_tokens(name, found, most)
            line("LOOK" if odd else "ok", f"truncated tokens ({name})", f"{found[0]:.1%} of the tokens; {found[1]:.1%} of "
                 f"{found[2]} texts are longer than config.tokenizer.length = {most}")


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
    seconds = []
    for _ in range(steps):
        began = time.perf_counter()
        state, metrics = program(state, batches, hp)
        first = first or {k: float(v) for k, v in metrics.items() if k != "finite"}
        if not bool(metrics["finite"].all()):
            line("FAIL", "overfit one batch", f"not finite: {run.names[int(np.argmin(np.asarray(metrics['finite'])))]}")
            return first
        seconds.append(time.perf_counter() - began)
    step_s = statistics.median(seconds[1:])
    line("ok", "time on this machine", f"{step_s:.3g} s a step, {step_s * run.total / 3600:.2g} h for {run.total} steps, without "
         "reading and evaluation")
    start, end = first["loss"], float(metrics["loss"])
    mark = "ok" if end < 0.5 * start else "LOOK" if end < start else "FAIL"
    line(mark, "overfit one batch", f"loss {start:.4f} -> {end:.4f} in {steps} steps")
    return first


def _first_losses(run: Run, first: dict, batches: dict, line: Callable) -> None:
    """The first loss of each term beside its value for outputs that know nothing, where that is a number.

    moco has none: a student and a teacher that start equal already match.
    """
    for name, spec in run.config.objectives.items():
        objective = run.terms[name].objective
        rows = batches[run.terms[name].stream]
        n = int(presence(rows, objective.views.values()).sum())
        head = run.shapes.params["objectives"].get(name, {}).get("head", {}).get("kernel")
        alike = _positives(rows, objective) if spec.get("group", True) else 1.0
        want = chance(spec, objective, n, run.tokenizer.vocab_size, head and head.shape, alike) if n else None
        if want is not None and f"{name}/loss" in first:
            got = first[f"{name}/loss"]
            line("ok" if abs(got - want) <= 0.25 * want else "LOOK", f"first loss of {name}",
                 f"{got:.4f}, at random {want:.4f}")


def _positives(rows: dict, objective: Objective) -> float:
    """Mean number of a row's positives among the complete rows, itself included: those of its group."""
    here = np.asarray(presence(rows, objective.views.values()))
    group = np.asarray(rows["group"])[here] if "group" in rows else np.arange(here.sum())
    _, sizes = np.unique(group[group >= 0], return_counts=True)
    return float((sizes**2).sum() + (group < 0).sum()) / max(len(group), 1)


def chance(spec: Any, objective: Objective, n: int, vocab: int, head: tuple[int, int] | None = None, positives: float = 1.0
           ) -> float | None:
    """The loss of a term over n complete rows whose outputs are independent of the data; None where there is no such number.

    contrastive: log n. sigmoid: all logits at the bias b, m softplus(-b) + (n - m) softplus(b) for m positives a row. caption: log vocab.
    masked on standardized patches, whose last layer is head = (width, P) at its Xavier start: 1 + 2 width / (width + P), the
    variances of target and output. distill: 2 - 2 cos = 2. matching: log 2. supervised: log K a class, log 2 a finding.
    """
    if spec.name == "contrastive":
        return math.log(n)
    if spec.name == "sigmoid":
        if spec.get("soft"):
            return None
        bias = objective.hp["bias"]
        return float(positives * np.logaddexp(0, -bias) + (n - positives) * np.logaddexp(0, bias))
    if spec.name == "supervised":
        return sum(h.get("weight", 1.0) * (math.log(h["classes"]) if h["kind"] == "ce" else math.log(2))
                   for h in spec.heads.values())
    if spec.name == "masked" and spec.get("norm_pixels", True) and head:
        return 1 + 2 * head[0] / sum(head)
    return {"matching": math.log(2), "caption": math.log(vocab), "distill": 2.0}.get(spec.name)


def _shuffled(run: Run, program: Callable, state: Any, hp: dict, steps: int, line: Callable) -> None:
    """Train on pairs shuffled within each batch: a loss below chance means that something besides the pairs leaks.

    Chance is the mean of `_chance` over the last steps, for the rows of a batch that then hold both views.
    """
    config = run.config
    judged = {n: t for n, t in run.terms.items() if config.objectives[n].name in ("contrastive", "sigmoid")}
    for name, term in run.terms.items():
        if name not in judged and len({view.modality for view in term.objective.views.values()}) > 1:
            line("LOOK", "shuffled pairs at chance", f"{name}: {config.objectives[name].name} reads several modalities and has no "
                 "known loss at chance; train on shuffled pairs beside it and compare")
    if not judged:
        return
    losses: dict[str, list] = {n: [] for n in judged}
    chances: dict[str, list] = {n: [] for n in judged}
    fields = {n: [set(run.reads[t.objective.views[v].modality]) for v in ("a", "b")] for n, t in judged.items()}
    moved = {s: {key for n, t in judged.items() if t.stream == s and not fields[n][0] & fields[n][1] for key in fields[n][1]}
             for s in config.data}
    readers = {n: pipeline.train_batches(run.sources[n], s.batch, streams.stream_seed(config.seed + 1, n),
                                         train_transform(config, n, run.tokenizer), spec=run.specs[n],
                                         on_error=s.get("on_error")) for n, s in config.data.items()}
    for at in range(steps):
        arrays = {n: shuffle(streams.without_text(next(reader)), moved[n], (config.seed, at)) for n, reader in readers.items()}
        state, metrics = program(state, {n: sharding.put_batch(run.mesh, rows) for n, rows in arrays.items()}, hp)
        for name, term in judged.items() if at >= steps - max(steps // 4, 1) else ():
            here = int(np.asarray(presence(arrays[term.stream], term.objective.views.values())).sum())
            losses[name].append(float(metrics[f"{name}/loss"]))
            chances[name].append(_chance(config.objectives[name].name, max(here, 1)))
    for reader in readers.values():
        reader.close()
    for name, term in judged.items():
        if shared := fields[name][0] & fields[name][1]:
            line("ok", "shuffled pairs at chance", f"{name}: both views are {min(shared)!r}, there are no pairs to shuffle")
            continue
        got, want = float(np.mean(losses[name])), float(np.mean(chances[name]))
        line("ok" if got > 0.97 * want else "FAIL", "shuffled pairs at chance",
             f"{name} loss {got:.4f} over the last {len(losses[name])} of {steps} steps, chance {want:.4f}")


def _chance(objective: str, n: int) -> float:
    """The lowest loss of n rows whose pairs tell nothing. contrastive: log n. sigmoid: every logit says 1 / n."""
    if objective == "contrastive" or n == 1:
        return math.log(n)
    return math.log(n) + (n - 1) * math.log(n / (n - 1))


def shuffle(rows: dict, modalities: set[str], key: tuple[int, int]) -> dict:
    """The batch with the modalities' rows permuted, each its own way, and every row a group of its own (groups speak of pairs)."""
    rng = np.random.Generator(np.random.Philox(key=key))
    order = {m: rng.permutation(len(rows["index"])) for m in sorted(modalities)}
    mine = {k: v[order[k.partition("/")[0]]] for k, v in rows.items() if k.partition("/")[0] in modalities}
    present = rows["present"] | {k: v[order[k.partition("/")[0]]] for k, v in rows["present"].items()
                                 if k.partition("/")[0] in modalities}
    return rows | mine | {"present": present, "group": np.asarray(rows["index"], np.int32)}
