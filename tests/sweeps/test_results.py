"""The table of results: collected from run folders, written, read again, and what is refused by name."""

import json
import math

import pytest

from mmrep.sweeps import results
from mmrep.sweeps.report import report
from tests.sweeps.tables import folder, row

RUNS = {"lr=0.1/seed0": ({"lr": 0.1, "loss": "a"}, {"m": 0.5, "k": 1.0}), "lr=0.1/seed1": ({"lr": 0.1, "loss": "a"}, {"m": 0.7}),
        "lr=1/seed0": ({"lr": 1.0, "loss": "b"}, {"m": math.nan, "k": 2.0}), "lr=1/seed1": None}


def test_a_row_a_run_and_metric_survives_both_formats(tmp_path):
    rows, runs = results.collect(folder(tmp_path, RUNS))
    assert [(r["run"], r["control"], r["metric"]) for r in rows[:4]] == [
        ("lr=0.1/seed0", "", "k"), ("lr=0.1/seed0", "", "m"), ("lr=0.1/seed0", "untrained", "k"), ("lr=0.1/seed0", "untrained", "m")]
    assert [r["state"] for r in runs] == ["finished"] * 3 + ["waiting"] and rows[0]["lr"] == 0.1 and rows[0]["seconds"] == 1.5
    results.write(rows, runs, tmp_path)
    for name in ("results.csv", "results.parquet"):
        again = results.read(tmp_path / name)
        assert [{k: str(v) for k, v in r.items()} for r in again] == [{k: str(v) for k, v in r.items()} for r in rows]
        assert all(type(a[k]) is type(b[k]) for a, b in zip(again, rows) for k in ("value", "seed", "n", "lr", "loss"))
    assert results.values(rows, "m", by="lr", loss="a") == {0.1: [0.5, 0.7]}
    assert results.values(rows, "k", by=("loss", "seed"), control="untrained") == {("a", 0): [1.0], ("b", 0): [2.0]}
    with pytest.raises(ValueError, match="no 'mm'; did you mean 'm'"):
        results.values(rows, "mm")
    with pytest.raises(ValueError, match="no column 'lrr'; did you mean 'lr'"):
        results.values(rows, "m", by="lr", lrr=1)


def test_an_axis_may_be_called_as_what_is_known_of_a_run(tmp_path):
    out = folder(tmp_path, {"loss=a/seed0": ({"loss": "a", "state": 3}, {"m": 0.5}), "b/seed0": None})
    (out / "runs" / "b" / "seed0" / "metrics.jsonl").write_text('{"step": 4, "time": 1.0, "loss": 2.5}\n')
    rows, runs = results.collect(out)
    assert [(r["axes"]["loss"], r["axes"]["state"], r["state"]) for r in runs] == [("a", 3, "finished"), (None, None, "stopped")]
    assert runs[1]["loss"] == 2.5 and math.isnan(runs[0]["loss"]) and (rows[0]["loss"], rows[0]["state"]) == ("a", 3)


def test_half_written_files_are_named(tmp_path):
    out = folder(tmp_path / "s", RUNS)
    results.write(*results.collect(out), out)
    text = (out / "results.csv").read_text().splitlines()
    (tmp_path / "cut.csv").write_text("\n".join(text[:3]) + "\n" + text[3][:25])
    (tmp_path / "cut.parquet").write_bytes((out / "results.parquet").read_bytes()[:-20])
    (tmp_path / "odd.csv").write_text("run,tag,seed,metric\na/seed0,a,0,m\n")
    (tmp_path / "text.csv").write_text("run,tag,seed,metric,value\na/seed0,a,0,m,high\n")
    for file, words in (("cut.csv", "cut.csv line 4: a half-written row"), ("cut.parquet", "cut.parquet: is no whole Parquet"),
                        ("odd.csv", "no column 'value'"), ("text.csv", "line 2: value 'high' is no number")):
        with pytest.raises(ValueError, match=words):
            results.read(tmp_path / file)
    with pytest.raises(FileNotFoundError, match="no such table"):
        results.read(tmp_path / "none.csv")
    cut = out / "runs" / "lr=1" / "seed0" / "results.json"
    cut.write_text(cut.read_text()[:40])
    with pytest.raises(ValueError, match="lr=1/seed0/results.json: is damaged or half-written"):
        results.collect(out)
    with pytest.raises(FileNotFoundError, match="is no sweep's folder"):
        results.collect(tmp_path)
    (out / "sweep.json").write_text("{")
    with pytest.raises(ValueError, match="sweep.json: is damaged"):
        results.collect(out)


def test_the_report_names_what_is_missing_and_writes_all_its_forms(tmp_path):
    out, said = folder(tmp_path, RUNS), []
    (out / "runs" / "lr=1" / "seed1" / "failed.json").write_text(json.dumps({"error": "step 3: the loss is not finite", "tries": 2}))
    assert report(out, ["m", "k"], {"loss": "a"}, said.append) == 0
    text = "\n".join(said)
    for words in ("lr=1/seed1 failed 2 times: step 3: the loss is not finite", "k is missing from 1 of 3 finished runs, e.g. lr=0.1/seed1",
                  "m is NaN or infinite in 1 run, e.g. lr=1/seed0", "3 of 4 runs finished"):
        assert words in text
    for name in ("report.md", "report.tex", "report.html", "results.csv", "results.parquet"):
        assert (out / name).stat().st_size > 100
    assert "\\toprule" in (out / "report.tex").read_text() and "lr=0.1" in (out / "report.md").read_text()
    with pytest.raises(ValueError, match="metric 'mm': no run has it; did you mean 'm'"):
        report(out, ["mm"], None, said.append)
    with pytest.raises(ValueError, match="--baseline los=a: no axis is called 'los'; did you mean 'loss'"):
        report(out, ["m"], {"los": "a"}, said.append)


def test_a_terminal_shows_the_best_of_many_settings_and_the_files_all(tmp_path):
    said, settings = [], {f"lr={i}": i for i in range(50)}
    report(folder(tmp_path, {f"{tag}/seed0": ({"lr": i}, {"m": i / 100}) for tag, i in settings.items()}), ["m"], None, said.append)
    lines = "\n".join(said).splitlines()
    at = next(i for i, line in enumerate(lines) if "the 40 of 50 settings with the highest m" in line)
    assert [line.split()[0] for line in lines[at + 4:at + 44]] == [str(i) for i in range(49, 9, -1)] and lines[at + 44] == ""
    assert all(f"| {i} |" in (tmp_path / "report.md").read_text() for i in range(50))


def test_a_report_of_no_runs_says_so(tmp_path):
    said = []
    assert report(folder(tmp_path / "empty", {}), (), None, said.append) == 1
    assert any("0 runs: there is nothing to report" in line for line in said)
    assert report(folder(tmp_path / "none", {"a/seed0": None}), (), None, said.append) == 1
    assert any("0 of 1 runs are finished" in line for line in said) and any("did not begin" in line for line in said)


def test_rows_are_judged_with_their_control_apart():
    rows = [row(value=0.9), row(value=0.1, control="untrained")]
    assert results.values(rows, "m") == {(): [0.9]} and results.values(rows, "m", control="untrained") == {(): [0.1]}


def test_a_step_takes_the_median_between_logs(tmp_path):
    rows = [{"step": 10, "time": 100.0, "loss": 1.0}, {"step": 20, "time": 102.0, "loss": 1.0}, {"step": 20, "time": 109.0, "val/x": 1.0},
            {"step": 30, "time": 111.0, "loss": 1.0}, {"step": 40, "time": 113.0, "loss": 1.0}]  # an evaluation lies between two of them
    file = tmp_path / "metrics.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 50, "ti')
    assert results.step_seconds(tmp_path) == 0.2 and results.step_seconds(tmp_path / "none") == 0.0
