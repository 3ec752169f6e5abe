import pytest

from mmrep.data.builders.base import made
from mmrep.data.builders.covidx import COVIDX
from tests.data.builders.folders import write_picture
from tests.data.builders.radiographs import every_split

# lines as released: patient, file, class, source; two files share what stands before the first dot
TRAIN = ("379 1e64990d1b40c1758a2aaa9c7f7a85_jumbo.jpeg negative cohen", "101 CR.1.2.840.1.png positive bimcv",
         "101 CR.1.2.840.2.png positive bimcv", "7 CR.1.2.840.3.png negative rsna", "8 sub-S03_dx.png negative rsna")


def write_folder(raw, train=TRAIN):
    parts = {"train": train, "val": ("101 sub-S04.png positive bimcv",), "test": ("9 sub-S05.png negative rsna",)}
    for part, lines in parts.items():
        for n, line in enumerate(lines):
            write_picture(raw / part / line.split(" ")[1], 40 * n, "RGB" if n % 2 else "L")
        (raw / f"{part}.txt").write_text("\n".join(lines) + "\n")
    (raw / "benchx").mkdir(parents=True, exist_ok=True)
    (raw / "benchx" / "train_10.txt").write_text("train/CR.png\ntrain/sub-S03_dx.png\ntrain/CR.png\n")
    (raw / "benchx" / "train_1.txt").write_text("train/CR.png\n")


def test_covidx_keeps_official_splits_and_as_many_of_a_shortened_name_as_benchx_lists(tmp_path):
    write_folder(tmp_path / "raw")
    found = every_split(COVIDX, tmp_path)
    assert {split: sorted(int(r["image"].mean() + 20) // 40 for r in rows) for split, rows in found.items()} == {
        "train": [0, 1, 2, 3, 4], "train_10": [1, 2, 4], "train_1": [1], "val": [0], "test": [0]}
    [one], [val] = found["train_1"], found["val"]
    assert one["case"] == val["case"] and (one["covid"], one["source"]) == (1, b"bimcv") and one["image"].shape == (4, 5, 1)
    assert len({int(r["case"]) for r in found["train"]}) == 4


def test_covidx_tells_a_line_and_a_picture_that_are_wrong(tmp_path, capsys):
    raw = tmp_path / "raw"
    write_folder(raw)
    (raw / "train" / "CR.1.2.840.2.png").write_bytes(b"no picture")
    assert len(list(made(COVIDX, raw, "train"))) == 4
    assert "train: left out 1 records that cannot be used, the first is record 3: builder: CR.1.2.840.2.png is" in capsys.readouterr().err
    (raw / "val.txt").write_text("101 sub-S04.png COVID-19 bimcv\n")
    with pytest.raises(ValueError, match="val.txt line 1 is not patient, file, negative or positive, and source"):
        every_split(COVIDX, tmp_path)
