"""`mmrep sweep --search`: settings that Optuna proposes, judged on validation."""

import json

import numpy as np
import pytest

from mmrep.cli import main
from mmrep.sweeps import axes, commands
from tests import runs
from tests.tiny import ROOT

PAIRS = str(ROOT / "configs" / "toys" / "pairs.py:smoke")
METRIC = "retrieval/x1_to_x2/MRR/instance"


@pytest.fixture(autouse=True)
def cache(monkeypatch):
    for name in ("JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS"):  # workers see one device, as on a machine: eight make them slow
        monkeypatch.setenv(name, runs.environment()[name])


@pytest.mark.extra
def test_a_search_is_judged_on_validation_and_finds_its_runs_again(tmp_path, capsys):
    pytest.importorskip("optuna", reason="Optuna is not installed: pip install 'mmrep[search]'")
    out = tmp_path / "s"
    command = ["sweep", PAIRS, "--over", "optim.lr=1e-5..1e-1", "--over", "objectives.pair.name=contrastive,sigmoid", "--search", "3",
               "--metric", METRIC, "--out", str(out)]
    assert main(command) == 0
    found = json.loads((out / "search.json").read_text())
    values = [s["value"] for s in found["settings"]]
    assert found["metric"] == f"val/{METRIC}" and values == sorted(values, reverse=True) and 2 <= len(values) <= 3
    assert all(1e-5 <= s["changes"]["optim.lr"] <= 1e-1 for s in found["settings"])
    for one in found["settings"]:
        rows = [json.loads(line) for line in (out / "runs" / one["tag"] / "seed0" / "metrics.jsonl").read_text().splitlines()]
        assert one["value"] == [r for r in rows if f"val/{METRIC}" in r][-1][f"val/{METRIC}"]
    before = {f: f.stat().st_mtime_ns for f in out.glob("runs/*/*/results.json")}
    capsys.readouterr()
    assert main(command) == 0 and {f: f.stat().st_mtime_ns for f in out.glob("runs/*/*/results.json")} == before
    assert f"at {found['settings'][0]['tag']}" in capsys.readouterr().out
    assert main([*command[:-3], "retrieval/none", "--out", str(out)]) == 2
    assert "has no val/retrieval/none" in capsys.readouterr().err


@pytest.mark.extra
@pytest.mark.parametrize(("change", "line"), [
    (["--metric", ""], "--metric retrieval"), (["--mode", "best"], "give max or min"), (["--over", "optim.lx=1..2"], "optim.lx"),
    (["--over", "optim.lr=a..b"], "a range is of two numbers"), (["--over", "optim.lr=1e-2..1e-4"], "low < high"),
    (["--dry-run"], "goes with --workers"), (["--slurm"], "goes with --workers")])
def test_bad_searches_are_one_line(tmp_path, capsys, change, line):
    pytest.importorskip("optuna", reason="Optuna is not installed: pip install 'mmrep[search]'")
    command = ["sweep", PAIRS, "--over", "optim.wd=0..1", "--search", "2", "--metric", METRIC, "--out", str(tmp_path / "s"), *change]
    assert main(command) == 2 and line in capsys.readouterr().err and not (tmp_path / "s").exists()


def test_ranges_are_even_in_the_logarithm_from_ten_times_on():
    found = commands.ranges(["optim.lr=1e-4..1e-2", "optim.wd=0.1..0.5", "optim.clip=0.5,1"], PAIRS, [])
    assert found == {"optim.lr": axes.Range(1e-4, 1e-2, True), "optim.wd": axes.Range(0.1, 0.5), "optim.clip": [0.5, 1.0]}
    drawn = [found["optim.lr"](np.random.default_rng(i)) for i in range(400)]
    assert min(drawn) >= 1e-4 and max(drawn) <= 1e-2 and abs(np.median(np.log10(drawn)) + 3) < 0.15
