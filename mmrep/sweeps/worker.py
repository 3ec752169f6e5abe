"""One process of a sweep: runs of the plan one after another, which share compiled programs and opened data.

    python -m mmrep.sweeps.worker OUT        reads numbers of runs from standard input, one a line, and answers each with a line of JSON
    python -m mmrep.sweeps.worker OUT 0 3 6  runs these and ends (a task of a job array)
"""

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmrep import config as cfg
from mmrep.core.files import write_json
from mmrep.stop import Stopped
from mmrep.sweeps import plan, status


def run_member(out: Path, found: dict, run: dict, shared: dict) -> dict[str, Any]:
    """Train or simulate one run of the plan; {"state", "error", "seconds"}. A failure is noted in its folder, not raised.

    Raises Stopped after SIGTERM or SIGINT, the state saved.
    """
    folder, began = status.folder_of(out, run), time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    status.forget_failure(folder)
    with (folder / "log.txt").open("a") as log:
        def say(text: str) -> None:
            print(text, file=log, flush=True)

        try:
            if found["file"]:
                simulated(found, run, folder)
            else:
                from mmrep.train import train

                train(cfg.from_json(json.dumps(run["config"])), folder, shared=shared, say=say, figure=False)
            state, error = "finished", ""
        except Exception as caught:  # whatever it is, the other runs go on
            state, error = "failed", " ".join(str(caught).split()) or type(caught).__name__
            status.note_failure(folder, error, traceback.format_exc())
            say(traceback.format_exc())
        except MemoryError:
            state, error = "failed", "out of memory"
            status.note_failure(folder, error)
    return {"state": state, "error": error, "seconds": round(time.perf_counter() - began, 2)}


def simulated(found: dict, run: dict, folder: Path) -> None:
    """Write what a study's `simulate(point, seed)` gives as a run's results.json."""
    from mmrep.run import describe

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


def asked(numbers: list[str]) -> Iterator[int]:
    """Numbers of runs: the given ones, else lines of standard input as they come."""
    yield from map(int, numbers)
    if not numbers:
        yield from _lines()


def _lines() -> Iterator[int]:
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
        yield int(line)
        working.clear()


def main(argv: list[str]) -> int:
    """Run what is asked for; 0, 1 where a run failed, 130 or 143 after a signal."""
    from mmrep.cli import prepare_process, quiet_writers

    # events go where standard output went; whatever else prints there goes to standard error
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    quiet_writers()
    prepare_process()
    out, shared, failed = Path(argv[0]), {}, False
    found = plan.read_plan(out)

    def tell(**event: Any) -> None:
        print(json.dumps(event), file=events, flush=True)

    tell(event="ready", pid=os.getpid())
    try:
        for number in asked(argv[1:]):
            tell(event="began", run=number)
            done = run_member(out, found, found["runs"][number], shared)
            failed |= done["state"] == "failed"
            tell(event="ended", run=number, **done)
    except Stopped as stopped:
        return 130 if stopped.name == "SIGINT" else 143
    except KeyboardInterrupt:
        return 130
    return int(failed)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # reader threads of a stopped run must not hold the process
