import numpy as np
import pytest

from mmrep.data.builders.vindr_cxr import BENCHX_FINDINGS, FINDINGS, VINDR_CXR
from mmrep.data.tfds import tfds
from tests.data.builders.folders import write_table
from tests.data.builders.radiographs import every_split, write_dicom, write_lists

BOXES = "image_id,rad_id,class_name,x_min,y_min,x_max,y_max"
TEST_BOXES = "image_id,class_name,x_min,y_min,x_max,y_max"
LABELS = "image_id,rad_id," + ",".join(FINDINGS[:-2]) + ",Other diseases,No finding"
TEST_LABELS = "image_id," + ",".join(FINDINGS[:-2]) + ",Other disease,No finding"
IDS = [f"{n:032x}" for n in range(4)]


def write_folder(raw):
    """Three images of train, of three radiologists each, and one of test; windows 100 to 1124 of 12 bits."""
    def marks(*names):
        return [float(name in names) for name in FINDINGS]

    votes = [("Cardiomegaly", "Pleural effusion"), ("Cardiomegaly", "Other disease"), ("Atelectasis",)]
    labels = [[IDS[0], f"R{n + 8}", *marks(*names)] for n, names in enumerate(votes)]
    labels += [[image, f"R{n}", *marks("No finding")] for image in IDS[1:3] for n in range(3)]
    write_table(raw / "annotations" / "image_labels_train.csv", LABELS, labels)
    write_table(raw / "annotations" / "annotations_train.csv", BOXES, [
        [IDS[0], "R8", "Cardiomegaly", 2, 5, 6, 10], [IDS[0], "R9", "Cardiomegaly", 2, 4, 6, 10],
        [IDS[0], "R8", "Pleural effusion", 0.5, 0, 1.5, 20], [IDS[0], "R10", "Atelectasis", 1, 1, 2, 2],
        *([image, f"R{n}", "No finding", "", "", "", ""] for image in IDS[1:3] for n in range(3))])
    write_table(raw / "annotations" / "image_labels_test.csv", TEST_LABELS, [[IDS[3], *marks("Enlarged PA", "Other disease")]])
    write_table(raw / "annotations" / "annotations_test.csv", TEST_BOXES, [[IDS[3], "Enlarged PA", 0, 0, 8, 20]])
    for n, image in enumerate(IDS):
        pixels = np.linspace(100, 1124, 160).round().reshape(20, 8).astype(np.uint16)
        write_dicom(raw / ("test" if n == 3 else "train") / f"{image}.dicom", pixels if n else 4095 - pixels, BitsStored=12, HighBit=11,
                    PhotometricInterpretation="MONOCHROME2" if n else "MONOCHROME1", WindowCenter=612.5 if n else 3483.5, WindowWidth=1025)
    write_lists(raw, train=IDS[:2], train_1=IDS[:1], val=IDS[2:3], test=IDS[3:])


def test_vindr_keeps_votes_by_majority_and_by_any_and_every_box_with_its_reader(tmp_path):
    write_folder(tmp_path / "raw")
    found = every_split(VINDR_CXR, tmp_path)
    assert [len(rows) for rows in found.values()] == [2, 1, 1, 1, 1]
    [ill], [well], [test] = found["train_1"], found["val"], found["test"]

    def named(values, names=FINDINGS):
        return {names[k] for k in np.flatnonzero(values == 1)}

    assert named(ill["findings"]) == {"Cardiomegaly"}  # two of three
    assert named(ill["any"]) == {"Cardiomegaly", "Pleural effusion", "Other disease", "Atelectasis"}
    assert named(ill["benchx"], BENCHX_FINDINGS) == {"Cardiomegaly", "Pleural effusion", "Atelectasis"}
    assert named(well["findings"]) == named(well["any"]) == {"No finding"} and not well["benchx"].any()
    assert named(test["findings"]) == {"Enlarged PA", "Other disease"} and not test["benchx"].any()
    assert np.allclose(ill["boxes"][:3], [[0.25, 0.25, 0.5, 0.75], [0.2, 0.25, 0.5, 0.75], [0, 0.0625, 1, 0.1875]])
    assert not ill["boxes"][4:].any() and ill["box_reader"][:5].tolist() == [8, 9, 8, 10, -1] and test["box_reader"][:2].tolist() == [0, -1]
    assert [FINDINGS[k] for k in ill["box_finding"][:4]] == ["Cardiomegaly", "Cardiomegaly", "Pleural effusion", "Atelectasis"]
    assert test["case"] == 15_000 and sorted(int(r["case"]) for r in found["train"]) == [0, 1]
    # 12 bits through the file's window, the inverted image the right way round
    expected = (np.linspace(0, 1, 160) * 255).reshape(20, 8, 1)
    assert all(abs(r["image"].astype(float) - expected).max() <= 1 for rows in found.values() for r in rows)
    source = tfds("vindr_cxr", "val", tmp_path / "prepared")
    assert source.label_names["findings"] == list(FINDINGS) and source[0]["label/findings"].sum() == 1


def test_vindr_tells_a_class_that_is_none_of_the_release_and_a_damaged_picture(tmp_path):
    raw = tmp_path / "raw"
    write_folder(raw)
    path = raw / "train" / f"{IDS[0]}.dicom"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="train record 1: .*cut short or damaged"):
        every_split(VINDR_CXR, tmp_path)
    write_table(raw / "annotations" / "annotations_train.csv", BOXES, [[IDS[0], "R8", "Cardiomegalie", 2, 5, 6, 10]])
    with pytest.raises(ValueError, match="has the class 'Cardiomegalie', which is none of the release"):
        every_split(VINDR_CXR, tmp_path)
