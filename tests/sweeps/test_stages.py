"""Runs of several stages in a sweep: their minutes, steps, curves, maps and validations are found in the stages' folders."""

import json
import shutil

import pytest

from mmrep.core.files import write_json
from mmrep.sweeps import live, report, results, search, status
from mmrep.train import train
from tests import runs

MRR = "retrieval/image_to_text/MRR/instance"
STAGES = ({"total": "3 steps"}, {"total": "4 steps", "optim": {"lr": 1e-4}, "eval": {"every": "2 steps"}})


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """A sweep's folder with one run of two stages that is finished."""
    out = tmp_path_factory.mktemp("staged")
    config = runs.config(evals={"retrieval": {"name": "retrieval"}}, stages=STAGES)
    train(config, out / "runs" / "all" / "seed0", shared=runs.SHARED, say=lambda text: None, figure=False)
    run = {"tag": "all", "seed": 0, "axes": {}, "overrides": {}, "config": json.loads((out / "runs/all/seed0/config.json").read_text())}
    write_json(out / "sweep.json", {"study": "s", "config": "c.py", "file": "", "baseline": {}, "family": [], "shown": [], "seeds": [0],
                                    "axes": [], "runs": [run]})
    return out


def test_seconds_are_those_of_all_stages(staged):
    folder = staged / "runs" / "all" / "seed0"
    whole, first, second = (json.loads((f / "results.json").read_text())["seconds"] for f in (folder, folder / "stage0", folder / "stage1"))
    assert whole == {name: round(first[name] + second[name], 2) for name in second} and first["evaluate"] > 0
    (folder / "results.json").unlink()  # stopped before it was written: the stages are finished by then
    again = train(runs.config(evals={"retrieval": {"name": "retrieval"}}, stages=STAGES), folder, shared=runs.SHARED, say=lambda text: None)
    assert again["seconds"] == whole == json.loads((folder / "results.json").read_text())["seconds"]
    rows, (run,) = results.collect(staged)
    assert rows[0]["seconds_train"] == whole["train"] and rows[0]["seconds_step"] > 0 and rows[0]["step"] == 4 and run["step"] == 7


def test_curve_map_and_validation_are_the_stages(staged):
    folder, said = staged / "runs" / "all" / "seed0", []
    assert report.report(staged, [MRR], None, said.append) == 0
    curve = report.curve(folder)
    assert [step for step, loss in zip(curve["step"], curve["loss"]) if loss is not None] == [1, 2, 3, 4, 5, 6, 7]
    shown = report.map_of(folder, json.loads((folder / "config.json").read_text()), {})
    assert shown["rows"] == json.loads((folder / "stage1" / "map.json").read_text())["rows"] and shown["split"] == "test"
    last = [row for row in runs.rows(folder / "stage1") if f"val/{MRR}" in row][-1]
    assert last["step"] == 4 and search.last_validation(folder, MRR) == last[f"val/{MRR}"]
    with pytest.raises(ValueError, match="stage1/metrics.jsonl has no val/none"):
        search.last_validation(folder, "none")


def test_a_half_done_run_is_stopped_and_shows_its_step(staged, tmp_path):
    folder = tmp_path / "runs" / "all" / "seed0"
    shutil.copytree(staged / "runs" / "all" / "seed0", folder)
    (folder / "results.json").unlink()
    (folder / "stage1" / "results.json").unlink()
    state, last = status.state_of(folder), runs.rows(folder / "stage1")[-2]
    assert (state.state, state.step, state.loss) == ("stopped", 7, last["loss"])
    config = json.loads((folder / "config.json").read_text())
    assert report.map_of(folder, config, {}) is None and status.planned_steps(config) == 7
    assert status.planned_steps(config | {"stages": [{}, {"total": "2 epochs"}], "total": "3 steps"}) == 0
    view = live.Live(tmp_path, 1, {0: "waiting"}, [config], 1, print)
    view.began(0, "all/seed0")
    assert f"step 7/7  loss {last['loss']:.4f}" in "\n".join(view._rows())
    shutil.rmtree(folder / "stage1")
    assert status.state_of(folder)[:4] == ("stopped", "", 0, 3)
    (folder / "config.json").write_text(json.dumps(config | {"seed": 5}))
    with pytest.raises(ValueError, match="is stale: config.seed was 5"):
        status.check_stale(folder, config)


def test_stages_are_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 2, 0):
        (tmp_path / f"stage{number}").mkdir()
    (tmp_path / "stage_notes").mkdir()
    assert [part.name for part in status.parts_of(tmp_path)] == ["stage0", "stage2", "stage10"]
    assert status.parts_of(tmp_path / "stage0") == [tmp_path / "stage0"]
