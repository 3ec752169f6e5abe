"""One process of a sweep: runs of the plan one after another, which share compiled programs and opened data.

    python -m mmrep.sweeps.worker OUT        reads numbers of runs from standard input and answers each with a line of JSON; those of one
                                             line are trained together, in one compiled step
    python -m mmrep.sweeps.worker OUT 0 3 6  runs these and ends (a task of a job array; of several processes, together)

`plan` and `status` are imported where they are used: they bring numpy and jax, which must find the process prepared.
"""

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mmrep import config as cfg
from mmrep import hosts
from mmrep.core.files import write_json
from mmrep.stop import Stopped

PATIENCE = 600.0  # seconds: a step of a large model may compile for minutes before its process sees that it should end


def run_member(out: Path, found: dict, run: dict, shared: dict, first: bool = True) -> dict[str, Any]:
    """Train or simulate one run of the plan; {"state", "error", "seconds"}. A failure is noted in its folder, not raised; a folder that
    another process still works in has not failed: the run waits for it, and for PATIENCE seconds at most.

    first: whether this is the run's first host; the others write nothing there, and say on standard error what ended them.
    Raises Stopped after SIGTERM or SIGINT, the state saved.
    """
    from mmrep.sweeps import status
    from mmrep.workdir import FolderBusy

    folder, began = status.folder_of(out, run), time.perf_counter()
    if first:
        folder.mkdir(parents=True, exist_ok=True)
        tries = status.state_of(folder).tries + 1
        status.forget_failure(folder)
    with (folder / "log.txt").open("a") if first else os.fdopen(os.dup(2), "w") as log:
        def say(text: str) -> None:
            print(text, file=log, flush=True)

        try:
            if found["file"]:
                simulated(found, run, folder)
            else:
                _train(run["config"], folder, shared, say, 0.0 if hosts.detected(os.environ) else PATIENCE)
            state, error = "finished", ""
        except FolderBusy as busy:
            state, error = "waiting", str(busy)
            say(error)
        except Exception as caught:  # whatever it is, the other runs go on
            state, error = "failed", " ".join(str(caught).split()) or type(caught).__name__
            if first:
                status.note_failure(folder, error, traceback.format_exc(), tries)
            say(traceback.format_exc())
    return {"state": state, "error": error, "seconds": round(time.perf_counter() - began, 2)}


def _train(config: dict, folder: Path, shared: dict, say: Callable[[str], None], patience: float) -> None:
    """Train; where another process holds the folder, as the worker of a killed driver does until it has saved, try again for so long."""
    from mmrep.train import train
    from mmrep.workdir import FolderBusy

    until = time.monotonic() + patience
    while True:
        try:
            train(cfg.from_json(json.dumps(config)), folder, shared=shared, say=say, figure=False)
            return
        except FolderBusy:
            if time.monotonic() > until:
                raise
        time.sleep(0.5)


def run_together(out: Path, found: dict, runs: list[dict], shared: dict) -> list[dict[str, Any]]:
    """`run_member` of several runs in one compiled step; one after another where they do not share a program."""
    from mmrep.sweeps import status
    from mmrep.sweeps.population import train_together

    folders, began = [status.folder_of(out, run) for run in runs], time.perf_counter()
    tries = []
    with ExitStack() as logs:
        says = []
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            tries.append(status.state_of(folder).tries + 1)
            status.forget_failure(folder)
            log = logs.enter_context((folder / "log.txt").open("a"))
            says.append(lambda text, log=log: print(text, file=log, flush=True))
        try:
            ends = train_together([cfg.from_json(json.dumps(run["config"])) for run in runs], folders, shared, says)
        except ValueError as error:
            for say in says:
                say(f"not trained together: {error}")
            return [run_member(out, found, run, shared) for run in runs]
    done = []
    for folder, end, tried in zip(folders, ends, tries):
        failed = isinstance(end, Exception)
        error = (" ".join(str(end).split()) or type(end).__name__) if failed else ""
        if failed:
            status.note_failure(folder, error, "".join(traceback.format_exception(end)), tried)
        seconds = round((time.perf_counter() - began) / len(runs), 2)
        done.append({"state": "failed" if failed else "finished", "error": error, "seconds": seconds})
    return done


def simulated(found: dict, run: dict, folder: Path) -> None:
    """Write what a study's `simulate(point, seed)` gives as a run's results.json."""
    from mmrep.run import describe
    from mmrep.sweeps import plan

    began = time.perf_counter()
    module = plan.load_module(Path(found["file"]))
    values = module.simulate(run["config"]["point"], run["seed"])
    if not isinstance(values, dict) or not values:
        raise ValueError(f"{found['file']}: simulate gives {values!r}; it must be a dict {{metric: number}}")
    write_json(folder / "config.json", run["config"])
    metrics = {k: v if isinstance(v, dict) else {"value": float(v), "low": float(v), "high": float(v), "n": 1} for k, v in values.items()}
    seconds = {"train": 0.0, "evaluate": 0.0, "simulate": round(time.perf_counter() - began, 3)}
    write_json(folder / "run.json", describe(run["config"]) | {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})
    write_json(folder / "results.json", {"metrics": metrics, "controls": {}, "paired": {}, "left_out": {}, "skipped": {}, "split": "",
                                         "step": 0, "config_hash": cfg.digest(run["config"]), "seconds": seconds})


def asked(numbers: list[str]) -> Iterator[list[int]]:
    """Numbers of runs: the given ones one by one, else lines of standard input as they come."""
    yield from ([int(number)] for number in numbers)
    if not numbers:
        yield from _lines()


def _lines() -> Iterator[list[int]]:
    """Lines of standard input. Its end while a run is at work means that the driver is gone: the run is then stopped, and saved."""
    import queue

    lines: queue.Queue = queue.Queue()

    def listen() -> None:
        for line in sys.stdin:
            lines.put(line)
        lines.put(None)
        if working.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    working = threading.Event()
    threading.Thread(target=listen, daemon=True).start()
    while (line := lines.get()) is not None and line.strip():
        working.set()
        yield [int(number) for number in line.split()]
        working.clear()


def main(argv: list[str]) -> int:
    """Run what is asked for; 0, 1 where a run failed, 130 or 143 after a signal."""
    from mmrep.cli import prepare_process, quiet_writers

    # events go where standard output went; whatever else prints there goes to standard error
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    quiet_writers()
    prepare_process()
    from mmrep.sweeps import plan, status  # noqa: F401  a machine on which these cannot be imported is told before any run is given

    out, shared, failed = Path(argv[0]), {}, False
    found = plan.read_plan(out)
    several = bool(argv[1:]) and hosts.detected(os.environ)  # a worker that is told its runs one by one has a driver, but no other hosts
    if several and found["file"]:
        if os.environ.get("SLURM_PROCID", "0") != "0":
            return 0  # a simulation knows one process only
    elif several:
        hosts.start()
    first = not several or bool(found["file"]) or hosts.first()

    def tell(**event: Any) -> None:
        print(json.dumps(event), file=events, flush=True)

    tell(event="ready", pid=os.getpid())
    try:
        for numbers in asked(argv[1:]):
            for number in numbers:
                tell(event="began", run=number)
            runs = [found["runs"][number] for number in numbers]
            together = len(runs) > 1 and not found["file"]
            done = run_together(out, found, runs, shared) if together else (run_member(out, found, run, shared, first) for run in runs)
            for number, one in zip(numbers, done):
                failed |= one["state"] == "failed"
                tell(event="ended", run=number, **one)
    except Stopped as stopped:
        return 130 if stopped.name == "SIGINT" else 143
    except KeyboardInterrupt:
        return 130
    return int(failed)


def leave(code: int) -> None:
    """End the process at once: reader threads of a stopped run must not hold it. Hosts leave together, but for one whose run failed:
    the first one serves the others, and those of a failed run may never come."""
    import jax

    if jax.distributed.is_initialized() and code != 1:
        jax.distributed.shutdown()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
