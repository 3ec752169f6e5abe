"""Studies from their runs to what is recorded of them: origins, stops, errors of one study, changed code."""

import json
import shutil

import pytest

from mmrep.stop import Stopped
from mmrep.sweeps import plan, reproduce, run

SWEEP = ("SEEDS = 2\nSCALE = 2.0\ndef sweep(scale): return [{'x': 1}]\n"
         "def simulate(point, seed): return {'m': SCALE * point['x'] + seed}\n")
FIGURE = ("from mmrep.sweeps.results import mean, values\nN = 1\n"
          "def measure(rows):\n    found = mean(values(rows, 'm', by='x')[N])\n    return {'m': found, 'off': -found}\n"
          "def draw(rows):\n    import matplotlib.pyplot as plt\n    return plt.figure()\n")
EXPECTED = {"paper": "p", "assertions": [{"id": "a", "kind": "THEOREM", "quantity": "m", "is": "above", "value": 2.0, "why": "2 x + seed"}],
            "controls": [{"id": "c", "of": "a", "quantity": "off", "why": "sign turned"}]}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of two studies, `bad` and `good`, which are alike so far."""
    for name in ("bad", "good"):
        folder = tmp_path / "experiments" / name
        folder.mkdir(parents=True)
        (folder / "sweep.py").write_text(SWEEP)
        (folder / "figure.py").write_text(FIGURE)
        (folder / "expected.json").write_text(json.dumps(EXPECTED))
        (folder / "README.md").write_text(f"before\n{reproduce.MARK[0]}\n{reproduce.MARK[1]}\nafter\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "experiments"


def test_one_study_that_breaks_does_not_stop_the_others_and_records_come_last(project, monkeypatch):
    (project / "bad" / "figure.py").write_text(FIGURE.replace("N = 1", "N = 7"))
    said, order, kept = [], [], reproduce.keep
    monkeypatch.setattr(reproduce, "keep", lambda folder, *rest: (order.append(len(said)), kept(folder, *rest)))
    assert reproduce.reproduce_all("small", 1, False, True, said.append) == 1
    assert "bad    ERROR                  KeyError: 7" in said[-1] and "THEOREM 1/1, controls fail as they must 1/1" in said[-1]
    assert order == [len(said) - 1] and not (project / "bad" / "recorded.json").exists()
    found = json.loads((project / "good" / "recorded.json").read_text())
    assert found["runs"] == 2 and found["measured"]["m"] == 2.5 and found["began"] <= found["time"].replace(" ", "T")
    text = (project / "good" / "README.md").read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "| THEOREM | a | m above 2 | 2.5 | PASS |" in text
    assert [one["ok"] for one in reproduce.listed("small")] == [None, True]


def test_what_is_recorded_names_every_commit():
    rows = [{"run": f"r{i}", "seconds": 30.0, "time": f"2026-01-0{i + 1}T00:00:00Z", "device": "cpu", "commit": commit}
            for i, commit in enumerate("aab")]
    found = reproduce._origin([*rows, *rows])
    assert found["commit"] == "a (2 runs), b (1 runs)" and found["minutes"] == 1.5 and found["began"] == "2026-01-01T00:00:00Z"


def test_a_readme_without_its_place_keeps_the_old_record(project):
    (project / "good" / "README.md").write_text("no marks\n")
    with pytest.raises(ValueError, match="README.md: has no lines"):
        reproduce.reproduce("good", record=True, say=lambda text: None)
    assert not (project / "good" / "recorded.json").exists()


def test_a_signal_stops_all_of_it(project, monkeypatch):
    begun = []
    monkeypatch.setattr(run, "run_sweep", lambda study, *rest: begun.append(study.name) or 130)
    with pytest.raises(Stopped, match="bad: stopped by SIGINT; the same command goes on"):
        reproduce.reproduce_all("small", 1, False, False, lambda text: None)
    assert begun == ["bad"]


def test_a_simulation_whose_code_changed_is_stale(project):
    study = plan.load_study("good")
    assert run.run_sweep(study, project / "out", say=lambda text: None) == 0
    file = project / "good" / "sweep.py"
    file.write_text(SWEEP.replace("2.0", "7.0"))
    with pytest.raises(ValueError, match="is stale: config.code was"):
        run.run_sweep(plan.load_study("good"), project / "out", say=lambda text: None)
    shutil.rmtree(project / "out")
    assert run.run_sweep(plan.load_study("good"), project / "out", say=lambda text: None) == 0
