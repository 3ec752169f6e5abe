"""The training loop, the only one."""

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mmrep import config as cfg
from mmrep.core import checkpoint, sharding
from mmrep.core.types import TrainState
from mmrep.data import pipeline, streams
from mmrep.evals.suite import Suite, as_json
from mmrep.run import Run, assemble, describe, train_transform, write_json
from mmrep.writers import Progress, Writer

Say = Callable[[str], None]


class Stopped(Exception):
    """A signal asked the run to stop; its state is saved."""


def train(config: Any, workdir: str | Path, *, programs: dict | None = None, say: Say | None = None) -> dict:
    """Train, evaluate and write WORKDIR; returns results.json's content. A run that was stopped goes on.

    programs: compiled steps by program key, kept by a caller that trains several configs in one process; runs that
    differ only in traced values (seed, lr, warm-up, loss weights, lengths) share one.
    Raises ValueError for a config or data that cannot run, FloatingPointError naming step and leaf where a gradient is
    not finite, Stopped after SIGTERM (the state is saved).
    """
    say = say or (lambda text: print(text, file=sys.stderr, flush=True))
    programs = {} if programs is None else programs
    workdir = Path(workdir)
    changes = cfg.plain(config.stages)
    if not changes:
        return _train(config, _open(workdir), programs, say)
    before, results = None, {}
    for i, change in enumerate(changes):
        stage = cfg.override_with(config, {"stages": ()} | change, f"config.stages[{i}]")
        if before is not None:
            with stage.unlocked():
                stage.init.path = str(before)
        before = workdir / f"stage{i}"
        say(f"stage {i + 1} of {len(changes)}: {before}")
        results = _train(stage, _open(before), programs, say)
    write_json(workdir / "results.json", results)
    (workdir / "last_stage").write_text(before.name)
    return results


def _open(workdir: Path) -> Path:
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        probe = workdir / ".writable"
        probe.write_bytes(b"0")
        probe.unlink()
    except OSError as error:
        raise OSError(f"--workdir {workdir}: cannot be written ({error.strerror}); choose another folder") from None
    return workdir


def _train(config: Any, workdir: Path, programs: dict, say: Say) -> dict:
    began = time.perf_counter()
    seconds: dict[str, float] = {}
    lead = jax.process_index() == 0

    # ---- parts -----------------------------------------------------------------------------------------------------
    run = assemble(config, workdir)
    suite = Suite(run)
    main = "main" if "main" in config.data else sorted(config.data)[0]
    size = dict(batch=config.data[main].batch, examples=len(run.sources[main]), total=run.total)
    every = {k: cfg.steps(config[k].every, f"config.{k}.every", **size) for k in ("log", "eval", "save")}
    if lead:
        _record(config, workdir)
    finished = workdir / "results.json"
    if finished.is_file():
        import json
        old = json.loads(finished.read_text())
        if old.get("config_hash") == cfg.digest(config):
            say(f"{workdir}: this run is finished; its results stand in {finished}")
            return old
    say(f"{config.data[main].batch} examples a step, {run.total} steps, {len(run.sources[main]):,} training examples, "
        f"{sum(int(np.prod(x.shape)) for x in jax.tree.leaves(run.shapes.params)) / 1e6:.2f} M params, "
        f"{jax.device_count()} {jax.devices()[0].device_kind} device(s)")

    with jax.set_mesh(run.mesh):
        # ---- state -------------------------------------------------------------------------------------------------
        manager = checkpoint.open_folder(workdir / "checkpoints", config.save.keep, config.save.metric, config.save.mode)
        state, how = _start(run, manager, programs, say)
        first = int(state.step)
        seconds["start"] = round(time.perf_counter() - began, 2)
        say(f"{how} in {seconds['start']:.1f} s; compiling the step at its first use")
        program = programs.setdefault(("step", run.program), jax.jit(
            run.step, donate_argnums=0, out_shardings=(run.placed, None)))
        hp = jax.device_put(run.hp, sharding.replicated(run.mesh))
        writer = Writer(workdir, first, config.log.tensorboard, lead)
        progress = Progress(run.total, config.data[main].batch, first)
        batches = {n: pipeline.train_batches(
            run.sources[n], s.batch, config.seed, train_transform(config, n, run.tokenizer), start=first,
            host=jax.process_index(), hosts=jax.process_count(), threads=config.loader.threads,
            prefetch=config.loader.prefetch, on_error=s.get("on_error"), spec=run.specs[n],
            index_offset=_offset(run, n)) for n, s in config.data.items()}
        stop = _Stop()
        pending: tuple[int, dict] | None = None
        loop_began = time.perf_counter()
        evaluated: dict[int, dict] = {}

        # ---- loop --------------------------------------------------------------------------------------------------
        try:
            for at in range(first, run.total):
                local = {n: streams.without_text(next(b)) for n, b in batches.items()}
                state, metrics = program(state, {n: sharding.put_batch(run.mesh, b) for n, b in local.items()}, hp)
                if at == first:
                    jax.block_until_ready(metrics["loss"])
                    seconds["first_step"] = round(time.perf_counter() - began, 2)
                    progress.warm(at + 1)
                    for b in batches.values():
                        b.waited = 0.0
                if pending is not None:
                    _read(pending, run, every["log"], writer, progress, batches)
                pending, done = (at + 1, metrics), at + 1
                last = done == run.total
                saving = last or stop.asked or (every["save"] and done % every["save"] == 0)
                judging = every["eval"] and (done % every["eval"] == 0 or last)
                if saving or judging:
                    _read(pending, run, every["log"], writer, progress, batches)  # only a finite state is saved or judged
                    pending = None
                if judging:
                    found = as_json(suite.evaluate(state.params["encoders"], "val"))
                    evaluated[done] = {f"val/{k}": v["value"] for k, v in found.items()}
                    writer.write(done, evaluated[done])
                if saving:
                    checkpoint.save(manager, state, _save_metrics(config, evaluated.get(done)))
                if stop.asked and not last:
                    checkpoint.wait(manager)
                    raise Stopped(f"{workdir}: stopped by {stop.name} after step {done}; the same command goes on from there")
        finally:
            stop.restore()
            progress.end()
            writer.close()
            for b in batches.values():
                b.close()
            checkpoint.close(manager)
        seconds["train"] = round(time.perf_counter() - loop_began, 2)
        skipped = sum(b.skipped for b in batches.values())
        if skipped:
            say(f"{skipped} rows could not be read and were masked")

        # ---- results -----------------------------------------------------------------------------------------------
        from mmrep.evaluate import final
        results = final(run, suite, state, workdir, seconds, say)
    return results


def _start(run: Run, manager: Any, programs: dict, say: Say) -> tuple[TrainState, str]:
    """Resume the workdir's newest checkpoint; else start from the seed, and from `config.init.path` where given."""
    newest = checkpoint.latest(manager)
    if newest is not None:
        return checkpoint.restore(manager, newest, run.shapes, run.placed), f"resumed at step {newest}"
    init = programs.setdefault(("init", run.program), jax.jit(run.init, out_shardings=run.placed))
    state = init(np.int32(run.config.seed), run.hp)
    c = run.config.init
    if not c.path:
        return state, "started"
    source = checkpoint.read_params(Path(c.path))["params"]
    params, report = checkpoint.take_over(state.params, source, c.only, cfg.plain(c.rename))
    say(f"config.init.path {c.path}: {len(report['loaded'])} leaves loaded, {len(report['missing'])} missing, "
        f"{len(report['unexpected'])} unexpected")
    for kind in ("missing", "unexpected"):
        for path in report[kind][:20]:
            say(f"  {kind}: {path}")
    ema = {n: jax.tree.map(lambda a: a + 0, _like(params["encoders"], e)) for n, e in state.ema.items()}
    return state._replace(params=params, ema=ema), "started from other params"


def _like(full: dict, partial: dict) -> dict:
    return {k: _like(full[k], v) if isinstance(v, dict) else full[k] for k, v in partial.items()}


def _offset(run: Run, stream: str) -> int:
    """Streams follow each other in the index, so that no two examples of a step share their random draws."""
    names = sorted(run.sources)
    return sum(len(run.sources[n]) for n in names[: names.index(stream)])


def _read(pending: tuple[int, dict], run: Run, every: int, writer: Writer, progress: Progress, batches: dict) -> None:
    """Fetch a step's metrics; raise FloatingPointError where its gradient was not finite."""
    step, metrics = pending
    finite = np.asarray(metrics["finite"])
    if not finite.all():
        leaf = run.names[int(np.argmin(finite))]
        raise FloatingPointError(f"step {step}: {'the loss' if leaf == 'loss' else 'the gradient of ' + leaf} is not "
                                 "finite; the last good state is saved. Try a lower config.optim.lr or config.optim.clip")
    if every and (step % every == 0 or step == run.total):
        values = {k: float(v) for k, v in metrics.items() if k != "finite"}
        writer.write(step, values)
        progress.show(step, values, sum(b.waited for b in batches.values()))


def _save_metrics(config: Any, found: dict | None) -> dict | None:
    """What best-k ranks by. Raises ValueError if the evaluators give no such metric."""
    name = config.save.metric
    if not name or found is None:
        return None
    if name not in found:
        from mmrep.core.names import nearest
        raise ValueError(f"config.save.metric: no evaluator gives {name!r}; {nearest(name, found)}")
    return {name: found[name]}


def _record(config: Any, workdir: Path) -> None:
    """Write config.json and run.json; refuse a workdir that holds another config's run."""
    file = workdir / "config.json"
    if file.is_file():
        changed = cfg.diff(cfg.from_json(file.read_text()), config)
        if changed:
            key, (old, new) = next(iter(changed.items()))
            raise ValueError(f"--workdir {workdir}: holds a run of another config: config.{key} was {old!r}, is {new!r}"
                             f"{f' (and {len(changed) - 1} more)' if len(changed) > 1 else ''}; use another --workdir")
    part = file.with_suffix(".part")
    part.write_text(cfg.to_json(config) + "\n")
    part.replace(file)
    write_json(workdir / "run.json", describe(config))


class _Stop:
    """Remembers a SIGTERM or SIGINT; outside the main thread there are none to catch."""

    def __init__(self) -> None:
        self.asked, self.name, self._old = False, "", {}
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._old[number] = signal.signal(number, self._catch)
        except ValueError:
            pass

    def _catch(self, number: int, _: Any) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt  # asked twice
        self.asked, self.name = True, signal.Signals(number).name

    def restore(self) -> None:
        for number, old in self._old.items():
            signal.signal(number, old)
