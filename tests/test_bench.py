"""`mmrep bench data`: its line is complete, whatever the data; `bench step` is tested beside `mmrep check`."""

import json

import pytest

from mmrep import cli
from mmrep import config as cfg
from mmrep.bench import bench_data
from tests import runs

KEYS = {"examples_per_s", "cpu_s_per_example", "first_batch_s", "cached_examples_per_s", "cached_rows", "batch", "threads", "cores",
        "decode"}


def test_one_line_of_the_loader_and_of_a_step_that_waits(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cli.main(["bench", "data", f"{runs.ROOT / 'configs' / 'bench_data.py'}:smoke,decode=exact", "--batches", "2"]) == 0
    out, _ = capsys.readouterr()
    found = json.loads(out)
    assert out.count("\n") == 1 and set(found) == KEYS
    assert found["decode"] == ["pillow"] and found["batch"] == 16 and found["cached_rows"] == 64 and found["examples_per_s"] > 0
    found = bench_data(cfg.load(str(runs.ROOT / "configs" / "bench_data.py:smoke"), []), batches=1, steps=2)
    assert found["decode"] == ["simplejpeg+opencv"] and found["step_s"] > 0 and 0 <= found["wait_share"] <= 1


def test_a_mixture_and_bad_numbers():
    parts = {"a": {"name": "phantom", "size": 16, "n": 40, "modalities": ("image", "text")},
             "b": {"name": "phantom", "size": 16, "n": 24, "seed": 1, "modalities": ("image", "text")}}
    config = runs.config(data={"main": {"sources": parts, "batch": 8, "augment": ({"name": "random_crop", "size": 16},)}})
    found = bench_data(config, batches=1)
    assert found["decode"] == [] and found["cached_rows"] == 64
    with pytest.raises(ValueError, match="--batches 0 --steps 0: time at least one batch"):
        bench_data(config, batches=0)
