"""What a run writes: a resume forgets what came after its checkpoint, a cut line is no row."""

import csv
import json
import sys
import time

import pytest

from mmrep import trackers, writers
from tests import runs


def test_a_resume_forgets_what_came_after_its_checkpoint(tmp_path):
    first = writers.Writer(tmp_path, 0)
    for step in (1, 2, 3):
        first.write(step, {"loss": step / 2})
    first.write(2, {"val/score": 0.5})
    first._file.write('{"step": 4, "lo')  # a kill
    first._file.flush()
    assert first.has(2, "val/") and not first.has(3, "val/") and not first.has(4, "loss")
    second = writers.Writer(tmp_path, 2)
    second.write(3, {"loss": 9.0})
    second.close()
    rows = writers.read_rows(tmp_path / "metrics.jsonl")
    assert [(r["step"], r.get("loss", r.get("val/score"))) for r in rows] == [(1, 0.5), (2, 1.0), (2, 0.5), (3, 9.0)]
    table = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [r["loss"] for r in table] == ["0.5", "1.0", "", "9.0"] and table[2]["val/score"] == "0.5"
    second.close()  # twice is harmless


def test_other_hosts_write_nothing(tmp_path):
    quiet = writers.Writer(tmp_path, 0, active=False)
    quiet.write(1, {"loss": 1.0})
    quiet.close()
    assert not list(tmp_path.iterdir()) and not quiet.has(1, "loss")


def test_progress_speaks_about_ten_times_with_rate_and_rest(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(writers.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(writers.sys.stderr, "isatty", lambda: False, raising=False)
    said = []
    progress = writers.Progress(100, 8, 0, said.append)
    now[0] = 5.0
    progress.warm(1)
    for step in range(2, 101):
        now[0] += 2.0
        progress.show(step, {"loss": 1.0}, waited=0.5 * (now[0] - 5.0))
    assert len(said) == 10 and "step 100/100  loss 1.0000" in said[-1] and "4 examples/s" in said[-1]
    assert "wait 50 %" in said[-1] and "ETA 3:00" in said[0]


@pytest.mark.parametrize("seconds, text", [(59.9, "0:59"), (61, "1:01"), (3600, "1:00:00")])
def test_clock(seconds, text):
    assert writers.clock(seconds) == text


def tracked(tmp_path, monkeypatch, **log):
    """A run of four steps stopped after two and resumed, with trackers."""
    monkeypatch.chdir(tmp_path)
    config = runs.config(**{f"log.{k}": v for k, v in log.items()})
    for steps in ("2 steps", "4 steps"):
        c = config.copy_and_resolve_references()
        with c.unlocked():
            c.total = steps
        found = trackers.open_trackers(c, tmp_path)
        writer = writers.Writer(tmp_path, 0 if steps == "2 steps" else 2, trackers=found)
        for step in range(1, 3) if steps == "2 steps" else range(3, 5):
            writer.write(step, {"loss": 1.0 / step, "val/probe/findings@1%/auroc": 0.5})
        writer.close()


def wandb_log(folder, seconds=10.0):
    """What a folder's offline runs hold: their process writes it a moment after `finish`."""
    deadline = time.monotonic() + seconds
    while True:
        logs = [f.read_bytes() for f in (folder / "wandb").glob("offline-run-*/run-*.wandb")]
        if logs and min(map(len, logs)) > 100 or time.monotonic() > deadline:
            return b"".join(logs)
        time.sleep(0.05)


@pytest.mark.extra
def test_weights_and_biases_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="the extra `wandb` is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    tracked(tmp_path, monkeypatch, wandb="project")
    assert b"findings@1%/auroc" in wandb_log(tmp_path)


def together(tmp_path, monkeypatch, **log):
    """Two runs trained at once, a and b, of which the first ends a step before the other."""
    monkeypatch.chdir(tmp_path)
    folders, open_ones = [tmp_path / "a", tmp_path / "b"], []
    for folder in folders:
        folder.mkdir()
        open_ones.append(trackers.open_trackers(runs.config(**{f"log.{k}": v for k, v in log.items()}), folder))
    for step in (1, 2):
        for folder, (tracker,) in zip(folders, open_ones):
            tracker.write(step, {f"loss_of_{folder.name}": float(step)})
    open_ones[0][0].close()
    open_ones[1][0].write(3, {"loss_of_b": 3.0})
    open_ones[1][0].close()
    return folders


@pytest.mark.extra
def test_weights_and_biases_keeps_runs_apart_that_are_trained_together(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="the extra `wandb` is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    logs = [wandb_log(folder) for folder in together(tmp_path, monkeypatch, wandb="project")]
    assert [(b"loss_of_a" in log, b"loss_of_b" in log) for log in logs] == [(True, False), (False, True)]


@pytest.mark.extra
def test_mlflow_keeps_runs_apart_that_are_trained_together(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="the extra `mlflow` is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for folder in together(tmp_path, monkeypatch, mlflow="experiment"):
        number = json.loads((folder / "mlflow.json").read_text())["run"]
        (metrics,) = (tmp_path / "mlruns").glob(f"*/{number}/metrics")
        assert [f.name for f in metrics.iterdir()] == [f"loss_of_{folder.name}"]
        assert len((metrics / f"loss_of_{folder.name}").read_text().splitlines()) == 2 + (folder.name == "b")


def test_tensorboard_keeps_runs_apart_that_are_trained_together(tmp_path, monkeypatch):
    pytest.importorskip("tensorboardX", reason="the extra `trackers` is not installed")
    logs = [b"".join(f.read_bytes() for f in (folder / "tensorboard").glob("events*"))
            for folder in together(tmp_path, monkeypatch, tensorboard=True)]
    assert [(b"loss_of_a" in log, b"loss_of_b" in log) for log in logs] == [(True, False), (False, True)]


@pytest.mark.extra
def test_mlflow_in_a_local_folder(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="the extra `mlflow` is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tracked(tmp_path, monkeypatch, mlflow="experiment")
    (metric,) = (tmp_path / "mlruns").glob("*/*/metrics/loss")  # one run, although it was resumed
    assert [float(line.split()[1]) for line in metric.read_text().splitlines()] == [1.0, 0.5, 1 / 3, 0.25]
    assert list((tmp_path / "mlruns").glob("*/*/params/optim.lr"))


def test_a_tracker_that_is_not_installed_names_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r"config.log.wandb: needs the extra `wandb`: pip install mmrep\[wandb\]"):
        trackers.open_trackers(runs.config(**{"log.wandb": "project"}), tmp_path)
