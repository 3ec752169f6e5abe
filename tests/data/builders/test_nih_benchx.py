import pytest

from mmrep.data.builders.nih_benchx import NIH_BENCHX
from tests.data.builders.folders import write_picture, write_table
from tests.data.builders.radiographs import every_split, write_lists

TABLE = ("Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,OriginalImage[Width,Height],"
         "OriginalImagePixelSpacing[x,y],")
BOXES = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
NAMES = [f"{n // 2:08d}_{n % 2:03d}.png" for n in range(8)]


def write_folder(raw):
    """Eight images of four patients; the official test is of the last, BenchX's of the first."""
    rows = [[name, "No Finding" if n else "Effusion|Mass", n % 2, n // 2, 58, "M", "PA", 10, 10, 0.1, 0.1, ""]
            for n, name in enumerate(NAMES)]
    write_table(raw / "Data_Entry_2017_v2020.csv", TABLE, rows)
    write_table(raw / "BBox_List_2017.csv", BOXES, [])
    (raw / "train_val_list.txt").write_text("\n".join(NAMES[:6]))
    (raw / "test_list.txt").write_text("\n".join(NAMES[6:]))
    for n, name in enumerate(NAMES):
        write_picture(raw / "images" / name, 30 * n, "L")
    write_lists(raw, train=NAMES[2:6], train_1=NAMES[3:4], val=NAMES[6:], test=NAMES[:2])


def test_the_splits_are_those_of_the_lists_and_the_records_those_of_the_set(tmp_path):
    write_folder(tmp_path / "raw")
    found = every_split(NIH_BENCHX, tmp_path)
    assert {split: sorted(int(r["image"].max()) // 30 for r in rows) for split, rows in found.items()} == {
        "train": [2, 3, 4, 5], "train_10": [2], "train_1": [3], "val": [6, 7], "test": [0, 1]}
    assert sorted((int(r["case"]), int(r["findings"].sum())) for r in found["test"]) == [(0, 0), (0, 2)]


def test_a_name_that_the_set_does_not_have_is_told(tmp_path):
    write_folder(tmp_path / "raw")
    (tmp_path / "raw" / "benchx" / "val.txt").write_text("00099999_000.png\n")
    with pytest.raises(ValueError, match="nih_benchx: val record 1: .*line 1 names an image that the set's table does not have"):
        every_split(NIH_BENCHX, tmp_path)
