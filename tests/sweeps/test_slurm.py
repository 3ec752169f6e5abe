"""Sweeps on a real SLURM of two nodes, started here: the same bits as local workers, after a requeue as well, and runs of two processes."""

import json
import os
import signal
import subprocess
import time
from types import SimpleNamespace

import numpy as np
import pytest

from mmrep import cli
from mmrep.stop import Stopped
from mmrep.sweeps import plan, slurm, status, worker
from mmrep.sweeps.axes import grid
from mmrep.sweeps.run import Job, _keys, run_sweep
from tests import runs
from tests.sweeps import slurm_here

PAIRS = str(runs.ROOT / "configs" / "toys" / "pairs.py:smoke")
QUICK = {"poll": "1", "time": "30"}
SMALL = ("data.main.source.latent.candidates=50", "eval.controls=()")
LONG = (*SMALL, "total=2000 steps", "log.every=10 steps", "save.every=1000 steps")  # long enough to be disturbed in its middle


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'mmrep[slurm]'")
    try:
        with slurm_here.cluster(tmp_path_factory.mktemp("slurm")) as env:
            yield env
    except slurm_here.Unavailable as why:
        pytest.skip(str(why))


@pytest.fixture
def here(cluster, monkeypatch):
    """The environment of a user of the cluster, one CPU device a process."""
    for name in [k for k in os.environ if k.startswith(("XLA_", "JAX_"))]:
        monkeypatch.delenv(name)
    for name, value in (runs.environment() | {k: cluster[k] for k in ("PATH", "SLURM_CONF")}).items():
        monkeypatch.setenv(name, value)


def study(points, seeds=(0,)):
    return plan.Study("s", PAIRS, points, seeds, {}, ())


def planned(found, out, *overrides):
    """The jobs of a study whose plan is written."""
    members = plan.members(found, overrides)
    out.mkdir()
    plan.write_plan(found, members, out)
    return [Job(i, m.name, *_keys(m)) for i, m in enumerate(members)]


def sweep(jobs, out, **options):
    """What `run_on_slurm` returns and says."""
    said = []
    return slurm.run_on_slurm(jobs, out, QUICK | options, said.append), "\n".join(said)


def same(one, two):
    """That two runs' folders hold the same bits."""
    runs.assert_equal(runs.params(one), runs.params(two))
    assert runs.rows(one) == runs.rows(two)
    found = [{k: v for k, v in status.read_results(folder).items() if k != "seconds"} for folder in (one, two)]
    assert found[0] == found[1]


def until(true, seconds=120):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


def submitted(jobs, out, **options):
    """Submit a run; its folder and its task."""
    result, said = sweep(jobs, out, wait="no", **options)
    assert result == slurm.QUEUED and "submitted 1 runs as 1 task" in said and "nobody waits" in said
    return out / "runs" / jobs[0].name, next(iter(json.loads((out / "slurm.json").read_text())["tasks"]))


def starts(folder):
    """Steps at which a run was started."""
    return [start["step"] for start in json.loads((folder / "run.json").read_text())["starts"]]


def disturb(folder, *command):
    """A command against a run's task in the midst of its training, 20 steps after its last start."""
    until(lambda: (folder / "run.json").exists() and status.last_row(folder / "metrics.jsonl")[0] > starts(folder)[-1] + 20)
    subprocess.run(command, check=True, timeout=60)


@pytest.mark.extra
@pytest.mark.slow
def test_a_job_array_gives_the_bits_of_local_workers(tmp_path, here):
    found, out = study(grid({"optim.lr": (1e-3, 2e-3)}), (0, 1)), tmp_path / "slurm"
    jobs = planned(found, out, *SMALL)
    result, said = sweep(jobs, out, per_task="2", cpus_per_task="1")
    assert result == "" and "submitted 4 runs as 2 tasks" in said and "[4/4]" in said and "left the queue" not in said, said
    assert run_sweep(found, tmp_path / "local", overrides=SMALL, say=lambda text: None) == 0
    for job in jobs:
        same(out / "runs" / job.name, tmp_path / "local" / "runs" / job.name)
    script = next((out / "slurm").glob("*_submission.sh")).read_text()
    assert "#SBATCH --requeue" in script and "#SBATCH --array=0-1%2" in script and "--cpus-per-task=1" in script.partition("srun")[2]
    assert run_sweep(found, out, overrides=SMALL, say=lambda text: None) == 0  # all is finished, whoever did it


@pytest.mark.extra
@pytest.mark.slow
def test_a_disturbed_run_ends_with_the_same_bits(tmp_path, here):
    found, out = study(grid({"optim.lr": (1e-3,)})), tmp_path / "slurm"
    jobs = planned(found, out, *LONG)
    name = jobs[0].name
    folder, task = submitted(jobs, out)
    for times, command in enumerate((("scontrol", "requeue"), ("scancel", "--signal=USR2"))):  # pre-emption; the time limit is near
        disturb(folder, *command, task)
        until(lambda: len(starts(folder)) == times + 2)
    disturb(folder, "scancel", task)  # for good
    until(lambda: not slurm.queued(out))
    assert slurm.wait_for([name], {task: {name: 0}}, out, 1, (said := []).append) == ""
    assert f"task {task} has left the queue (CANCELLED) before {name} ended" in said[-1] and "the same command goes on" in said[-1]

    folder, task = submitted(jobs, out)
    result, text = sweep(jobs, out)
    assert result == "" and "1 tasks of an earlier call" in text and "1 runs are theirs" in text and "\nsubmitted" not in text, text
    assert f"[1/1] {name}" in text and status.state_of(folder).state == "finished"
    steps, log = starts(folder), (folder / "log.txt").read_text()
    assert len(steps) == 4 and steps == sorted(set(steps)) and all(f"resumed at step {step} in" in log for step in steps[1:])
    assert run_sweep(found, tmp_path / "local", overrides=LONG, say=lambda text: None) == 0
    same(folder, tmp_path / "local" / "runs" / name)


@pytest.mark.extra
@pytest.mark.slow
def test_a_run_of_two_processes_is_that_of_one(tmp_path, here):
    found, two, one = study(grid({"optim.lr": (1e-2, 1e30)})), tmp_path / "two", tmp_path / "one"  # 1e30 cannot be survived
    overrides = (*SMALL, "total=30 steps", "log.every=2 steps", "optim.name=sgd")
    jobs = planned(found, two, *overrides)
    result, said = sweep(jobs, two, tasks_per_node="2")
    assert result == "" and "submitted 2 runs as 2 tasks" in said and f"{jobs[1].name}  failed: step" in said and "[2/2]" in said, said
    run_sweep(found, one, overrides=overrides, say=lambda text: None)
    a, b = one / "runs" / jobs[0].name, two / "runs" / jobs[0].name
    assert json.loads((b / "run.json").read_text())["device_count"] == 2
    np.testing.assert_allclose(*([r["loss"] for r in runs.rows(folder)] for folder in (a, b)), rtol=1e-4)
    assert status.read_results(a)["metrics"].keys() == status.read_results(b)["metrics"].keys()


@pytest.mark.extra
@pytest.mark.slow
def test_a_run_on_two_nodes_goes_on_to_the_same_bits(tmp_path, here):
    found, overrides = study(grid({"optim.lr": (1e-2,)})), (*SMALL, "total=250 steps", "log.every=2 steps")
    jobs, straight, other = planned(found, tmp_path / "straight", *overrides), tmp_path / "straight", tmp_path / "other"
    planned(found, other, *overrides)
    folder, task = submitted(jobs, other, nodes="2")
    assert "2 tasks" not in sweep(jobs, straight, nodes="2", wait="no")[1]  # folders know nothing of each other
    disturb(folder, "scancel", "--signal=USR2", task)
    for out in (straight, other):
        assert sweep(jobs, out, nodes="2")[0] == ""
    assert len(starts(folder)) == 2 and json.loads((folder / "run.json").read_text())["device_count"] == 2
    same(straight / "runs" / jobs[0].name, folder)


# ---- without SLURM --------------------------------------------------------------------------------------------------

@pytest.mark.extra
def test_options_of_the_command_line():
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'mmrep[slurm]'")
    text = "partition=gpu,time=60,nodelist=a,b,tasks_per_node=2,reservation=r,cpus_per_task=4,exclusive=yes,poll=2,wait=no"
    found = slurm.check_options(slurm.split_options(text))
    assert (found.per_task, found.wait, found.poll, found.hosts) == (1, False, 2, 2)
    assert found.sbatch["nodelist"] == "a,b" and found.sbatch["ntasks_per_node"] == 2 and found.sbatch["time"] == 60
    assert found.sbatch["srun_args"] == ["--cpus-per-task=4", "--wait=60"] and found.sbatch["exclusive"] is True
    assert found.sbatch["additional_parameters"] == {"requeue": True, "reservation": "r", "signal": "USR2@90"}
    assert slurm.check_options(slurm.split_options("")).sbatch["time"] is None
    for wrong, message in (("partitoin=gpu", "did you mean 'partition'"), ("gpu", "NAME=VALUE"), ("per_task=0", "at least 1"),
                           ("wait=maybe", "yes or no"), ("nodes=2,per_task=3", "a task of its own"),
                           ("ntasks_per_node=2", "tasks_per_node")):
        with pytest.raises(ValueError, match=message):
            slurm.check_options(slurm.split_options(wrong))


def test_runs_are_divided_by_their_programs():
    jobs = [Job(i, f"r{i}", "ab"[i % 3 == 0], f"{i:03}") for i in range(30)]  # 10 runs of b, 20 of a
    tasks = slurm.divide(jobs)
    assert [len(t) for t in tasks] == [6, 7, 7, 5, 5] and all(len({j.group for j in t}) == 1 for t in tasks)
    assert sorted(j.number for t in tasks for j in t) == list(range(30))
    assert [len(t) for t in slurm.divide(jobs, 12)] == [12, 12, 6] and slurm.divide([]) == []


@pytest.mark.extra
def test_what_is_queued_is_not_submitted_again(tmp_path, monkeypatch):
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'mmrep[slurm]'")
    jobs = planned(study(grid({"optim.lr": (1e-3, 2e-3, 3e-3)})), tmp_path / "s")
    out, names = tmp_path / "s", [job.name for job in jobs]
    status.note_failure(out / "runs" / names[0], "bad luck")
    first = {"7_0": {names[0]: 1}, "7_1": {names[1]: 0}, "7_2": {names[2]: 0}}  # 0 failed in its task
    (out / "slurm.json").write_text(json.dumps({"tasks": first}))
    answer, submitted, said = "7_0|RUNNING|None\n7_1|PENDING|Priority\n7_2|TIMEOUT|TimeLimit\n", [], []
    monkeypatch.setattr(slurm.subprocess, "run", lambda *a, **k: SimpleNamespace(returncode=0, stdout=answer, stderr=""))
    monkeypatch.setattr(slurm, "submit", lambda tasks, out, sbatch: submitted.append(tasks) or {f"8_{i}": t for i, t in enumerate(tasks)})
    assert slurm.run_on_slurm(jobs, out, {"wait": "no", "per_task": "1"}, said.append) == slurm.QUEUED
    assert [list(t) for t in submitted[0]] == [[names[0]], [names[2]]] and submitted[0][0][names[0]] > 1
    assert "2 tasks of an earlier call are still in the queue (job 7); 1 runs are theirs" in said[0]
    assert set(json.loads((out / "slurm.json").read_text())["tasks"]) == {"7_0", "7_1", "8_0", "8_1"}
    with pytest.raises(ValueError, match="2 tasks of an earlier call are still in SLURM's queue"):  # nor run here beside them
        run_sweep(study(grid({"optim.lr": (1e-3, 2e-3, 3e-3)})), out, say=said.append)

    monkeypatch.setattr(slurm.subprocess, "run", lambda *a, **k: SimpleNamespace(returncode=1, stdout="", stderr="Connection refused"))
    with pytest.raises(ValueError, match="squeue does not answer"):
        slurm.queued(out)
    monkeypatch.setattr(slurm.subprocess, "run", lambda *a, **k: SimpleNamespace(
        returncode=1, stdout="", stderr="slurm_load_jobs error: Invalid job id specified"))
    assert slurm.queued(out) == {}
    (out / "slurm.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        slurm.queued(out)


def test_the_end_of_task_runs_and_of_tasks_is_told(tmp_path, monkeypatch):
    jobs = planned(study(grid({"optim.lr": (1e-3, 2e-3, 3e-3)})), tmp_path / "s")
    out, (a, b, c) = tmp_path / "s", [job.name for job in jobs]
    looks, said = [], []

    def ask(tasks):
        looks.append(1)
        if len(looks) == 2:
            status.note_failure(out / "runs" / a, "bad luck")
        if len(looks) == 3:
            (out / "runs" / b).mkdir(parents=True)
            (out / "runs" / b / "results.json").write_text('{"metrics": {}, "seconds": {"train": 61.0}}')
        return None if len(looks) == 1 else {"7_0": ("RUNNING", "None"), "7_1": ("TIMEOUT", "TimeLimit")}

    monkeypatch.setattr(slurm, "ask_queue", ask)
    (out / "slurm").mkdir()
    (out / "slurm" / "7_1_0_log.err").write_text("no such file\n\n")
    assert slurm.wait_for([a, b, c], {"7_0": {a: 0, b: 0}, "7_1": {c: 0}}, out, 0.01, said.append) == ""
    text = "\n".join(said)
    assert f"[1/3] {a}  failed: bad luck" in text and f"[2/3] {b}  1:01" in text and "squeue does not answer" in text
    assert f"task 7_1 has left the queue (TIMEOUT) before {c} ended" in text and "ends with 'no such file'" in text


@pytest.mark.parametrize("further", [True, False])
def test_a_task_does_what_is_left_and_is_requeued_where_it_got_further(tmp_path, monkeypatch, capsys, further):
    jobs = planned(study(grid({"optim.lr": (1e-3, 2e-3, 3e-3)}), (0, 1)), tmp_path / "s")
    out, names, done = tmp_path / "s", [job.name for job in jobs], []
    for name in names[:2]:
        status.note_failure(out / "runs" / name, "bad luck")
    (out / "runs" / names[2]).mkdir(parents=True)
    (out / "runs" / names[2] / "results.json").write_text('{"metrics": {}}')
    task_runs = dict.fromkeys([*names[:4], "of another plan"], 0) | {names[1]: slurm.failed_at(out / "runs" / names[1])}

    def main(argv):
        done.append(argv[1:])
        if further:
            (out / "runs" / names[3] / "checkpoints" / "7").mkdir(parents=True)
        try:
            os.kill(os.getpid(), signal.SIGUSR2)
            time.sleep(5)
        except Stopped:
            return 143

    monkeypatch.setattr(worker, "main", main)
    monkeypatch.setattr(worker, "leave", done.append)
    monkeypatch.setattr(slurm.subprocess, "run", lambda command, **_: done.append(command))
    monkeypatch.setattr(cli, "prepare_process", lambda: "")
    for name, value in {"SLURM_JOB_ID": "12", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3", "SLURM_PROCID": "0"}.items():
        monkeypatch.setenv(name, value)
    old = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGUSR2, signal.SIGCONT)}
    try:
        slurm.work(str(out), task_runs)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
    assert done == [["1", "3"], *([["scontrol", "requeue", "12_3"]] if further else []), 143]
    assert further or "give it more time" in capsys.readouterr().err
