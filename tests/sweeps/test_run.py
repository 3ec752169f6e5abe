"""Sweeps end to end on this machine: worker processes, what is skipped, killed, failed, stale; the same bits as separate runs."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from mmrep import config as cfg
from mmrep.cli import main
from mmrep.sweeps import plan, results, status
from mmrep.sweeps.axes import grid, named, product
from mmrep.sweeps.run import run_sweep
from mmrep.workdir import locked
from tests import runs
from tests.tiny import ROOT

PAIRS = str(ROOT / "configs" / "toys" / "pairs.py:smoke")


@pytest.fixture(autouse=True)
def cache(monkeypatch):
    for name in ("JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS"):  # workers see one device, as on a machine: eight make them slow
        monkeypatch.setenv(name, runs.environment()[name])


def numbers(out):
    """The table without clocks."""
    return [{k: v for k, v in r.items() if not k.startswith(("seconds", "time"))} for r in results.read(out)]


def test_a_sweep_is_its_separate_runs_bit_for_bit_and_goes_on_where_it_stood(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    out = tmp_path / "s"
    points = product(named("loss", softmax={"objectives.pair.name": "contrastive"}, sigmoid={"objectives.pair.name": "sigmoid"}),
                     grid({"optim.lr": (1e-3, 1e30)}))  # the last learning rate cannot be survived
    study, said = plan.Study("s", PAIRS, points, (0, 1), {"loss": "softmax"}, ()), []
    assert run_sweep(study, out, workers=2, say=said.append) == 1
    text = "\n".join(said)
    assert "8 runs (4 settings x 2 seeds), 8 waiting" in text and "4 of 8 runs finished" in text
    assert "failed: loss=softmax,lr=1e+30/seed0 (1 try): step" in text and "is not finite" in text and "--retry" in text

    # the same bits as a run of its own, whose program is compiled for it alone
    runs.finish(runs.start("train", PAIRS, "--workdir", tmp_path / "alone", "--config.objectives.pair.name=sigmoid",
                           "--config.optim.lr=0.001", "--config.seed=1"))
    folder = out / "runs" / "loss=sigmoid,lr=0.001" / "seed1"
    runs.assert_equal(runs.params(folder), runs.params(tmp_path / "alone"))
    assert runs.rows(folder) == runs.rows(tmp_path / "alone")
    of_both = [json.loads((one / "results.json").read_text()) for one in (folder, tmp_path / "alone")]
    assert of_both[0]["metrics"] == of_both[1]["metrics"] and of_both[0]["controls"] == of_both[1]["controls"]

    # nothing is run twice; what failed only on request
    stamp, before = (folder / "results.json").stat().st_mtime_ns, numbers(out)
    said.clear()
    assert run_sweep(study, out, say=said.append) == 1 and "4 finished, 4 failed" in said[0]
    assert run_sweep(study, out, workers=2, retry=True, say=said.append) == 1 and "(2 tries)" in "\n".join(said)
    assert (folder / "results.json").stat().st_mtime_ns == stamp and numbers(out) == before

    # of another config it is an error, never reused
    with pytest.raises(ValueError, match="is stale: config.head.dim was 128 when it ran, and is 64 in this sweep"):
        run_sweep(study, out, overrides=("head.dim=64",), say=said.append)
    assert main(["report", str(out), "--metric", "retrieval/x1_to_x2/R@1/instance", "--baseline", "loss=softmax"]) == 0
    shown = capsys.readouterr().out
    assert "lr=1e+30/seed0 failed 2 times" in shown and "smallest possible p is 0.5" in shown


def test_the_command_line_makes_the_grid(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    args = ["sweep", "configs/toys/pairs.py:smoke", "--out", str(tmp_path / "s"), "--dry-run"]
    assert main([*args, "--over", "optim.lr=1e-3,1e-2", "--seeds", "3,7"]) == 0
    assert "waiting   lr=0.01/seed7" in capsys.readouterr().out and not (tmp_path / "s").exists()
    for wrong, words in ((["--over", "optim.lr="], "has no value, so the grid is empty"), (["--over", "optim.lr"], "write --over KEY=V1"),
                         (["--over", "optim.lx=1"], "config.optim.lx: unknown key"), (["--seeds", "many"], "--seeds many: give a number"),
                         (["--seeds", "3,3"], "different numbers"), (["--over", "optim.lr=a,b"], "config.optim.lr: 'a' is no float")):
        assert main([*args, *wrong]) == 2
        assert words in capsys.readouterr().err


@pytest.mark.slow
def test_a_sweep_killed_twice_ends_with_the_table_of_an_undisturbed_one(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    command = [sys.executable, "-m", "mmrep.cli", "sweep", "configs/toys/pairs.py", "--over", "optim.lr=1e-3,3e-3,1e-2", "--seeds", "2",
               "--workers", "2", "--config.total=400 steps", "--config.save.every=50 steps", "--config.eval.controls=()", "--out"]
    env = runs.environment()
    assert subprocess.run([*command, str(tmp_path / "whole")], cwd=ROOT, env=env, capture_output=True).returncode == 0
    draw = random.Random(time.time_ns())
    for number in (signal.SIGKILL, signal.SIGTERM):  # the workers of a killed driver save and end by themselves; nobody waits for it here
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen([*command, str(tmp_path / "killed")], cwd=ROOT, env=env, **quiet)
        time.sleep(draw.uniform(4, 14))
        os.kill(process.pid, number)
        assert process.wait(120) in (-number, 143, 0)
    assert subprocess.run([*command, str(tmp_path / "killed")], cwd=ROOT, env=env, capture_output=True).returncode == 0
    assert numbers(tmp_path / "whole") == numbers(tmp_path / "killed")


def test_a_worker_that_dies_fails_its_run_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "sweep.py").write_text(
        "import os\nSEEDS = 2\ndef sweep(scale): return [{'x': 1}, {'x': 2}]\n"
        "def simulate(point, seed):\n    if point['x'] == 2 and seed == 0: os.kill(os.getpid(), 9)\n"
        "    return {'twice': 2.0 * point['x'] + seed}\n")
    study, said = plan.load_study(tmp_path / "study"), []
    assert run_sweep(study, tmp_path / "out", say=said.append) == 1
    assert "failed: x=2/seed0 (1 try): the worker process died (signal SIGKILL)" in "\n".join(said)
    assert results.values(results.read(tmp_path / "out"), "twice", by="x") == {1: [2.0, 3.0], 2: [5.0]}


def test_a_worker_that_cannot_start_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    (tmp_path / "jax.py").write_text("raise ImportError('no such device')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    study = plan.Study("s", PAIRS, grid({"optim.lr": (1e-3, 1e-2)}), (0,), {}, ())
    with pytest.raises(ValueError, match="a worker could not start .*ImportError: no such device; .*worker0.log has all"):
        run_sweep(study, tmp_path / "out", say=lambda text: None)


def test_a_run_waits_for_the_process_that_still_works_in_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    study, said, out = plan.Study("s", PAIRS, grid({"optim.lr": (1e-3,)}), (0,), {}, ()), [], tmp_path / "out"
    holder = threading.Thread(target=hold, args=(out / "runs" / "lr=0.001" / "seed0", 15))
    holder.start()
    assert run_sweep(study, out, say=said.append) == 0, said
    holder.join()
    assert "another process" not in "\n".join(said) and json.loads((out / "runs" / "lr=0.001" / "seed0" / "results.json").read_text())

    from mmrep.sweeps import worker

    monkeypatch.setattr(worker, "PATIENCE", 0.0)  # nor does it fail where that process does not end
    run = {"tag": "held", "seed": 0, "config": cfg.plain(plan.members(study)[0].config)}
    with locked(out / "runs" / "held" / "seed0"):
        ended = worker.run_member(out, {"file": ""}, run, {})
    assert ended["state"] == "waiting" and "another process trains there" in ended["error"]
    assert status.state_of(out / "runs" / "held" / "seed0").state == "waiting"


def hold(folder, seconds):
    """Hold a run's folder, as a worker whose driver was killed does until it has saved."""
    with locked(folder):
        time.sleep(seconds)


@pytest.mark.slow
def test_runs_together_give_the_table_of_runs_one_after_another(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    command = [sys.executable, "-m", "mmrep.cli", "sweep", "configs/toys/pairs.py:smoke", "--over", "optim.lr=1e-3,3e-3,1e30",
               "--seeds", "2", "--config.log.every=1 steps", "--out"]
    for name, more in (("one", []), ("together", ["--together", "4"])):
        ended = subprocess.run([*command, str(tmp_path / name), *more], cwd=ROOT, env=runs.environment(), capture_output=True)
        assert ended.returncode == 1
    one, together = (results.read(tmp_path / name) for name in ("one", "together"))
    assert [(r["run"], r["control"], r["metric"]) for r in one] == [(r["run"], r["control"], r["metric"]) for r in together]
    assert max(abs(a["value"] - b["value"]) for a, b in zip(one, together) if "R@" in a["metric"]) < 0.02
    assert (tmp_path / "together" / "runs" / "lr=1e+30" / "seed1" / "failed.json").is_file()


def test_two_drivers_do_not_share_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    from mmrep.sweeps.run import _alone

    study = plan.Study("s", PAIRS, grid({"optim.lr": (1e-3,)}), (0,), {}, ())
    (tmp_path / "s").mkdir()
    with _alone(tmp_path / "s"), pytest.raises(ValueError, match="another `mmrep sweep` works there"):
        run_sweep(study, tmp_path / "s", say=lambda text: None)


def test_runs_of_one_program_are_one_group():
    from mmrep.hyper import group_key

    c = cfg.load(PAIRS)
    same = [cfg.override_with(c, change, "") for change in (
        {"seed": 3}, {"optim": {"lr": 0.1, "wd": 0.2}}, {"total": "9 steps"}, {"objectives": {"pair": {"temperature": 0.5}}},
        {"data": {"main": {"source": {"latent": {"pair_noise": 0.5}}}}})]
    other = [cfg.override_with(c, change, "") for change in (
        {"objectives": {"pair": {"name": "sigmoid"}}}, {"data": {"main": {"batch": 32}}}, {"optim": {"name": "sgd"}})]
    keys = {group_key(x) for x in same}
    assert keys == {group_key(c)} and len({group_key(x) for x in other} | keys) == 4
