"""A sweep on SLURM: its runs as tasks of a job array, what the queue says of them, and what a task does.

`submitit` writes the batch file and calls sbatch; what became of a run stands in its folder, as with any launcher. A task comes here
before its process is prepared, so the head of this file imports no numpy and no jax.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from mmrep.core.files import write_json
from mmrep.core.names import nearest
from mmrep.stop import Stopped

Say = Callable[[str], None]
Tasks = dict[str, dict[str, int]]  # {SLURM's name of a task: {a run's name: `failed_at` when it was submitted}}
QUEUED = "queued"  # what `run_on_slurm` returns where nobody waits
MOST = 8  # runs of a task
ARRAY = 1000  # tasks of an array: SLURM's usual MaxArraySize is 1001
DONE = ("results.json", "failed.json", "checkpoints/*[0-9]", "stage*/results.json", "stage*/checkpoints/*[0-9]")  # of a run's folder
ENDED = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT")
OWN = ("per_task", "wait", "poll")
NAMES = {"tasks_per_node": "ntasks_per_node"}  # ours: submitit's
MORE = ("begin", "chdir", "export", "licenses", "nice", "reservation", "switches", "tmp")  # of sbatch, which submitit does not know
LEFT_OUT = ("additional_parameters", "num_gpus", "stderr_to_stdout", "use_srun")  # submitit's, of no use here


class Options(NamedTuple):
    """Of --slurm: runs of a task (0: as many as share a program, up to MOST), whether and how often (in seconds) to look, processes of a
    run, and the parameters of the batch file."""

    per_task: int
    wait: bool
    poll: float
    hosts: int
    sbatch: dict[str, Any]


# ---- what is asked for ----------------------------------------------------------------------------------------------

def split_options(text: str) -> dict[str, str]:
    """{NAME: VALUE} of "NAME=VALUE,NAME=VALUE"; a value may hold commas (nodelist=a,b). Raises ValueError for a part without "="."""
    found = {}
    for part in re.split(r",(?=\s*\w+=)", text) if text else []:
        name, equals, value = part.strip().partition("=")
        if not equals:
            raise ValueError(f"--slurm {part}: write --slurm NAME=VALUE,...")
        found[name] = value
    return found


def check_options(options: dict[str, str]) -> Options:
    """The options of --slurm, checked. Raises ValueError naming one that is unknown, or no number where one is needed."""
    known = _submitit()._valid_parameters() - {*LEFT_OUT, *NAMES.values()}
    sbatch: dict[str, Any] = {"time": None, "wckey": None}  # the partition's own limit, not submitit's 5 minutes; no key of its
    more: dict[str, Any] = {"requeue": True}
    for name, value in options.items():
        if name in MORE:
            more[name] = value
        elif name in ("setup", "teardown"):
            sbatch[name] = [value]
        elif name == "srun_args":
            sbatch[name] = shlex.split(value)
        elif name in known | set(NAMES):
            sbatch[NAMES.get(name, name)] = int(value) if value.isdigit() else value in ("yes", "true") or value
        elif name not in OWN:
            raise ValueError(f"--slurm {name}={value}: unknown; {nearest(name, {*known, *NAMES, *MORE, *OWN})}")
    per_task, poll = _number(options, "per_task", 0, 1), _number(options, "poll", 15, 1)
    hosts = _number(options, "nodes", 1, 1) * _number(options, "tasks_per_node", 1, 1)
    if (wait := options.get("wait", "yes")) not in ("yes", "no"):
        raise ValueError(f"--slurm wait={wait}: give yes or no")
    if hosts > 1 and per_task > 1:
        raise ValueError(f"--slurm per_task={per_task}: a run of several processes is a task of its own; leave it out")
    # `work` listens to USR2; of what sbatch is given, srun takes over no cpus_per_task since 22.05
    more["signal"] = f"USR2@{_number(options, 'signal_delay_s', 90, 0)}"
    srun = [f"--cpus-per-task={sbatch['cpus_per_task']}"] if "cpus_per_task" in sbatch else []
    if hosts > 1:
        srun.append("--wait=60")  # a process that died ends the others, which would wait for it
    sbatch["srun_args"] = [*srun, *sbatch.get("srun_args", [])]
    return Options(1 if hosts > 1 else per_task, wait == "yes", poll, hosts, sbatch | {"additional_parameters": more})


def _number(options: dict[str, str], name: str, default: int, least: int) -> int:
    value = options.get(name, str(default))
    if not value.isdigit() or name in options and int(value) < least:
        raise ValueError(f"--slurm {name}={value}: give a whole number of at least {least}")
    return int(value)


def divide(jobs: list, per_task: int = 0) -> list[list]:
    """Jobs as tasks: `per_task` of them in order of their programs; 0: of one program only, in equal parts of up to MOST."""
    jobs = sorted(jobs, key=lambda j: (j.group, j.near, j.number))
    if per_task:
        return [jobs[i:i + per_task] for i in range(0, len(jobs), per_task)]
    groups: dict[str, list] = {}
    for job in jobs:
        groups.setdefault(job.group, []).append(job)
    tasks = []
    for group in groups.values():
        parts = -(-len(group) // MOST)
        tasks += [group[len(group) * i // parts:len(group) * (i + 1) // parts] for i in range(parts)]
    return tasks


# ---- the driver -----------------------------------------------------------------------------------------------------

def run_on_slurm(jobs: list, out: Path, options: dict[str, str], say: Say) -> str:
    """Submit the jobs (`mmrep.sweeps.run.Job`) of a sweep whose plan is written, but those that tasks of an earlier call still hold, and
    wait until all have ended.

    Returns "" where they have, or have left the queue otherwise, which is told; the name of the signal that ended the waiting, not the
    tasks; QUEUED where nobody waits (wait=no). Raises ValueError for options that do not fit, or where SLURM refuses.
    """
    from mmrep.sweeps import plan

    asked, out = check_options(options), out.resolve()
    if asked.hosts > 1 and plan.read_plan(out)["file"]:
        raise ValueError("--slurm: a simulation runs in one process; leave out nodes and tasks_per_node")
    tasks = queued(out)
    held = {name for runs in tasks.values() for name in runs} & {job.name for job in jobs}
    if tasks:
        say(f"{len(tasks)} tasks of an earlier call are still in the queue ({jobs_of(tasks)}); {len(held)} runs are theirs and are not "
            "submitted again")
    new = divide([job for job in jobs if job.name not in held], asked.per_task)
    todo = [{job.name: failed_at(out / "runs" / job.name) for job in task} for task in new]
    for i in range(0, len(todo), ARRAY):
        added = submit(todo[i:i + ARRAY], out, asked.sbatch)
        tasks |= added
        write_json(out / "slurm.json", {"tasks": tasks})
        say(f"submitted {sum(map(len, added.values()))} runs as {len(added)} {'task' if len(added) == 1 else 'tasks'} ({jobs_of(added)}); "
            f"what they say stands in {out / 'slurm'}")
    if not asked.wait:
        say(f"nobody waits for them; the same command shows how far they are, `squeue --jobs={_ids_of(tasks)}` what SLURM does with them")
        return QUEUED
    return wait_for([job.name for job in jobs], tasks, out, asked.poll, say)


def submit(tasks: list[dict[str, int]], out: Path, sbatch: dict[str, Any]) -> Tasks:
    """Submit tasks as one job array. Raises ValueError where SLURM refuses."""
    executor_of = _submitit()
    from submitit.core.utils import FailedJobError, FailedSubmissionError
    from submitit.helpers import clean_env

    conf = {k: os.environ[k] for k in ("SLURM_CONF",) if k in os.environ}  # where SLURM is, not which job this is
    try:
        executor = executor_of(out / "slurm")
        executor.update_parameters(**{"job_name": f"mmrep-{out.name}"} | sbatch)
        with clean_env():
            os.environ.update(conf)
            jobs = executor.submit_array([partial(work, str(out), runs) for runs in tasks])
    except RuntimeError as error:
        if isinstance(error, (FailedJobError, FailedSubmissionError)):
            raise ValueError(f"--slurm: sbatch refused: {' '.join(str(error).split())}") from None
        raise ValueError("--slurm: there is no srun here; run this command where SLURM's commands are") from None
    return {job.job_id: runs for job, runs in zip(jobs, tasks)}


def failed_at(folder: Path) -> int:
    """Names a run's last failure, 0 for none: a run that failed before it was submitted again has not failed again."""
    try:
        return (folder / "failed.json").stat().st_mtime_ns
    except OSError:
        return 0


def queued(out: Path) -> Tasks:
    """The tasks that OUT/slurm.json names and that SLURM still has, without the runs of them that failed. Raises ValueError where it does
    not answer."""
    try:
        tasks = json.loads((out / "slurm.json").read_text())["tasks"]
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError):
        raise ValueError(f"{out / 'slurm.json'}: is damaged; where `squeue --me` shows no task of this sweep, remove it") from None
    states = ask_queue(tasks)
    if states is None:
        raise ValueError(f"{out}: squeue does not answer, so nobody knows whether the tasks of {out / 'slurm.json'} still run; try again, "
                         "or remove that file if they do not")
    return {task: {name: stamp for name, stamp in runs.items() if failed_at(out / "runs" / name) in (0, stamp)}
            for task, runs in tasks.items() if _alive(states, task)}


def ask_queue(tasks: Tasks) -> dict[str, tuple[str, str]] | None:
    """{task: (its state, the reason)} of what SLURM still knows of these; None where it does not answer."""
    if not tasks:
        return {}
    try:
        said = subprocess.run(["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%r", f"--jobs={_ids_of(tasks)}"],
                              capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if said.returncode:
        return {} if "Invalid job id" in said.stderr else None  # the last one ended long ago
    rows = [line.strip().split("|") for line in said.stdout.splitlines()]
    return {row[0]: (row[1], row[2]) for row in rows if len(row) == 3 and row[0] in tasks}


def wait_for(names: list[str], tasks: Tasks, out: Path, poll: float, say: Say) -> str:
    """Tell of every run that ends, and of every task that leaves the queue before its runs have ended, until no run is left; the name of
    the signal that ended the waiting, or ""."""
    from mmrep.sweeps import status
    from mmrep.writers import clock

    stop: list[str] = []
    wake = threading.Event()

    def catch(number: int, _: Any) -> None:
        stop.append(signal.Signals(number).name)
        wake.set()

    def look(states: dict[str, tuple[str, str]] | None) -> None:
        for name in list(left):
            state = status.state_of(out / "runs" / name)
            if state.state == "finished" or state.state == "failed" and failed_at(out / "runs" / name) != before[name]:
                del left[name]
                text = f"failed: {state.error}" if state.state == "failed" else clock(
                    status.seconds_of(status.read_results(out / "runs" / name)))
                say(f"[{len(names) - len(left)}/{len(names)}] {name}  {text}")
        for task in tasks if states is not None else ():
            missed[task] = 0 if _alive(states, task) else missed.get(task, 0) + 1
            lost = [name for name in tasks[task] if name in left]
            if missed[task] > 1 and lost:  # twice: a file system of many machines may show late what was written
                state = states.get(task, ("",))[0]
                say(f"task {task} has left the queue{f' ({state})' if state else ''} before {', '.join(lost)} ended: "
                    f"{_last_word(out / 'slurm' / f'{task}_0_log.err')}; the same command goes on")
                for name in lost:
                    del left[name]

    left, told, missed = dict.fromkeys(names), "", {}
    before = {name: stamp for runs in tasks.values() for name, stamp in runs.items()}
    old = {s: signal.signal(s, catch) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        while left and not stop:
            states = ask_queue(tasks)  # before the folders: a task's last run has ended when the task leaves the queue
            look(states)
            now = _standing(states, tasks)
            if left and now and now != told:
                say(now)
            told = now
            if left:
                wake.wait(poll)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
    if stop:
        say(f"the tasks stay in the queue; the same command waits for them, `scancel {_ids_of(tasks).replace(',', ' ')}` ends them")
    return stop[0] if stop else ""


def _alive(states: dict[str, tuple[str, str]], task: str) -> bool:
    return task in states and states[task][0] not in ENDED


def _standing(states: dict[str, tuple[str, str]] | None, tasks: Tasks) -> str:
    """Which states there are, with SLURM's reasons for waiting; without counts, for it is told when it changes."""
    if states is None:
        return "squeue does not answer; it is asked again"
    found = {f"{states[t][0].lower()}" + (f" ({states[t][1]})" if states[t][0] == "PENDING" and states[t][1] != "None" else "")
             for t in tasks if _alive(states, t)}
    return f"tasks: {', '.join(sorted(found))}" if found else ""


def _ids_of(tasks: Tasks) -> str:
    return ",".join(sorted({task.partition("_")[0] for task in tasks}, key=int))


def jobs_of(tasks: Tasks) -> str:
    """The jobs of these tasks in words: "job 7", or "jobs 7, 8"."""
    ids = _ids_of(tasks)
    return f"{'jobs' if ',' in ids else 'job'} {ids.replace(',', ', ')}"


def _last_word(file: Path) -> str:
    try:
        lines = [line for line in file.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return f"there is no {file}"
    own = [line for line in lines if not line.startswith(("srun:", "slurmstepd"))]  # what it says itself tells more
    return f"{file} ends with {(own or lines)[-1].strip()!r}" if lines else f"{file} is empty"


def _submitit() -> Any:
    """submitit's executor for SLURM."""
    try:
        from submitit import SlurmExecutor
    except ImportError:
        raise ValueError("--slurm: needs the extra `slurm`: pip install mmrep[slurm]") from None
    return SlurmExecutor


# ---- a task ---------------------------------------------------------------------------------------------------------

def work(out: str, runs: dict[str, int]) -> None:
    """What one process of a task does: the runs that have neither finished nor failed since they were submitted. It ends the process.

    At SIGTERM (pre-emption, requeue, scancel, time limit) train() saves and ends; requeued by SLURM, the task goes on from there. At
    SIGUSR2, which comes some time before the limit (or, where PreemptParameters=send_user_signal, before pre-emption), it saves as well,
    and has SLURM requeue the job. submitit's own handlers are replaced: they ignore SIGTERM between two runs, and raise their SystemExit
    or UncompletedJobError inside a step, which is then not saved, or taken for an error of the run.
    """
    warned: list[int] = []

    def stop(*_: Any) -> None:  # outside of train(), which has a handler of its own
        raise Stopped("stopped between two runs", "SIGTERM")

    def warn(number: int, _: Any) -> None:
        warned.append(number)
        signal.raise_signal(signal.SIGTERM)

    for number, handler in ((signal.SIGTERM, stop), (signal.SIGUSR2, warn), (signal.SIGCONT, signal.SIG_DFL)):
        signal.signal(number, handler)
    from mmrep.cli import prepare_process

    prepare_process()
    from mmrep.sweeps import plan, status, worker

    def standing() -> list[list[str]]:
        return [[str(file) for pattern in DONE for file in sorted(Path(out, "runs", name).glob(pattern))] for name in runs]

    code, before = 143, standing()
    try:
        # by name: the plan may have been written anew since the task was submitted
        numbers = {f"{run['tag']}/seed{run['seed']}": i for i, run in enumerate(plan.read_plan(Path(out))["runs"])}
        left = [str(numbers[name]) for name, stamp in runs.items() if name in numbers and failed_at(Path(out, "runs", name)) in (0, stamp)
                and status.state_of(Path(out, "runs", name)).state != "finished"]
        code = worker.main([out, *left]) if left else 0
    except Stopped:
        pass
    for number in (signal.SIGTERM, signal.SIGUSR2):  # what is on its way out needs no other; requeue sends one to scontrol, too
        signal.signal(number, signal.SIG_IGN)
    if warned and code == 143 and os.environ.get("SLURM_PROCID", "0") == "0":
        if standing() != before:
            _requeue()
        else:
            print("this task got no further before its time limit, so it is not requeued: give it more time (--slurm time=MINUTES)",
                  file=sys.stderr)
    worker.leave(code)


def _requeue() -> None:
    """Have SLURM start this task again; a plain SLURM_JOB_ID may be that of the whole array."""
    env = os.environ
    array = env.get("SLURM_ARRAY_JOB_ID")
    job = f"{array}_{env['SLURM_ARRAY_TASK_ID']}" if array else env["SLURM_JOB_ID"]
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"this task could not be requeued ({error}); the same `mmrep sweep` goes on", file=sys.stderr)
