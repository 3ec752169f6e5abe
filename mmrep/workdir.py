"""A run's folder: made or refused at the start, and what it records of each start."""

import fcntl
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmrep import config as cfg
from mmrep import hosts
from mmrep.core import checkpoint
from mmrep.core.files import write_json, write_text
from mmrep.run import describe

MAY_CHANGE = ("mesh.", "micro", "loader.", "log.tensorboard", "log.wandb", "log.mlflow", "save.every")  # on a resume: not what is computed


def make_folder(workdir: Path) -> None:
    """Make the folder; OSError naming it where it cannot be written."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        probe = workdir / ".writable"
        probe.write_bytes(b"0")
        probe.unlink()
    except OSError as error:
        if error.errno == 28:
            raise
        raise OSError(f"--workdir {workdir}: cannot be written ({error.strerror}); choose another folder") from None


def open_workdir(config: Any, workdir: Path) -> None:
    """Make the folder and write config.json, once; raise where it cannot be written or holds a run of another config.

    The config comes first, so that what a start leaves that fails later is known for that config's.
    """
    if hosts.first():
        make_folder(workdir)
    file = workdir / "config.json"
    changed = changes_of(cfg.from_json(file.read_text()), config) if file.is_file() else {}
    if changed and any(_trained(folder) for folder in (workdir, *workdir.glob("stage*"))):
        (key, (old, new)), *rest = changed.items()
        more = ", ".join(k for k, _ in rest[:5]) + (f" and {len(rest) - 5} more" if len(rest) > 5 else "")
        raise ValueError(f"--workdir {workdir}: holds a run of another config: config.{key} was {old!r}, is {new!r}"
                         f"{f' (also {more})' if more else ''}; use another --workdir (to train on "
                         f"from these params, with --config.init.path={workdir})")
    if changed and hosts.first():  # nothing was trained: what the other config left here must not leak into this one
        for name in ("config.json", "run.json", "data.json", "tokenizer.json"):
            (workdir / name).unlink(missing_ok=True)
    if hosts.first() and not file.is_file():
        write_text(file, cfg.to_json(config) + "\n")


def changes_of(before: Any, now: Any) -> dict[str, tuple[Any, Any]]:
    """{key path: (before, now)} of two configs, of what makes them two different runs."""
    return {k: (old, new) for k, (old, new) in cfg.diff(before, now).items() if not k.startswith(MAY_CHANGE) and not _skips(k, new)}


def _skips(key: str, new: Any) -> bool:
    """Whether a change is to skip bad rows from here on: a run that has gone so far has met none, and what it did stays what it is."""
    return key.startswith("data.") and key.endswith("on_error") and new == "skip"


def _trained(folder: Path) -> bool:
    """Whether a run took steps here, though its checkpoints may have been removed since."""
    log = folder / "metrics.jsonl"
    return bool(checkpoint.steps_of(folder)) or (folder / "results.json").is_file() or log.is_file() and log.stat().st_size > 0


class FolderBusy(ValueError):
    """Another process trains in the folder."""


@contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Make the folder and keep another process from training in it; the lock ends with this process, however it ends.

    Raises FolderBusy where another one holds it, OSError where the folder cannot be written. File systems without locks
    are taken as they are.
    """
    if not hosts.first():
        yield
        return
    make_folder(workdir)
    with (workdir / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise FolderBusy(f"--workdir {workdir}: another process trains there ({file.read().strip() or 'unknown'}); wait for it, "
                             "stop it, or use another --workdir") from None
        except OSError:  # no locks here
            pass
        else:
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}")
            file.flush()
        yield


def record(config: Any, workdir: Path) -> None:
    """Write run.json: commit, versions, devices and working folder of the first start, and `starts`, of every one.

    What a later start changed of the config (see MAY_CHANGE) stands with that start.
    """
    if not hosts.first():
        return
    file, log = workdir / "config.json", workdir / "run.json"
    now = describe(config) | {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                              "step": max(checkpoint.steps_of(workdir), default=0), "folder": os.getcwd()}
    if changed := cfg.diff(cfg.from_json(file.read_text()), config):
        now["changed"] = changed
    try:
        before = json.loads(log.read_text())
        starts = before.pop("starts", [before])
    except (OSError, ValueError):
        before, starts = now, []
    write_json(log, before | {"starts": [*starts, now]})


def note(workdir: Path, **found: Any) -> None:
    """Add to this start's entry in run.json, e.g. `masked`: how many rows of each stream could not be read since it."""
    if hosts.first():
        file = workdir / "run.json"
        log = json.loads(file.read_text())
        write_json(file, log | {"starts": [*log["starts"][:-1], log["starts"][-1] | found]})
