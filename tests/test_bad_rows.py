"""Rows that prove bad in a run: it ends with their line, keeps what it had learned, and goes on once they are mended."""

import json

import pytest

from mmrep import config as cfg
from mmrep import evaluate
from mmrep.core import checkpoint
from mmrep.data.phantom.export import write_table
from mmrep.data.sources import BadRow
from mmrep.shared import forget
from mmrep.train import train
from tests import runs


def go(config, workdir):
    forget(runs.SHARED, "source")  # pictures change between these runs
    return train(config, workdir, shared=runs.SHARED, say=lambda text: None)


def test_a_row_that_training_cannot_read_ends_the_run_after_saving(tmp_path):
    table = write_table(tmp_path / "t")
    config = cfg.load(f"{runs.ROOT / 'configs' / 'clip_table.py'}:path={table},smoke",
                      ["data.main.source.splits={'val': 'dev'}", "eval.controls=()", "total=4 steps", "data.main.batch=16"])
    go(config, tmp_path / "whole")
    picture = table.parent / "images" / "train0005.png"
    whole = picture.read_bytes()
    picture.write_bytes(whole[:len(whole) // 2])
    for _ in range(2):  # what was learned before that step is kept, and nothing of the step
        with pytest.raises(BadRow, match="row 5 .*image 'images/train0005.png'"):
            go(config, tmp_path / "w")
    before = checkpoint.steps_of(tmp_path / "w")[-1]
    assert before < 3 and [row["step"] for row in runs.rows(tmp_path / "w")] == [*range(1, before + 1)]
    picture.write_bytes(whole)
    go(config, tmp_path / "w")
    runs.assert_equal(runs.params(tmp_path / "whole"), runs.params(tmp_path / "w"))
    assert runs.rows(tmp_path / "whole") == runs.rows(tmp_path / "w")


def test_a_row_that_evaluation_cannot_read_leaves_the_run_unfinished(tmp_path):
    table = write_table(tmp_path / "t")
    config = cfg.load(f"{runs.ROOT / 'configs' / 'clip_table.py'}:path={table},smoke",
                      ["data.main.source.splits={'val': 'dev'}", "eval.controls=()", "eval.every=1 steps"])
    picture = table.parent / "images" / "test0003.png"
    whole = picture.read_bytes()
    picture.write_bytes(whole[:len(whole) // 2])
    for _ in range(2):  # the same command again does not call it finished
        with pytest.raises(BadRow, match="image 'images/test0003.png'"):
            go(config, tmp_path / "w")
        assert not (tmp_path / "w" / "results.json").exists() and evaluate.count_read(tmp_path / "w", 0) == 0
    with pytest.raises(BadRow, match="image 'images/test0003.png'"):
        evaluate.evaluate(tmp_path / "w", say=lambda text: None)
    picture.write_bytes(whole)
    results = go(config, tmp_path / "w")
    assert results["test_reads"] == 1 and results["metrics"]
    picture = table.parent / "images" / "dev0003.png"  # the first evaluation on val ends a run that reads it
    picture.write_bytes(whole[:len(whole) // 2])
    with pytest.raises(BadRow, match="image 'images/dev0003.png'"):
        go(config, tmp_path / "v")
    assert checkpoint.steps_of(tmp_path / "v") == [1] and not (tmp_path / "v" / "results.json").exists()
    with pytest.raises(ValueError, match="config.data.main.batch was 32, is 16"):
        go(cfg.override_with(config, {"data": {"main": {"batch": 16}}}, "test"), tmp_path / "v")
    skipping = cfg.override_with(config, {"data": {"main": {"source": {"on_error": "skip"}}}}, "test")  # what the error says goes on
    results = go(skipping, tmp_path / "v")
    assert results["step"] == 2 and results["metrics"] and json.loads((tmp_path / "v" / "run.json").read_text())["starts"][-1]["changed"]
