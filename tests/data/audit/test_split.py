"""Splits: units whole, shares kept, the same for a seed; tables written once and read back the same."""

import csv
import json
from argparse import Namespace

import numpy as np
import pytest

from mmrep.data.audit.commands import run
from mmrep.data.audit.source import open_splits
from mmrep.data.audit.split import assign, classes, joined, split_rows, write_rows, write_table
from mmrep.data.tables import Table
from tests.data.audit.tables import PICTURES, changed, spec, write


@pytest.mark.parametrize("seed", range(3))
def test_units_stay_whole_and_shares_are_kept(seed):
    rng = np.random.default_rng(seed)
    units = rng.integers(0, 900, 3000)
    label = np.searchsorted([0.6, 0.85, 0.97], rng.random(900))[units]  # of the patient: the hardest to balance
    fractions = (0.7, 0.1, 0.2)
    which = assign(units, classes({"dx": label}, 3000), fractions, seed)
    assert all(len(set(which[units == u])) == 1 for u in np.unique(units))
    np.testing.assert_allclose(np.bincount(which) / 3000, fractions, atol=0.005)
    for k in range(4):
        np.testing.assert_allclose(np.bincount(which[label == k], minlength=3) / (label == k).sum(), fractions, atol=0.03)
    again = assign(units, classes({"dx": label}, 3000), fractions, seed)
    other = assign(units, classes({"dx": label}, 3000), fractions, seed + 1)
    assert (again == which).all() and (other != which).mean() > 0.1


def test_no_split_stays_empty_and_few_units_are_refused():
    assert set(assign(np.array([0] * 90 + [1, 2]), np.zeros((92, 0)), (0.8, 0.1, 0.1))) == {0, 1, 2}
    with pytest.raises(ValueError, match="2 patients .* cannot be divided into 3 splits"):
        assign(np.array([0, 1, 1]), np.zeros((3, 0)), (0.8, 0.1, 0.1))
    with pytest.raises(ValueError, match="positive shares that sum to 1"):
        assign(np.arange(9), np.zeros((9, 0)), (0.8, 0.1))


def test_joined_by_way_of_others():
    label = joined(np.array([0, 0, 1, 2, -1, -1]), np.array([5, 6, 6, 7, 7, -1]))
    np.testing.assert_array_equal(np.equal.outer(label, label), np.equal.outer([0, 0, 0, 1, 1, 2], [0, 0, 0, 1, 1, 2]))


def test_labels_of_every_kind_become_classes():
    found = classes({"a": np.array([0, 1, -1, 1]), "b": np.array([[1, 0], [-1, 1], [0, 0], [1, 1]], np.int8),
                     "c": np.array([1, 2, np.nan, 9], np.float32)}, 4)
    assert found[:, :4].tolist() == [[1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 0, 0], [0, 1, 1, 1]]
    assert found[:, 4:].sum(1).tolist() == [1, 1, 0, 1]


def test_a_table_is_split_by_patient_and_by_picture(tmp_path):
    path = write(tmp_path)
    (tmp_path / "0033.jpg").write_bytes(changed(PICTURES[2]))
    for seed in range(4):
        rows, names, _ = split_rows(open_splits(spec(path))[0], (0.6, 0.2, 0.2), ("dx",), seed, "near")
        split = dict(zip(rows.tolist(), names))
        assert len(split) == 40 and all(split[i] == split[i + 1] for i in range(0, 40, 2)) and split[33] == split[2]
    with pytest.raises(ValueError, match="--by dy: no such label; did you mean 'dx'"):
        split_rows(open_splits(spec(path))[0], (0.6, 0.2, 0.2), ("dy",))
    out = write_table(path, tmp_path / "new.jsonl", split, "part")
    assert [json.loads(line)["part"] for line in out.read_text().splitlines()] == [split[i] for i in range(40)]
    with pytest.raises(ValueError, match="is there already, and is not written over"):
        write_table(path, out, split, "part")
    with pytest.raises(ValueError, match="has a column 'split' already"):
        write_table(path, tmp_path / "c.csv", split)


def test_patients_and_labels_are_all_that_a_split_needs(tmp_path):
    path = write(tmp_path)
    args = Namespace(action="split", source=str(path), columns="case=patient,label=dx", data=(), by=(), together="no", seed=0,
                     fractions=(0.6, 0.2, 0.2), column="fold", out=str(tmp_path / "o.jsonl"))
    assert run(args, (), lambda text: None) == 0
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert {row["fold"] for row in rows} == {"train", "val", "test"}
    assert len({(row["patient"], row["fold"]) for row in rows}) == len({row["patient"] for row in rows})


def test_a_csv_keeps_its_cells(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text('id,text,n\n007,"a ""quoted"", line\nand more",1\n008,,2\n009,"",3\n010,"NA",\n')
    out = write_table(table, tmp_path / "o.tsv", {0: "train", 1: "val", 3: "test"})
    before, after = Table(table), Table(out)
    assert all(before[name] == after[name] for name in before.names) and after["split"] == ["train", "val", None, "test"]
    rows = write_rows(tmp_path / "r.csv", [4, 2], ["train", "test"])
    assert list(csv.DictReader(rows.open())) == [{"row": "4", "split": "train"}, {"row": "2", "split": "test"}]
