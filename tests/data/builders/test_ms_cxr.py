import numpy as np
import pytest

from mmrep.data.builders.ms_cxr import MS_CXR
from mmrep.data.tfds import tfds
from tests.data.builders.folders import prepared, write_picture, write_table

HEADER = "dicom_id,category_name,label_text,path,x,y,w,h,image_width,image_height,split"


def place(n):
    return f"files/p10/p1000{n // 2:04d}/s5000{n:04d}/{n:08x}-0.jpg"


def write_folder(raw):
    """Four images of two patients; the first has a phrase of two boxes and another, of one box, with a comma in it."""
    write_table(raw / "MS_CXR_Local_Alignment_v1.1.0.csv", HEADER, [
        ["0", "Pneumonia", "bibasilar opacities", place(0), 100, 50, 100, 200, 500, 400, "train"],
        ["0", "Pneumonia", "bibasilar opacities", place(0), 300, 50, 100, 200, 500, 400, "train"],
        ["0", "Edema", "mild edema, new", place(0), 0, 0, 500, 400, 500, 400, "train"],
        ["1", "Cardiomegaly", "the heart is enlarged", place(1), 0, 0, 250, 400, 500, 400, "train"],
        ["2", "Lung Opacity", "opacity", place(2), 0, 0, 250, 400, 500, 400, "val"],
        ["3", "Pneumothorax", "apical pneumothorax", place(3), 0, 0, 250, 400, 500, 400, "test"]])
    for n in range(4):
        write_picture(raw / place(n), 60 * n, "L")


def test_ms_cxr_is_a_record_a_phrase_with_all_its_boxes_in_the_splits_of_the_release(tmp_path):
    write_folder(tmp_path / "raw")
    found = prepared(MS_CXR, tmp_path)
    assert [len(rows) for rows in found.values()] == [3, 1, 1]
    phrases = {r["phrase"].decode(): r for rows in found.values() for r in rows}
    both = phrases["bibasilar opacities"]
    assert np.allclose(both["boxes"][:3], [[0.125, 0.2, 0.625, 0.4], [0.125, 0.6, 0.625, 0.8], [0, 0, 0, 0]]) and both["category"] == 6
    assert np.allclose(phrases["mild edema, new"]["boxes"][:2], [[0, 0, 1, 1], [0, 0, 0, 0]])
    assert both["picture"] == phrases["mild edema, new"]["picture"] != phrases["the heart is enlarged"]["picture"]
    assert both["case"] == phrases["the heart is enlarged"]["case"] == 0 and phrases["apical pneumothorax"]["case"] == 1
    source = tfds("ms_cxr", "test", tmp_path / "prepared")
    assert source[0]["text"] == "apical pneumothorax" and source[0]["group"] == 3 and source[0]["label/boxes"].shape == (16, 4)


def test_ms_cxr_tells_a_picture_that_is_missing_or_damaged(tmp_path):
    write_folder(tmp_path / "raw")
    (tmp_path / "raw" / place(2)).write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ValueError, match="val would be empty: .* the first is record 1: builder: .*is damaged or no picture"):
        prepared(MS_CXR, tmp_path)
    (tmp_path / "raw" / place(0)).unlink()
    with pytest.raises(ValueError, match="train would be empty: .* no file 00000000-0.jpg|is damaged or no picture"):
        prepared(MS_CXR, tmp_path)
    (tmp_path / "raw" / "MS_CXR_Local_Alignment_v1.1.0.csv").write_text(HEADER + f"\n0,Fracture,a rib,{place(0)},0,0,1,1,5,4,train\n")
    with pytest.raises(ValueError, match="has the category 'Fracture', which is none of the release"):
        prepared(MS_CXR, tmp_path)
