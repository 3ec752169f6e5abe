"""The driver of a sweep on this machine: worker processes, a live table, what is skipped, resumed, failed and tried again."""

import fcntl
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mmrep import config as cfg
from mmrep.sweeps import live, plan, status

Say = Callable[[str], None]


class Job(NamedTuple):
    """A run that is to be done: its number in the plan, its name, and the keys by which workers prefer it (program, then data and seed)."""

    number: int
    name: str
    group: str
    near: str


def run_sweep(study: plan.Study, out: Path, workers: int = 1, overrides: tuple[str, ...] = (), retry: bool = False, dry: bool = False,
              say: Say = print, slurm: dict[str, str] | None = None, together: int = 1) -> int:
    """Do every run of a study that is not finished; 0, or 1 where runs failed, 130 after Ctrl-C.

    What is finished is skipped, what was stopped goes on, what failed is listed, and tried again with `retry`. Writes OUT/sweep.json and
    the table OUT/results.csv and .parquet. slurm: options of `slurm.run_on_slurm`, in the place of workers here; together: so many runs of
    one program in one compiled step. Raises ValueError for a bad study, a stale run, another driver at work in OUT.
    """
    members = plan.members(study, overrides)
    found = [{"tag": m.tag, "seed": m.seed} for m in members]
    states = [status.state_of(status.folder_of(out, run)) for run in found]
    for run, member in zip(found, members):
        status.check_stale(status.folder_of(out, run), cfg.plain(member.config))
    left = [i for i, s in enumerate(states) if s.state != "finished" and (retry or s.state != "failed")]
    count = Counter(s.state for s in states)
    say(f"{study.name}: {len(members)} runs ({len(members) // len(study.seeds)} settings x {len(study.seeds)} seeds)" + "".join(
        f", {count[kind]} {kind}" for kind in status.STATES if count[kind]))
    if dry:
        for member, state in zip(members, states):
            say(f"  {state.state:9} {member.name}")
        return 0
    if workers < 1 or together < 1:
        raise ValueError(f"--workers {workers} --together {together}: give at least one")
    _check_slurm(out, slurm)
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        plan.write_plan(study, members, out)
        jobs = [Job(i, members[i].name, *_keys(members[i])) for i in left]
        stopped = ""
        if slurm is not None:
            from mmrep.sweeps.slurm import QUEUED, run_on_slurm

            stopped = run_on_slurm(jobs, out, slurm, say)
            if stopped == QUEUED:
                return 0
        elif jobs:
            stopped = _drive(jobs, out, min(workers, len(jobs)), [cfg.plain(m.config) for m in members], states, say, together)
        return finish(study, out, stopped, say)


def _check_slurm(out: Path, options: dict[str, str] | None) -> None:
    """Raise ValueError for bad options, or where runs would be done here that tasks in SLURM's queue still hold."""
    if options is None and not (out / "slurm.json").is_file():
        return
    from mmrep.sweeps import slurm

    if options is not None:
        slurm.check_options(options)
    elif tasks := slurm.queued(out):
        raise ValueError(f"{out}: {len(tasks)} {'task' if len(tasks) == 1 else 'tasks'} of an earlier call are still in SLURM's queue "
                         f"({slurm.jobs_of(tasks)}); give --slurm to wait for them, or cancel them first")


def finish(study: plan.Study, out: Path, stopped: str, say: Say) -> int:
    """Write the table, list what failed and what is left; the exit code."""
    from mmrep.sweeps import results

    rows, runs = results.collect(out)
    results.write(rows, runs, out)
    failed = [r for r in runs if r["state"] == "failed"]
    for run in failed:
        say(f"failed: {run['run']} ({run['tries']} {'try' if run['tries'] == 1 else 'tries'}): {run['error']}")
    if failed:
        say("the runs that failed are tried again with --retry; each one's log.txt has all that it said")
    done = sum(r["state"] == "finished" for r in runs)
    say(f"{done} of {len(runs)} runs finished; {out / 'results.csv'} has {len(rows):,} rows; `mmrep report {out}` shows them")
    if stopped:
        say(f"stopped by {stopped}; the same command goes on")
        return 130 if stopped == "SIGINT" else 143
    return int(done < len(runs))


def _keys(member: plan.Member) -> tuple[str, str]:
    """The keys of a job: of its program, and of its data and seed."""
    if isinstance(member.config, dict):
        return "", ""
    from mmrep.hyper import group_key

    try:
        group = group_key(member.config)
    except ValueError:  # the run itself will say what is wrong
        group = "?"
    return group, f"{cfg.digest(member.config.data)}{member.seed:09d}"


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keep another driver out of the folder. Raises ValueError where one is at work."""
    with (out / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{out}: another `mmrep sweep` works there; wait for it, or give another --out") from None
        except OSError:  # a file system without locks
            pass
        yield


class _Worker:
    """A worker process, the runs it is at and their group."""

    def __init__(self, number: int, out: Path, events: queue.Queue, env: dict[str, str]):
        self.number, self.runs, self.group, self.idle, self.ready, self.gone = number, [], None, False, False, False
        self.log = (out / f"worker{number}.log").open("ab")
        self.process = subprocess.Popen([sys.executable, "-m", "mmrep.sweeps.worker", str(out)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.log, text=True, env=env, start_new_session=True)
        threading.Thread(target=self._listen, args=(events,), daemon=True).start()

    def _listen(self, events: queue.Queue) -> None:
        for line in self.process.stdout:
            try:
                events.put((self, json.loads(line)))
            except ValueError:
                continue
        events.put((self, {"event": "gone", "code": self.process.wait()}))

    def give(self, jobs: list[Job]) -> None:
        """The next runs, or none any more."""
        self.runs, self.group, self.idle = [job.number for job in jobs], jobs[0].group if jobs else self.group, False
        try:
            self.process.stdin.write(" ".join(map(str, self.runs)) + "\n")
            self.process.stdin.flush()
        except OSError:  # it is gone, which its event will tell
            pass


def _environment(number: int, workers: int) -> dict[str, str]:
    """A worker's environment: of several devices of CUDA_VISIBLE_DEVICES one; a part of its memory where workers share it."""
    env = dict(os.environ)
    devices = [d for d in env.get("CUDA_VISIBLE_DEVICES", "").split(",") if d]
    if devices and workers > 1:
        env["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
        each = -(-workers // len(devices))
        if each > 1:
            env.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{0.9 / each:.2f}")
    return env


def _next(jobs: list[Job], worker: _Worker, others: set[str]) -> Job:
    """The job a worker should do: of its own program if there is one, else of a program that nobody works on, else of the largest group
    from its end, so that two workers do not meet."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.group, []).append(job)
    if worker.group in groups:
        mine = groups[worker.group]
        return mine[-1] if worker.group in others and worker.number % 2 else mine[0]
    free = [g for g in groups if g not in others]
    if free:
        return groups[max(free, key=lambda g: len(groups[g]))][0]
    return groups[max(groups, key=lambda g: len(groups[g]))][-1]


def _drive(jobs: list[Job], out: Path, workers: int, configs: list[dict], states: list[status.State], say: Say,
           together: int = 1) -> str:
    """Do the jobs; the name of the signal that stopped them, or ""."""
    events: queue.Queue = queue.Queue()
    stop: list[str] = []
    waiting = sorted(jobs, key=lambda j: (j.group, j.near, j.number))
    names = {j.number: j for j in jobs}
    view = live.Live(out, len(configs), {i: s.state for i, s in enumerate(states)}, configs, workers, say)

    def catch(number: int, _: Any) -> None:
        stop.append(signal.Signals(number).name)
        events.put((None, {"event": "stop"}))

    old = {s: signal.signal(s, catch) for s in (signal.SIGTERM, signal.SIGINT)}
    team = [_Worker(i, out, events, _environment(i, workers)) for i in range(workers)]
    try:
        while not all(w.gone for w in team):  # not by their processes: what they said last may still be on its way
            try:
                worker, event = events.get(timeout=0.5)
            except queue.Empty:
                view.draw()
                continue
            kind = event["event"]
            if kind == "stop":
                for w in team:
                    if w.process.poll() is None:
                        w.process.send_signal(signal.SIGTERM)
            elif kind == "ready":
                worker.idle = worker.ready = True
            elif kind == "began":
                view.began(event["run"], names[event["run"]].name)
            elif kind == "ended":
                worker.runs.remove(event["run"])
                worker.idle = not worker.runs
                view.ended(event["run"], names[event["run"]].name, event["state"], event["error"], event["seconds"])
            elif kind == "gone":
                worker.gone, log = True, out / f"worker{worker.number}.log"
                if worker.runs and not stop:  # it died under its runs: killed for memory, a crash in native code
                    error = f"the worker process died ({_died(event['code'])}); {log} may say more"
                    for run in (names[number] for number in worker.runs):
                        status.note_failure(out / "runs" / run.name, error, tries=states[run.number].tries + 1)
                        view.ended(run.number, run.name, "failed", error, 0.0)
                    worker.runs = []
                    if waiting:
                        team[team.index(worker)] = _Worker(worker.number, out, events, _environment(worker.number, workers))
                elif not worker.ready and not stop:  # nor would another one
                    raise ValueError(f"a worker could not start ({_died(event['code'])}): {_tail(log)}; {log} has all that it said")
            for w in team:
                if w.idle and not stop:
                    job = _next(waiting, w, {o.group for o in team if o is not w and o.runs}) if waiting else None
                    given = [job, *(j for j in waiting if j.group == job.group and j is not job)][:together] if job else []
                    waiting = [j for j in waiting if j not in given]
                    w.give(given)
            view.draw()
    finally:
        for w in team:
            if w.process.poll() is None:
                w.process.terminate()
            w.log.close()
        view.end()
        for number, handler in old.items():
            signal.signal(number, handler)
    return stop[0] if stop else ""


def _died(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _tail(file: Path) -> str:
    lines = [line for line in file.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
