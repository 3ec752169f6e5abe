"""What became of a sweep's runs, read from their folders alone, so that it holds after any kill and for any launcher."""

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

from mmrep import config as cfg
from mmrep.core.files import write_json
from mmrep.workdir import changes_of
from mmrep.writers import read_rows

STATES = ("finished", "failed", "stopped", "waiting")


class State(NamedTuple):
    """Of one run: one of STATES, its last error and how often it was tried, its last logged step and that step's loss."""

    state: str
    error: str = ""
    tries: int = 0
    step: int = 0
    loss: float = float("nan")


def folder_of(out: Path, run: dict) -> Path:
    """The folder of a run of the plan."""
    return out / "runs" / run["tag"] / f"seed{run['seed']}"


def state_of(folder: Path) -> State:
    """What the folder says. A run that works at the moment reads as stopped. Raises ValueError naming a damaged results.json."""
    if (folder / "results.json").is_file():
        read_results(folder)
        return State("finished")
    step, loss = progress(folder)
    failed = folder / "failed.json"
    if failed.is_file():
        try:
            found = json.loads(failed.read_text())
            return State("failed", found["error"], found["tries"], step, loss)
        except (ValueError, KeyError):
            return State("failed", f"{failed} is damaged", 1, step, loss)
    return State("stopped" if step else "waiting", step=step, loss=loss)


def read_results(folder: Path) -> dict[str, Any]:
    """results.json. Raises ValueError naming the file where it is damaged or half-written."""
    file = folder / "results.json"
    try:
        found = json.loads(file.read_text())
        if not isinstance(found, dict) or "metrics" not in found:
            raise ValueError("it holds no metrics")
        return found
    except ValueError as error:
        raise ValueError(f"{file}: is damaged or half-written ({error}); remove it and run the same `mmrep sweep` again") from None


def seconds_of(results: dict[str, Any]) -> float:
    """Seconds of a run in all: its first step is part of its training, and not counted twice."""
    return sum(seconds for part, seconds in results["seconds"].items() if part != "first_step")


def check_stale(folder: Path, config: dict) -> None:
    """Raise ValueError where the folder holds work of another config: what is finished is reused for its own config only."""
    file = folder / "config.json"
    if not file.is_file():
        return
    try:
        before = json.loads(file.read_text())
    except ValueError:
        raise ValueError(f"{file}: is damaged; remove the folder {folder} and run the same `mmrep sweep` again") from None
    changed = changes_of(before, config)
    if changed and ((folder / "results.json").is_file() or progress(folder)[0]):
        (key, (old, new)), *rest = changed.items()
        more = f" (and {len(rest)} more)" if rest else ""
        raise ValueError(f"{folder}: is stale: config.{key} was {old!r} when it ran, and is {new!r} in this sweep{more}; give another "
                         "--out, or remove the folder to run it anew")


def parts_of(folder: Path) -> list[Path]:
    """Where a run's metrics.jsonl, map.json and config.json lie: the folders of its stages so far, in order, or its own."""
    stages = [part for part in folder.glob("stage*") if part.name[5:].isdigit()]
    return sorted(stages, key=lambda part: int(part.name[5:])) or [folder]


def progress(folder: Path) -> tuple[int, float]:
    """(last logged step, counted through all stages, and its loss); (0, nan) of a run that has logged none."""
    last = [last_row(part / "metrics.jsonl") for part in parts_of(folder)]
    return sum(step for step, _ in last), next((loss for step, loss in reversed(last) if step), float("nan"))


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl, of all stages as if they were one run: steps are counted through."""
    rows, before = [], 0
    for part in parts_of(folder):
        file = part / "metrics.jsonl"
        found = read_rows(file) if file.is_file() else []
        rows += [row | {"step": before + row["step"]} for row in found]
        before = max((row["step"] for row in rows), default=0)
    return rows


def last_row(file: Path) -> tuple[int, float]:
    """(step, loss) of the last whole line that has a loss, (0, nan) where there is none."""
    try:
        with file.open("rb") as f:
            f.seek(0, 2)
            f.seek(max(f.tell() - 65_536, 0))
            lines = f.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return 0, float("nan")
    for line in reversed(lines):
        try:
            row = json.loads(line)
            return int(row["step"]), float(row["loss"])
        except (ValueError, KeyError, TypeError):
            continue
    return 0, float("nan")


def note_failure(folder: Path, error: str, trace: str = "", tries: int = 1) -> None:
    """Write failed.json; tries: how often the run was begun, this time included."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "failed.json", {"error": error, "trace": trace, "tries": tries,
                                        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})


def forget_failure(folder: Path) -> None:
    """A run that is tried again, or ended well, is not failed."""
    (folder / "failed.json").unlink(missing_ok=True)


def planned_steps(config: dict) -> int:
    """Steps of a run, of all its stages, as far as its config alone tells; 0 where its data decide."""
    try:
        totals = [str(stage.get("total", config["total"])) for stage in config.get("stages") or ({},)]
        return sum(cfg.steps(t, "", batch=1, examples=0) for t in totals) if all(t.endswith(("steps", "step")) for t in totals) else 0
    except (KeyError, ValueError):
        return 0
