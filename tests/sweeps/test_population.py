"""Several runs in one compiled step against each run alone."""

import json
import os
import signal

import jax
import numpy as np
import pytest

import mmrep.train as loop
from mmrep import config as cfg
from mmrep.core import checkpoint
from mmrep.stop import Stopped
from mmrep.sweeps.population import train_together
from mmrep.train import train
from tests import runs
from tests.tiny import ROOT


def configs(*changes):
    base = cfg.load(f"{ROOT / 'configs' / 'toys' / 'pairs.py'}:smoke", ["log.every=1 steps", "eval.controls=()", "mesh.data=1"])
    return [cfg.override_with(base, change, "") for change in changes]


@pytest.fixture
def one_device(monkeypatch):
    first = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda *_: first)
    monkeypatch.setattr(jax, "device_count", lambda *_: 1)


@pytest.mark.slow
def test_runs_together_are_the_runs_alone_to_rounding(tmp_path, one_device):
    changes = [{"seed": 0}, {"seed": 1, "optim": {"lr": 3e-3}}, {"seed": 0, "optim": {"lr": 1e30}}, {"seed": 2, "total": "2 steps"},
               {"seed": 3, "objectives": {"pair": {"temperature": 0.5}}, "eval": {"every": "2 steps"}}]
    made, said = configs(*changes), [[] for _ in changes]
    ends = train_together(made, [tmp_path / f"t{i}" for i in range(len(made))], {}, [s.append for s in said])
    assert isinstance(ends[2], FloatingPointError) and "is not finite" in str(ends[2])
    for i in (0, 1, 3, 4):
        alone = train(made[i], tmp_path / f"a{i}", shared=runs.SHARED, say=lambda text: None, figure=False)
        ours, theirs = runs.rows(tmp_path / f"t{i}"), runs.rows(tmp_path / f"a{i}")
        assert [r["step"] for r in ours] == [r["step"] for r in theirs] and abs(ours[0]["loss"] - theirs[0]["loss"]) < 1e-5
        assert np.allclose([r["loss"] for r in ours if "loss" in r], [r["loss"] for r in theirs if "loss" in r], rtol=2e-4)
        assert ends[i].keys() == alone.keys() and ends[i]["metrics"].keys() == alone["metrics"].keys()
        written = json.loads((tmp_path / f"t{i}" / "results.json").read_text())
        assert written["config_hash"] == alone["config_hash"] == cfg.digest(made[i])
    saved = runs.params(tmp_path / "t2")  # the state before the step that was not finite
    assert all(np.isfinite(x).all() for x in saved.values())


def test_a_signal_saves_them_all_and_each_goes_on_alone(tmp_path, one_device, monkeypatch):
    real = loop._read

    def read(step, *rest):
        told = real(step, *rest)
        if step == 2 and not killed:
            killed.append(os.kill(os.getpid(), signal.SIGTERM))
        return told

    killed: list = []
    monkeypatch.setattr(loop, "_read", read)
    made, folders = configs({"seed": 0}, {"seed": 1}), [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(Stopped):
        train_together(made, folders, {}, [lambda text: None] * 2)
    assert killed and all(2 <= max(checkpoint.steps_of(f)) < 4 and not (f / "results.json").is_file() for f in folders)
    said: list = []
    results = train(made[1], folders[1], shared={}, say=said.append, figure=False)
    assert results["step"] == 4 and any("resumed at step" in line for line in said)


def test_what_cannot_be_trained_together_is_refused(tmp_path, one_device):
    folders, quiet = [tmp_path / "a", tmp_path / "b"], [lambda text: None] * 2
    with pytest.raises(ValueError, match="must share a program"):
        train_together(configs({}, {"data": {"main": {"batch": 32}}}), folders, {}, quiet)
    with pytest.raises(ValueError, match="of several stages"):
        train_together(configs({}, {"stages": ({"total": "1 steps"},)}), folders, {}, quiet)
