"""The training loop, the only one."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mmrep import config as cfg
from mmrep import facts, hosts, start
from mmrep.core import allocator, checkpoint, sharding, tree
from mmrep.core.files import write_json
from mmrep.core.types import TrainState
from mmrep.data import pipeline, streams, survey
from mmrep.data.sources import BadRow
from mmrep.evals.suite import Suite, as_json
from mmrep.evaluate import final
from mmrep.run import Run, assemble, init_program, train_transform
from mmrep.shared import Shared, remember
from mmrep.stop import Stop, Stopped
from mmrep.trackers import open_trackers
from mmrep.workdir import locked, note, open_workdir, record
from mmrep.writers import Progress, Writer

Say = Callable[[str], None]
STOP, REFUSED = 1, 2  # what a host asks of a step: to be the last one; to change nothing, for it could not read a row


def train(config: Any, workdir: str | Path, *, shared: Shared | None = None, say: Say | None = None, figure: bool = True) -> dict:
    """Train, evaluate and write WORKDIR; returns results.json's content. A run that was stopped goes on.

    shared: a dict kept by a caller that trains several configs in one process (`mmrep.shared`): runs that differ only in traced
    values (seed, lr, warm-up, loss weights, lengths, knobs of the data) share one compiled program, equal data are opened once.
    figure: whether to draw figure.png.
    Raises ValueError or OSError for a config, data or folder that cannot run, FloatingPointError naming step and leaf
    where a gradient is not finite and BadRow for a row that cannot be read (the state before that step is saved), Stopped after SIGTERM
    or SIGINT.
    """
    speak = say or (lambda text: print(text, file=sys.stderr, flush=True))
    say = speak if hosts.first() else lambda text: None
    shared = {} if shared is None else shared
    workdir = Path(workdir)
    with Stop(workdir) as stop, ExitStack() as holding:
        cfg.check_keys(config)
        # the lock first: what the folder holds may be another process's work
        hosts.first_then_others(lambda: holding.enter_context(locked(workdir)))
        if not config.stages:
            return alone(lane(config, workdir, shared, stop, say, figure=figure), shared)
        hosts.first_then_others(lambda: open_workdir(config, workdir))
        stages = stages_of(config)
        for i, stage in enumerate(stages):  # all of them first: a mistake in the last must not cost the first
            if i and not (workdir / f"stage{i}" / "results.json").is_file():
                hosts.first_then_others(lambda: check_stage(stage, f"config.stages[{i}]"))
        record(config, workdir)
        seconds: Counter[str] = Counter()
        for i, stage in enumerate(stages):
            say(f"stage {i + 1} of {len(stages)}: {workdir / f'stage{i}'}")
            on = "test" if i == len(stages) - 1 else "val"
            results = alone(lane(stage, workdir / f"stage{i}", shared, stop, say, on, figure), shared)
            seconds.update(results["seconds"])  # also of a stage that an earlier process finished
        results |= {"seconds": {name: round(value, 2) for name, value in seconds.items()}}
        if hosts.first():
            write_json(workdir / "results.json", results)
        return results


def stages_of(config: Any) -> list[Any]:
    """The config of every stage of `config.stages`, each started from the last one's params where it names no others.

    Raises ValueError naming the stage for what is no dict of overrides, an unknown key, a value of another type.
    """
    stages = []
    for i, change in enumerate(cfg.plain(config.stages)):
        if not isinstance(change, dict) or not isinstance(change.get("init", {}), dict):
            raise ValueError(f"config.stages[{i}]: {change!r} is no dict of overrides")
        stage = cfg.override_with(config, {"stages": ()} | change, f"config.stages[{i}]")
        if i and "path" not in change.get("init", {}):
            with stage.unlocked():
                stage.init.path = f"../stage{i - 1}"
        stages.append(stage)
    return stages


def check_stage(config: Any, where: str) -> None:
    """Raise ValueError for what would stop a stage before its first step, without its folder."""
    try:
        run = assemble(config)
        streams.check_sizes(config, run.sources)
        suite = Suite(run)
        suite.check()
        _intervals(config, config.data[suite.stream].batch, len(run.sources[suite.stream]), run.total)
        tree.match(config.init.only, tree.paths(run.shapes.params), "config.init.only")
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


class Step(NamedTuple):
    """What the loop asks for: a step of `run` on (state, inputs, hp, go, asked). The answer is (state, metrics)."""

    run: Run
    args: tuple


def alone(asking: Generator[Step, tuple, dict], shared: Shared) -> dict:
    """Do the steps that one run's loop asks for, by its compiled program; the loop's results."""
    try:
        step = next(asking)
        while True:
            try:
                done = advance(step, shared)
            except BaseException as error:
                asking.throw(error)  # the loop closes what it opened, and it is raised from there
                raise
            step = asking.send(done)
    except StopIteration as end:
        return end.value


def advance(step: Step, shared: Shared) -> tuple[TrainState, dict]:
    """One step by the run's program, which is compiled when it is first asked for."""
    run = step.run
    if ("step", run.program) not in shared:
        shared["step", run.program] = jax.jit(
            with_stop(run.step), donate_argnums=0, out_shardings=(run.placed, sharding.replicated(run.mesh))
        ).lower(*step.args).compile()
        allocator.fill_holes()
    return shared["step", run.program](*step.args)


def whole(state: Any) -> TrainState:
    """A state; of one of several runs in one program (`sweeps.population`) it is a function that takes it out of theirs."""
    return state() if callable(state) else state


def lane(config: Any, workdir: Path, shared: Shared, stop: Stop, say: Say, on: str = "test", figure: bool = True
         ) -> Generator[Step, tuple, dict]:
    """The loop of one run: yields each `Step`, is sent what it gave, returns results.json's content."""
    began = time.perf_counter()
    seconds: dict[str, float] = {}
    hosts.first_then_others(lambda: open_workdir(config, workdir))
    finished = workdir / "results.json"
    if finished.is_file():
        say(f"{workdir}: this run is finished; its results stand in {finished}. To train on from its params: a new --workdir "
            f"with --config.init.path={workdir}")
        return json.loads(finished.read_text())

    # ---- parts -----------------------------------------------------------------------------------------------------
    run, suite, source = hosts.first_then_others(lambda: _parts(config, workdir, shared))
    batch, rows = config.data[suite.stream].batch, len(run.sources[suite.stream])
    every = _intervals(config, batch, rows, run.total)
    fitted = start.fit(source, run)
    record(config, workdir)

    def write_and_look() -> list[str]:
        if not hosts.first():
            return []
        facts.record(workdir, run, suite, bool(checkpoint.steps_of(workdir)))
        return _of_data(run, suite)

    for line in hosts.first_then_others(write_and_look):
        say(line)
    if (warmup := int(run.hp["optim"]["warmup"])) > run.total:
        say(f"config.optim.warmup: {config.optim.warmup!r} is {warmup} steps of {run.total}: the learning rate is not reached")
    frozen = tree.size(tree.prune(run.shapes.params, lambda p: p in run.frozen))
    say(f"{batch} examples a step, {run.total} steps, {rows:,} training examples ({rows // batch:,} steps an epoch), "
        f"{tree.size(run.shapes.params) / 1e6:.2f} M params{f', {frozen / 1e6:.2f} M of them frozen' if frozen else ''}, "
        f"{jax.device_count()} {jax.devices()[0].device_kind} device(s)")

    def due(kind: str, step: int) -> bool:
        return bool(every[kind]) and (step % every[kind] == 0 or (kind == "eval" and step == run.total))

    def scheduled(step: int) -> bool:
        return step == run.total or due("save", step) or bool(config.save.metric) and due("eval", step)

    with jax.set_mesh(run.mesh), ExitStack() as closing:
        # ---- state -------------------------------------------------------------------------------------------------
        manager = checkpoint.open_folder(workdir / "checkpoints", config.save.keep, config.save.metric, config.save.mode,
                                         scheduled)
        closing.callback(checkpoint.close, manager)
        init = remember(shared, "init", run.program, lambda: init_program(run))
        newest = checkpoint.latest(manager)
        if newest is None:
            anew = (workdir / "metrics.jsonl").is_file()
            state = start.start(run, init, fitted, say)
            how = "started anew, for no step had been saved (config.save.every)," if anew else "started"
        else:
            state, how = checkpoint.restore(manager, newest, run.shapes, run.placed), f"resumed at step {newest}"
        first = int(state.step)
        replicated = sharding.replicated(run.mesh)
        hp, go = jax.device_put((run.hp, np.ones((), bool)), replicated)
        writer = Writer(workdir, first, hosts.first(), open_trackers(config, workdir) if hosts.first() else ())
        closing.callback(writer.close)
        progress = Progress(run.total, batch, first, say, hosts.first())
        closing.callback(progress.end)
        batches = {n: _batches(run, n, first) for n in config.data}
        for b in batches.values():
            closing.callback(b.close)
        closing.push(lambda kind, *_: _tell_masked(workdir, batches, say, kind is None))  # however the loop ends
        pending: tuple[int, dict] | None = None
        stopping = False
        seconds["start"] = round(time.perf_counter() - began, 2)
        say(f"{how} in {seconds['start']:.1f} s" + ("; the first step compiles" if first < run.total else ""))
        loop_began = time.perf_counter()

        def settle() -> bool:
            """Read the pending step; whether to stop: several hosts must agree on the step, one need not wait for it."""
            alone = jax.process_count() == 1
            if pending is None:
                return alone and stop.asked
            log = bool(every["log"]) and (pending[0] % every["log"] == 0 or pending[0] == run.total)
            told = _read(*pending, run, log, writer, progress, sum(b.waited for b in batches.values()))
            if told == REFUSED:  # the state is as it was before that step, on every host
                raise next((b.refused for b in batches.values() if b.refused), None) or BadRow(
                    "another host could not read a row; its own output says which")
            return told == STOP or alone and stop.asked

        # ---- loop --------------------------------------------------------------------------------------------------
        with stop.later():
            try:
                if first and due("eval", first) and config.evals and not writer.has(first, "val/"):
                    found = _judge(suite, state, stop)  # the run was stopped before this step was judged
                    if found is None:
                        raise Stopped(f"{workdir}: stopped by {stop.name} after step {first}, which is saved; the same "
                                      "command goes on from there", stop.name)
                    if config.save.metric:  # before the row, which says that the step was judged
                        checkpoint.replace(manager, state, _save_metrics(config, found))
                        checkpoint.wait(manager)
                    writer.write(first, found)
                for done in range(first + 1, run.total + 1):
                    inputs = {n: streams.without_text(next(b)) for n, b in batches.items()}
                    mine = REFUSED if any(b.refused for b in batches.values()) else STOP if stop.asked else 0
                    asked = np.full(sharding.row_shards(run.mesh), mine, np.int8)
                    inputs, asked = sharding.put_batch(run.mesh, (inputs, asked))
                    state, metrics = yield Step(run, (state, inputs, hp, go, asked))
                    go = metrics["go"]
                    if done == first + 1:
                        jax.block_until_ready(go)
                        seconds["first_step"] = round(time.perf_counter() - loop_began, 2)
                        progress.warm(done)
                        for b in batches.values():
                            b.waited = 0.0
                    stopping |= settle()  # one step late, so that the device does not wait for the host
                    pending = (done, metrics)
                    if not (stopping or scheduled(done) or due("eval", done)):
                        continue
                    stopping |= settle()  # only a finite state is saved or judged
                    pending, found = None, None
                    if due("eval", done) and not stopping:
                        found = _judge(suite, whole(state), stop)
                        stopping |= found is None
                        if found:
                            writer.write(done, found)
                    if stopping or scheduled(done):
                        checkpoint.save(manager, whole(state), _save_metrics(config, found))
                    if stopping:
                        checkpoint.wait(manager)
                        raise Stopped(f"{workdir}: stopped by {stop.name or 'another host'} after step {done}, which is "
                                      "saved; the same command goes on from there", stop.name)
            except (FloatingPointError, BadRow):  # mended, or skipped, the same command goes on from here
                state = whole(state)
                checkpoint.save(manager, state)  # `go` kept the state as it was before the bad step
                checkpoint.wait(manager)
                say(f"{workdir}: the state after step {int(state.step)} is saved; mended in its place, the same command goes on from there")
                raise
        if hosts.total({"stop": int(stop.asked)})["stop"]:  # too late for the last step to tell; all hosts leave, or none
            raise Stopped(f"{workdir}: stopped by {stop.name or 'another host'} after the last step, which is saved; the same command "
                          "evaluates it", stop.name)
        seconds["train"] = round(time.perf_counter() - loop_began, 2)
    if config.evals:
        say(f"evaluating on {on}" + (f", with the controls {', '.join(config.eval.controls)}" if config.eval.controls else ""))
    with jax.set_mesh(run.mesh):
        return final(run, suite, whole(state), workdir, seconds, say, init, on, figure)


def _parts(config: Any, workdir: Path, shared: Shared) -> tuple[Run, Suite, start.Source | None]:
    """The run, its evaluators and what it starts from; ValueError for what of them cannot work."""
    source = start.open_source(config, workdir)
    start.inherit_tokenizer(source, config, workdir)
    run = assemble(config, workdir, shared=shared)  # host 0 trains the tokenizer, the others read it
    streams.check_sizes(config, run.sources)
    start.check_tokenizer(source, run)
    suite = Suite(run, shared=shared)
    suite.check()
    return run, suite, source


def _intervals(config: Any, batch: int, examples: int, total: int) -> dict[str, int]:
    """Steps between two logs, evaluations, checkpoints; 0 for never. ValueError where best-k would have nothing to judge by."""
    every = {k: cfg.steps(config[k].every, f"config.{k}.every", batch=batch, examples=examples, total=total)
             for k in ("log", "eval", "save")}
    if config.save.metric and not (every["eval"] and config.evals):
        raise ValueError(f"config.save.metric: {config.save.metric!r} is judged at evaluations; set config.eval.every "
                         "and config.evals")
    return every


def _batches(run: Run, stream: str, first: int) -> pipeline.Batches:
    """This host's batches of a stream, from the step after `first` on."""
    config, wanted = run.config, run.config.data[stream]
    return pipeline.train_batches(
        run.sources[stream], wanted.batch, streams.stream_seed(config.seed, stream), train_transform(config, stream, run.tokenizer),
        start=first, host=jax.process_index(), hosts=jax.process_count(), threads=config.loader.threads,
        prefetch=config.loader.prefetch, on_error=wanted.get("on_error"), spec=run.specs[stream], index_offset=_offset(run, stream),
        late=True)


def _tell_masked(workdir: Path, batches: dict[str, pipeline.Batches], say: Say, together: bool) -> None:
    """How many rows could not be read since the start, in words and in run.json; of the first host alone where they did not end
    `together`."""
    for n, b in batches.items():
        if b.bad:
            say(f"config.data.{n}: {b.skipped} times a row could not be read and was masked ({len(b.bad)} rows), e.g. "
                f"{survey.reason(next(iter(b.bad.values())))}")
    masked = {n: b.skipped for n, b in batches.items()}
    masked = hosts.total(masked) if together else masked
    if any(masked.values()):
        note(workdir, masked=masked)


def _of_data(run: Run, suite: Suite) -> list[str]:
    """What a user may not expect of the data."""
    lines, config, scales = [], run.config, survey.scales(run.config)
    for name, source in run.sources.items():
        unread = sorted(set(source.fields) - {key for fields in run.reads.values() for key in fields})
        if unread:
            lines.append(f"config.data.{name}: no encoder reads {', '.join(unread)}")
        lines += survey.idle(name, config.data[name], source)
        lines += survey.surprises(name, source, train_transform(config, name, run.tokenizer), run.tokenizer, config.tokenizer.length,
                                  scales)
    for name in sorted({stream for _, _, stream in suite.entries()}):
        for split in ("val", "test"):
            lines += [f"config.data.{name}: {line}" for line in survey.of_split(run.sources[name], suite.source(split, name), split)]
    return lines


def with_stop(step: Callable) -> Callable:
    """The step with `asked`, i8[n] split over the hosts: metrics["stop"] is the gravest of 0, STOP and REFUSED, told to all at the same
    step; a step whose rows could not be read changes nothing, nor does the next."""

    def run(state: TrainState, streams: dict, hp: dict, go: jax.Array, asked: jax.Array) -> tuple[TrainState, dict]:
        gravest = asked.max()
        state, metrics = step(state, streams, hp, go & (gravest < REFUSED))
        return state, metrics | {"stop": gravest}

    return run


def _offset(run: Run, stream: str) -> int:
    """Streams follow each other in the index, so that no two examples of a step share their random draws."""
    names = sorted(run.sources)
    return sum(len(run.sources[n]) for n in names[: names.index(stream)])


def _read(step: int, metrics: dict, run: Run, log: bool, writer: Writer, progress: Progress, waited: float) -> int:
    """Fetch a step's metrics, write them if `log`; 0, STOP where a host was asked to, REFUSED where one could not read a row.

    Raises FloatingPointError where the step's gradient was not finite.
    """
    finite, stop = jax.device_get((metrics["finite"], metrics["stop"]))
    if stop == REFUSED:
        return REFUSED
    if not finite.all():
        leaf = run.names[int(np.argmin(finite))]
        raise FloatingPointError(
            f"step {step}: {'the loss' if leaf == 'loss' else 'the gradient of ' + leaf} is not finite; the state after "
            f"step {step - 1} is saved. Look at the data of step {step}, or try a lower config.optim.lr or "
            "config.optim.clip in a new --workdir, with config.init.path for this one")
    if log:
        values = {k: float(v) for k, v in jax.device_get(dict(metrics)).items() if k not in ("finite", "go", "stop")}
        writer.write(step, {k: v for k, v in values.items() if v == v})
        progress.show(step, values, waited)
    return int(stop)


def _judge(suite: Suite, state: TrainState, stop: Stop) -> dict[str, float] | None:
    """{"val/...": value} of the state; None if a signal came: what is to be saved must not wait for evaluators.

    Several hosts judge to the end, for they would wait for each other.
    """
    try:
        with stop.at_once() if jax.process_count() == 1 else nullcontext():
            judged = as_json(suite.evaluate(tree.averaged(state.params, state.ema), "val"))
    except Stopped:
        return None
    return {f"val/{k}": v["value"] for k, v in judged.items()}


def _save_metrics(config: Any, found: dict | None) -> dict | None:
    """What best-k ranks by; None where the step was not judged, or the validation data did not allow it."""
    name = config.save.metric
    return {name: found[name]} if name and name in (found or {}) else None
