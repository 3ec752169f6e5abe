import numpy as np
import pytest

from mmrep.data.builders.base import prepare
from mmrep.data.builders.chexpert import CHEXPERT, CHEXPERT_TEST, FINDINGS
from mmrep.data.tfds import tfds
from tests.data.builders.folders import prepared, write_picture, write_table

HEADER = ("Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,"
          "Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices")
TEST = "Path," + ",".join(FINDINGS[1:])  # CheXlocalize's table has paths and labels alone


def write(folder, patients=40):
    """Two images a patient; the first finding uncertain, the second positive, the third negative, no other mentioned."""
    rows, valid = [], []
    for n in range(patients):
        for view, side, ap in (("view1_frontal", "Frontal", "AP"), ("view2_lateral", "Lateral", "")):
            path = f"patient{n:05d}/study1/{view}.jpg"
            rows.append([f"CheXpert-v1.0-small/train/{path}", "Female", 60, side, ap, "", "-1.0", "1.0", "0.0", *[""] * 10])
            write_picture(folder / "train" / path, 10 * n, "L")
    valid = [["CheXpert-v1.0-small/valid/patient64541/study1/view1_frontal.jpg", "Male", 73, "Frontal", "PA", *["0.0"] * 13, "1.0"]]
    write_picture(folder / "valid" / "patient64541" / "study1" / "view1_frontal.jpg", 255, "L")
    write_table(folder / "train.csv", HEADER, rows)
    write_table(folder / "valid.csv", HEADER, valid)


def test_chexpert_splits_by_patient_and_tells_what_was_not_mentioned(tmp_path, capsys):
    write(tmp_path / "raw")
    (tmp_path / "raw" / "train" / "patient00000" / "study1" / "view2_lateral.jpg").unlink()
    found = prepared(CHEXPERT, tmp_path)
    assert "left out 1 records" in capsys.readouterr().err
    assert len(found["train"]) + len(found["val"]) == 79 and len(found["test"]) == 1 and found["val"]
    assert not {int(r["case"]) for r in found["train"]} & {int(r["case"]) for r in found["val"]}
    row = found["train"][0]
    assert row["findings"].tolist()[:5] == [0, -1, 1, 0, 0] and row["mentioned"].tolist()[:5] == [0, 1, 1, 1, 0] and row["age"] == 60
    assert found["test"][0]["findings"].tolist() == [0] * 13 + [1] and found["test"][0]["image"].mean() > 250


@pytest.mark.parametrize("uncertain, value", [("zeros", 0), ("ones", 1), ("ignore", -1)])
def test_uncertain_findings_are_in_the_labels_name(tmp_path, uncertain, value):
    write(tmp_path / "raw")
    prepare(CHEXPERT, tmp_path / "raw", tmp_path / "data")
    source = tfds("chexpert", "train", tmp_path / "data", uncertain=uncertain)
    assert source[0][f"label/findings@u_{uncertain}"].tolist()[:4] == [0, value, 1, 0]
    assert source.label_names[f"findings@u_{uncertain}"] == list(FINDINGS)
    plain = tfds("chexpert", "train", tmp_path / "data")
    assert "label/findings" not in source[0] and plain[0]["label/findings"][1] == -1
    assert any("findings: uncertain findings (-1) count as unknown" in note for note in plain.notes) and not any(
        "uncertain" in note for note in source.notes)


def test_its_own_splits_end_in_the_labels_of_radiologists(tmp_path):
    write(tmp_path / "raw", 4)
    paths = [f"test/patient6474{n}/study1/view{view}.jpg" for n in range(3) for view in ("1_frontal", "2_lateral")]
    write_table(tmp_path / "raw" / "test_labels.csv", TEST, [[path, *[0] * 12, 1] for path in paths])
    for path in paths:
        write_picture(tmp_path / "raw" / path, 9, "L")
    found = prepared(CHEXPERT_TEST, tmp_path)
    assert [len(found[split]) for split in ("train", "val", "test")] == [8, 1, 6]
    assert all(r["findings"].tolist() == [-2] + [0] * 12 + [1] and r["mentioned"].tolist() == [0] + [1] * 13 for r in found["test"])
    assert sorted(int(r["frontal"]) for r in found["test"]) == [0, 0, 0, 1, 1, 1] and not any(r["age_known"] for r in found["test"])
    cases = [{int(r["case"]) for r in rows} for rows in found.values()]
    assert [len(one) for one in cases] == [4, 1, 3] and len(set.union(*cases)) == 8
    write_table(tmp_path / "raw" / "test_labels.csv", TEST, [["patient64740/view1_frontal.jpg", *[0] * 13]])
    with pytest.raises(ValueError, match="test record 1: builder: the path 'patient64740/view1_frontal.jpg' is none of CheXpert"):
        prepare(CHEXPERT_TEST, tmp_path / "raw", tmp_path / "again")


def test_another_table_is_named(tmp_path):
    write(tmp_path / "raw", 2)
    write_table(tmp_path / "raw" / "train.csv", "Path,Sex", [])
    with pytest.raises(ValueError, match="chexpert: train record 1: builder: .*train.csv has no column Age, Frontal/Lateral"):
        prepare(CHEXPERT, tmp_path / "raw", tmp_path / "data")


def test_cases_are_read_once_ever_and_without_pictures(tmp_path, monkeypatch):
    write(tmp_path / "raw")
    prepare(CHEXPERT, tmp_path / "raw", tmp_path / "data")
    source = tfds("chexpert", "train", tmp_path / "data")
    assert source.cases.tolist() == [int(source[i]["case"]) for i in range(len(source))]
    (kept,) = (tmp_path / "data" / "chexpert" / "1.0.0").glob(".case-train-*.npy")
    again = tfds("chexpert", "train", tmp_path / "data")
    monkeypatch.setattr("mmrep.data.tfds._undecoded", None)
    assert np.array_equal(again.cases, source.cases) and np.array_equal(np.load(kept), source.cases)
    with pytest.raises(FileNotFoundError, match="write it: mmrep data build chexpert --manual-dir"):
        tfds("chexpert", "train", tmp_path / "none")
