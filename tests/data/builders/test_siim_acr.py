import numpy as np
import pytest

from mmrep.data.builders.siim_acr import SIDE, SIIM_ACR, relative_runs
from tests.data.builders.folders import write_table
from tests.data.builders.radiographs import every_split, write_dicom, write_lists

HEADER = "ImageId, EncodedPixels"  # with the blank of the release
NAMES = "new_filename,ImageId,has_pneumo"
IDS = [f"1.2.276.0.7230010.3.1.4.8323329.{n}.1517875163.{n}" for n in range(4)]


def place(n):
    """Study, series and image, of each of which the release has one."""
    return f"dicom-images-{'test' if n == 3 else 'train'}/{IDS[n]}.1/{IDS[n]}.2/{IDS[n]}.dcm"


def write_folder(raw):
    """Four images, the last of stage 1's test; the second has two masks."""
    cells = [[IDS[0], " -1"], [IDS[1], " 1 2 1021 1"], [IDS[1], "3071 3"], [IDS[2], "-1"], [IDS[3], "0 1"]]
    write_table(raw / "stage_2_train.csv", HEADER, cells)
    for part, numbers in (("train", (0, 1, 2)), ("test", (3,))):
        table = [[f"{n}_{part}_{n % 2}_.png", IDS[n], n % 2] for n in numbers]
        write_table(raw / "benchx" / f"stage_1_{part}_images.csv", NAMES, table)
        for n in numbers:
            write_dicom(raw / place(n), np.full((SIDE, SIDE), 9 * n, np.uint8))
    write_lists(raw, train=["0_train_0_", "1_train_1_"], train_1=["1_train_1_"], val=["2_train_0_"], test=["3_test_1_"])


def test_runs_are_relative_and_go_down_the_columns():
    mask = relative_runs("1 2 1021 1")[..., 0]
    assert np.argwhere(mask.T).tolist() == [[0, 1], [0, 2], [1, 0]] and mask.shape == (SIDE, SIDE)
    assert relative_runs(f"0 {SIDE * SIDE}").all()
    for wrong in ("", "1", "1 -2", f"{SIDE * SIDE} 1"):
        with pytest.raises(ValueError, match="no relative run-length code"):
            relative_runs(wrong)


def test_siim_joins_the_masks_of_an_image_and_translates_the_names_of_benchx(tmp_path):
    write_folder(tmp_path / "raw")
    found = every_split(SIIM_ACR, tmp_path)
    assert {split: sorted(int(r["image"].max()) // 9 for r in rows) for split, rows in found.items()} == {
        "train": [0, 1], "train_10": [0], "train_1": [1], "val": [2], "test": [3]}
    [ill], [well] = found["train_1"], found["train_10"]
    assert ill["pneumothorax"] == 1 and np.argwhere(ill["mask"][..., 0].T).tolist() == [[0, 1], [0, 2], [1, 0], [2, 1023], [3, 0], [3, 1]]
    assert well["pneumothorax"] == 0 and well["mask"].shape == (SIDE, SIDE, 1) and not well["mask"].any()


def test_siim_tells_a_label_a_picture_and_a_size_that_do_not_fit(tmp_path):
    raw = tmp_path / "raw"
    write_folder(raw)
    write_table(raw / "stage_2_train.csv", HEADER, [[IDS[n], "-1"] for n in range(3)])
    with pytest.raises(ValueError, match="has no row of a test image; take stage_2_train.csv"):
        every_split(SIIM_ACR, tmp_path)
    write_folder(raw)
    write_dicom(raw / place(0), np.zeros((8, 8), np.uint8))
    with pytest.raises(ValueError, match="train record 1: .*is 8x8, its mask 1024x1024"):
        every_split(SIIM_ACR, tmp_path)
    (raw / place(0)).unlink()
    with pytest.raises(ValueError, match="train_10 would be empty: left out 1 records.* no file at 1.2"):
        every_split(SIIM_ACR, tmp_path)
