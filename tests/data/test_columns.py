"""Vectors of a table: findings with an honest "unknown", soft targets, and the rows that hold neither."""

import json

import numpy as np
import pytest

from mmrep.data.manifest import manifest
from mmrep.data.pipeline import eval_batches
from mmrep.data.tables import numbers

FINDINGS = [(1, 0), (None, 1), (-1, 0), (1.0, -1.0), (0, None), (True, False)]
KNOWN = [[1, 0], [-1, 1], [-1, 0], [1, -1], [0, -1], [1, 0]]


def write(path, rows):
    if path.suffix == ".csv":
        lines = [",".join(rows[0])] + [",".join("" if v is None else str(v) for v in row.values()) for row in rows]
        path.write_text("\n".join(lines) + "\n")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def as_rows(form, pairs):
    for a, b in pairs:
        cells = {"columns": {"a": a, "b": b}, "list": {"v": [a, b]}, "dict": {"v": {"a": a, "b": b}}}[form]
        yield {"text": "a report", **cells}


def column(form):
    return ["a", "b"] if form == "columns" else "v"


def test_numbers_are_those_people_write():
    for cells, want in ((["1_0", "1_1", "10", "010"], None), (["10", " 7", "-1", "0"], np.int32), (["1.5", "2", "1e-3", ""], np.float32)):
        got = numbers([cell or None for cell in cells], typed=False)
        assert (got is None) if want is None else got.dtype == want, cells


@pytest.mark.parametrize("form,suffix", [("columns", "csv"), ("columns", "jsonl"), ("list", "jsonl"), ("dict", "jsonl")])
def test_unknown_findings_are_minus_one_in_the_batch(tmp_path, form, suffix):
    pairs = FINDINGS[:5] if suffix == "csv" else FINDINGS
    rows = [*as_rows(form, pairs)]
    if form != "columns":
        rows.append({"text": "null cell", "v": None})
    source = manifest(write(tmp_path / f"t.{suffix}", rows), "all",
                      columns={"text": "text", "label": {"f": column(form)}})
    batch = next(eval_batches(source, len(rows) + 1))  # one padded row
    want = KNOWN[:len(pairs)] + [[-1, -1]] * (form != "columns") + [[-1, -1]]
    assert batch["label/f"].dtype == np.int32 and batch["label/f"].tolist() == want
    assert source.label_names == ({} if form == "list" else {"f": ["a", "b"]})


@pytest.mark.parametrize("form", ["columns", "list", "dict"])
@pytest.mark.parametrize("cell", [2, 0.7, "yes", -2, 300])
def test_a_finding_is_0_1_or_unknown(tmp_path, form, cell):
    path = write(tmp_path / "t.jsonl", [*as_rows(form, [(0, 1), (0, cell), (1, 1)])])
    columns = {"text": "text", "label": {"f": column(form)}}
    with pytest.raises(ValueError, match=r"t.jsonl row 1 \(line 2\): label 'f': .* is .*; write 1, 0, or null or -1"):
        manifest(path, "all", columns=columns)
    source = manifest(path, "all", columns=columns, on_error="skip")
    assert source.rows.tolist() == [0, 2] and source.skipped == 1


@pytest.mark.parametrize("form", ["columns", "list", "dict"])
def test_soft_targets(tmp_path, form):
    given = [(0.25, 0.75), (1, 0), (3.5, -1e3)]
    path = write(tmp_path / "t.jsonl", [*as_rows(form, given)])
    batch = next(eval_batches(manifest(path, "all", columns={"text": "text", "soft": column(form)}), 4))
    assert batch["soft"].dtype == np.float32 and batch["soft"].tolist() == [*map(list, given), [0, 0]]
    if form == "columns":
        named = manifest(path, "all", columns={"text": "text", "soft": {"x": "b", "y": "a"}})
        assert named[0]["soft"].tolist() == [0.75, 0.25]
    for cell in (None, float("nan"), float("inf"), "x", 1e39):
        bad = write(tmp_path / "bad.jsonl", [*as_rows(form, [(1, 0), (0, 1), (cell, 1)])])
        with pytest.raises(ValueError, match=r"bad.jsonl row 2 \(line 3\): soft: .* is .*; give a number"):
            manifest(bad, "all", columns={"text": "text", "soft": column(form)})


def test_vectors_of_unequal_length_and_cells_that_are_no_vectors(tmp_path):
    rows = [{"text": "x", "v": v, "split": s} for v, s in [([1, 0], "train"), ([1], "train"), ({"a": 1}, "test")]]
    path = write(tmp_path / "t.jsonl", rows)
    columns = {"text": "text", "label": {"f": "v"}}
    with pytest.raises(ValueError, match=r"row 1 \(line 2\): label 'f': column 'v' holds a list of 1, .* lists of 2"):
        manifest(path, "train", columns=columns)
    with pytest.raises(ValueError, match=r"row 2 .*holds an object of 1"):
        manifest(path, "test", columns=columns)
    assert len(manifest(path, "train", columns=columns, on_error="skip")) == 1
    with pytest.raises(ValueError, match="soft: the cells of 'text' are not lists of numbers; name several columns"):
        manifest(path, "all", columns={"text": "text", "soft": "text"})


def test_classes_are_those_that_are_listed_in_their_order(tmp_path):
    path = write(tmp_path / "t.csv", [{"text": "a", "grade": g, "split": "train"} for g in ("high", "low", None, "middle")])
    columns = {"text": "text", "label": {"grade": {"column": "grade", "classes": ["low", "middle", "high"]}}}
    source = manifest(path, "train", columns=columns)
    assert source.labels["grade"].tolist() == [2, 0, -1, 1] and source.label_names["grade"] == ["low", "middle", "high"]
    columns["label"]["grade"]["classes"] = ("low", "high")
    with pytest.raises(ValueError, match=r"csv row 3 \(line 5\): label 'grade': column 'grade' holds text that is none of low, high; add"):
        manifest(path, "train", columns=columns)
    source = manifest(path, "train", columns=columns, on_error="skip")
    assert source.labels["grade"].tolist() == [1, 0, -1] and source.skipped == 1
    stages = write(tmp_path / "n.csv", [{"text": "a", "stage": n} for n in (3, 1, 2)])
    columns = {"text": "text", "label": {"stage": {"column": "stage", "classes": [1, 2, 3]}}}
    assert manifest(stages, "all", columns=columns).labels["stage"].tolist() == [2, 0, 1]
    for label, message in (({"stage": {"classes": [1]}}, "is not {'column': c"),
                           ({"stage": {"column": "stage", "classes": [1, 1]}}, "twice"),
                           ({"stage": {"column": ["stage", "text"], "classes": [1]}}, "classes are of a column of one class a row"),
                           ({"stage": {"column": "stage", "uncertain": "ones"}}, "uncertain= is of findings")):
        with pytest.raises(ValueError, match=message):
            manifest(stages, "all", columns={"text": "text", "label": label})


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_what_is_uncertain_counts_as_is_said_and_the_name_tells(tmp_path, suffix):
    pairs = [(1.0, -1), (-1.0, 0), (None, -1)]
    path = write(tmp_path / f"t.{suffix}", [*as_rows("columns", pairs)])
    known = {"zeros": [[1, 0], [0, 0], [-1, 0]], "ones": [[1, 1], [1, 0], [-1, 1]], "ignore": [[1, -1], [-1, 0], [-1, -1]]}
    for uncertain, wanted in known.items():
        source = manifest(path, "all", columns={"text": "text", "label": {"f": {"column": ["a", "b"], "uncertain": uncertain}}})
        name = f"f@u_{uncertain}"
        assert source.labels[name].tolist() == wanted and source.label_names == {name: ["a", "b"]} and f"label/{name}" in source[0]
    with pytest.raises(ValueError, match="uncertain 'one' is not 'zeros', 'ones' or 'ignore'"):
        manifest(path, "all", columns={"text": "text", "label": {"f": {"column": ["a", "b"], "uncertain": "one"}}})


@pytest.mark.parametrize("who", ["DOE JANE 5{:07}", "DOE^JANE", "The heart of DOE is normal, {}.", "DOE {} " + "word " * 90, "DOE, J. {}"])
@pytest.mark.parametrize("columns", [
    {"tabular": ["who"]}, {"features": "who"}, {"image": "who"}, {"volume": "who"}, {"text": "dx", "soft": ["who"]},
    {"text": "dx", "label": {"f": ["who", "dx"]}}, {"text": "dx", "label": {"g": {"column": "who", "classes": ["a", "b"]}}},
    {"text": "dx", "split": "who"}, {"text": "dx", "label": {"f": "lists"}}, {"text": "dx", "soft": "lists"},
    {"text": "dx", "soft": "keys"}])
def test_errors_of_a_column_named_by_mistake_tell_nobodys_name(tmp_path, columns, who):
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps({"who": who.format(i), "dx": "a", "lists": ["DOE JANE", 1] if i else [1, 0],
                                        "keys": {"DOE": 1} if i else {"DOE": 1, "b": 2}}) + "\n" for i in range(5)))
    with pytest.raises((ValueError, FileNotFoundError), match="t.jsonl") as error:
        manifest(path, "train" if "split" in columns else "all", columns=columns)
    assert "DOE" not in str(error.value) and "50000" not in str(error.value)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line | {"split": name}) + "\n" for line in lines for name in ("train", "DOE J.")))
    source = manifest(path, "train", columns={"text": "dx"})
    assert any("other values 5" in note for note in source.notes) and not any("DOE" in note for note in source.notes)
