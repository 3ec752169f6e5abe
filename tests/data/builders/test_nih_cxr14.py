import numpy as np
import pytest

from mmrep.data.builders.base import made
from mmrep.data.builders.nih_cxr14 import FINDINGS, NIH_CXR14
from tests.data.builders.folders import prepared, write_picture, write_table

HEADER = ("Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,OriginalImage[Width,Height],"
          "OriginalImagePixelSpacing[x,y]")
BOXES = "Image Index,Finding Label,Bbox [x,y,w,h],,,"


def write(folder):
    """Patients 1 to 20, two images each; those of 20 are the test list."""
    rows = [[f"{p:08d}_{k:03d}.png", "Cardiomegaly|Emphysema" if k else "No Finding", k, p, 57, "M", "PA", 2682, 2749, 0.143, 0.143]
            for p in range(1, 21) for k in range(2)]
    for n, row in enumerate(rows):
        write_picture(folder / f"images_{1 + n % 2:03d}" / "images" / row[0], n, "L", (1024, 1024) if n < 2 else (8, 8))
    write_table(folder / "Data_Entry_2017_v2020.csv", HEADER, rows)
    (folder / "BBox_List_2017.csv").write_text(f"{BOXES}\n00000001_000.png,Infiltrate,256.0,512.0,128.0,64.0\n"
                                               "00000001_000.png,Mass,0.0,0.0,1024.0,1024.5\n")
    for name, patients in (("train_val_list", range(1, 20)), ("test_list", (20,))):
        (folder / f"{name}.txt").write_text("".join(f"{p:08d}_{k:03d}.png\n" for p in patients for k in range(2)))


def test_nih_keeps_the_official_test_list_and_boxes(tmp_path):
    write(tmp_path / "raw")
    found = prepared(NIH_CXR14, tmp_path)
    assert len(found["test"]) == 2 and len(found["train"]) + len(found["val"]) == 38 and found["val"]
    cases = {split: {int(r["case"]) for r in rows} for split, rows in found.items()}
    assert not cases["train"] & cases["val"] and not cases["test"] & (cases["train"] | cases["val"])
    assert {FINDINGS[k] for k in np.flatnonzero(found["test"][1]["findings"])} in ({"Cardiomegaly", "Emphysema"}, set())
    marked = [r for split in found.values() for r in split if r["boxes"].any()]
    assert len(marked) == 1 and marked[0]["boxes"][:2].tolist() == [[0.5, 0.25, 0.5625, 0.375], [0, 0, 1, 1]]
    assert marked[0]["boxed"].tolist() == [4, 5, *[0] * 6]


def test_the_first_release_and_rows_without_their_file(tmp_path, capsys):
    write(tmp_path / "raw")
    (tmp_path / "raw" / "images_001" / "images" / "00000001_000.png").unlink()
    table = (tmp_path / "raw" / "Data_Entry_2017_v2020.csv")
    first = table.read_text().replace(",57,", ",058Y,").replace(",20,058Y,", ",20,006M,").replace("\r\n", ",\r\n")
    (tmp_path / "raw" / "Data_Entry_2017.csv").write_text(first)
    table.unlink()
    found = prepared(NIH_CXR14, tmp_path)
    assert {float(r["age"]) for r in found["train"]} == {58} and {float(r["age"]) for r in found["test"]} == {0.5}
    assert len(found["train"]) + len(found["val"]) == 37 and "left out 1 records" in capsys.readouterr().err
    assert not any(r["boxes"].any() for rows in found.values() for r in rows)  # they were of the image that is not there


@pytest.mark.parametrize("name, text, message", [
    ("Data_Entry_2017_v2020.csv", "Image Index,Finding Labels\n", "has no column Follow-up #, Patient ID, Patient Age, View Position"),
    ("BBox_List_2017.csv", "a,b\n", "begins a,b; take the set's own file"),
    ("BBox_List_2017.csv", f"{BOXES}\nx.png,Mass,1\n", "row 1 is no box"),
    ("Data_Entry_2017_v2020.csv", f"{HEADER}\n00000020_000.png,Plague,0,20,57,M,PA,1,1,1,1\n", "has the label 'Plague'")])
def test_damage_is_named(tmp_path, name, text, message):
    write(tmp_path / "raw")
    (tmp_path / "raw" / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        list(made(NIH_CXR14, tmp_path / "raw", "test"))
