import json

import numpy as np
import pytest

from mmrep.data.builders.tbx11k import TBX11K
from tests.data.builders.folders import write_picture
from tests.data.builders.radiographs import every_split, write_lists

CATEGORIES = [{"id": 1, "name": "ActiveTuberculosis", "supercategory": "Tuberculosis"},
              {"id": 2, "name": "ObsoletePulmonaryTuberculosis", "supercategory": "Tuberculosis"},
              {"id": 3, "name": "PulmonaryTuberculosis", "supercategory": "Tuberculosis"}]
FILES = ("health/h0001.png", "sick/s0001.png", "tb/tb0003.png", "tb/tb0005.png", "health/h0002.png")


def write_folder(raw, bbox=(1.0, 2.0, 2.0, 1.0)):
    """Two healthy, one sick, one with two boxes of both kinds, one with a box; the last two images are of the official val."""
    for n, name in enumerate(FILES):
        write_picture(raw / "imgs" / name, 30 * n, "RGB" if n else "L", (6, 4))
    notes = [{"id": 1, "image_id": 2, "category_id": 1, "bbox": list(bbox), "area": 2.0, "iscrowd": 0},
             {"id": 2, "image_id": 2, "category_id": 2, "bbox": [0.0, 0.0, 1.0, 1.0], "area": 1.0, "iscrowd": 0},
             {"id": 3, "image_id": 3, "category_id": 3, "bbox": [3.0, 1.0, 3.0, 3.0], "area": 9.0, "iscrowd": 0}]
    for part, numbers in (("train", (0, 1, 2)), ("val", (3, 4))):
        images = [{"id": n, "file_name": FILES[n], "height": 4, "width": 6} for n in numbers]
        whole = {"images": images, "annotations": [note for note in notes if note["image_id"] in numbers], "categories": CATEGORIES}
        (raw / "annotations" / "json").mkdir(parents=True, exist_ok=True)
        (raw / "annotations" / "json" / f"TBX11K_{part}.json").write_text(json.dumps(whole))
    write_lists(raw, train=["h0001", "tb0003"], train_1=["tb0003"], val=["s0001", "h0002"], test=["tb0005"])


def test_tbx11k_takes_kinds_from_folders_and_boxes_from_both_official_files(tmp_path):
    write_folder(tmp_path / "raw")
    found = every_split(TBX11K, tmp_path)
    assert {split: sorted(int(r["image"].max()) // 30 for r in rows) for split, rows in found.items()} == {
        "train": [0, 2], "train_10": [0], "train_1": [2], "val": [1, 4], "test": [3]}
    [ill], [other] = found["train_1"], found["test"]
    assert sorted(int(r["kind"]) for r in found["val"]) == [0, 1] and ill["kind"] == other["kind"] == 2
    assert ill["tuberculosis"].tolist() == [1, 1, 0] and other["tuberculosis"].tolist() == [0, 0, 1]
    assert np.allclose(ill["boxes"][:3], [[0.5, 1 / 6, 0.75, 0.5], [0, 0, 0.25, 1 / 6], [0, 0, 0, 0]])
    assert ill["box_kind"][:3].tolist() == [0, 1, -1] and ill["image"].shape == (4, 6, 1)
    assert np.argwhere(ill["mask"][..., 0]).tolist() == [[0, 0], [2, 1], [2, 2]] and other["mask"].sum() == 9


def test_tbx11k_tells_a_damaged_table_picture_and_box(tmp_path):
    raw = tmp_path / "raw"
    write_folder(raw, bbox=(7.0, 0.0, 2.0, 1.0))
    with pytest.raises(ValueError, match="train record 2: builder: box 1 is empty or outside"):
        every_split(TBX11K, tmp_path)
    write_folder(raw)
    (raw / "imgs" / FILES[2]).write_bytes((raw / "imgs" / FILES[2]).read_bytes()[:40])
    with pytest.raises(ValueError, match="would be empty: left out 1 records.* record 1: builder: tb0003.png is damaged or no"):
        every_split(TBX11K, tmp_path)
    (raw / "annotations" / "json" / "TBX11K_val.json").write_text('{"images": [')
    with pytest.raises(ValueError, match="TBX11K_val.json is no COCO file of the release"):
        every_split(TBX11K, tmp_path)
