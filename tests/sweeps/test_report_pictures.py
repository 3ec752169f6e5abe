"""Pictures and texts of rows in a report's page: read once where there are any, said where they cannot be, left out on request."""

import json

import numpy as np
import pytest

from mmrep.cli import main
from mmrep.core.files import write_json
from mmrep.data import streams
from mmrep.sweeps.report import report
from tests.sweeps.tables import folder

MAP = {"rows": [0, 1, 2], "pair": ["image", "text"], "xy": {"image": [[0, 0]] * 3, "text": [[1, 1]] * 3}, "label": None, "split": "test",
       "retrieval": [{"from": "image", "query": 0, "found": [[3, 0.5]]}], "stream": "main"}


def sweep(out, fields):
    """Two runs of the same data whose rows hold `fields`, with maps."""
    folder(out, {f"lr={lr}/seed0": ({"lr": lr}, {"m": lr}) for lr in (1, 2)})
    plan = json.loads((out / "sweep.json").read_text())
    for run in plan["runs"]:
        run["config"]["data"] = {"main": {"source": {"name": "manifest", "path": "table.csv"}, "batch": 8}}
        at = out / "runs" / run["tag"] / "seed0"
        write_json(at / "map.json", MAP)
        write_json(at / "data.json", {"specs": {"main": dict.fromkeys(fields)}, "eval": {"main": dict.fromkeys(fields)}})
    write_json(out / "sweep.json", plan)
    return out


@pytest.fixture
def opened(monkeypatch):
    """The splits that were opened; what opens them gives four rows of a picture and a patient's text."""
    splits = []

    def give(stream, split):
        splits.append(split)
        return [{"image": np.full((8, 8, 1), 40 * row, np.uint8), "text": f"Mrs Example {row}"} for row in range(4)]

    monkeypatch.setattr(streams, "open_source", give)
    return splits


def test_data_are_opened_once_and_only_where_there_is_something_to_see(tmp_path, opened):
    assert report(sweep(tmp_path / "x", ("x1", "x2")), ["m"], None, lambda text: None) == 0 and opened == []
    assert report(sweep(tmp_path / "i", ("image", "text")), ["m"], None, lambda text: None) == 0 and opened == ["test"]
    page = (tmp_path / "i" / "report.html").read_text()
    assert "Mrs Example 3" in page and page.count("data:image/png") == 4
    (tmp_path / "i" / "runs" / "lr=1" / "seed0" / "data.json").unlink()  # an older run: its data tell
    assert report(tmp_path / "i", ["m"], None, lambda text: None) == 0 and opened == ["test", "test"]


def test_what_only_another_run_finds_has_its_picture_too(tmp_path, opened, monkeypatch):
    out = sweep(tmp_path, ("image", "text"))
    other = out / "runs" / "lr=2" / "seed0"
    write_json(other / "map.json", MAP | {"rows": [0, 1], "retrieval": [{"from": "image", "query": 0, "found": [[2, 0.5], [3, 0.4]]}]})
    write_json(out / "runs" / "lr=1" / "seed0" / "map.json", MAP | {"rows": [0], "retrieval": []})
    assert report(out, ["m"], None, lambda text: None) == 0 and opened == ["test"]
    assert [f"Mrs Example {row}" in (out / "report.html").read_text() for row in range(4)] == [True] * 4
    monkeypatch.setattr("mmrep.sweeps.report.MOST", 3)  # what maps show comes first, then what is found most often
    found = [[3, 0.5], [2, 0.4], [3, 0.3]]
    write_json(other / "map.json", MAP | {"rows": [0, 1], "retrieval": [{"from": "image", "query": 0, "found": found}]})
    assert report(out, ["m"], None, lambda text: None) == 0
    assert [f"Mrs Example {row}" in (out / "report.html").read_text() for row in range(4)] == [True, True, False, True]


def test_pictures_and_texts_are_left_out_on_request(tmp_path, opened, capsys):
    out = sweep(tmp_path, ("image", "text"))
    assert main(["report", str(out), "--no-pictures"]) == 0 and opened == []
    page = (out / "report.html").read_text()
    assert "Mrs Example" not in page and "data:image/png" not in page and '"retrieval":[{' in page
    assert "no pictures" not in capsys.readouterr().out


@pytest.mark.parametrize("error", [KeyError("table"), RuntimeError("a decoder\nbroke"), FileNotFoundError("no such file")])
def test_data_that_cannot_be_read_are_named_in_one_line(tmp_path, monkeypatch, error):
    def fail(stream, split):
        raise error

    monkeypatch.setattr(streams, "open_source", fail)
    said = []
    assert report(sweep(tmp_path, ("image", "text")), ["m"], None, said.append) == 0
    (line,) = [text for text in said if "pictures" in text]
    assert line.startswith("the page shows no pictures and texts of test of manifest table.csv: ") and "\n" not in line
    assert str(error).split()[-1] in line and (tmp_path / "report.html").is_file()
