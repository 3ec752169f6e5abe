import json

import pytest
from PIL import Image

from mmrep.data.builders.base import made, prepare
from mmrep.data.builders.medpix2 import MEDPIX2
from mmrep.data.tfds import tfds
from tests.data.builders.folders import write_picture

# a line of splitted_dataset/descriptions_dev.jsonl, and what Case_topic.json holds of a case
LINE = {"Type": "CT", "U_id": "MPX1009", "image": "MPX1009_synpic46283", "Description": {
    "ACR Codes": "8.-1", "Age": "73", "Caption": "The prostate is enlarged.", "Figure Part": None, "Modality": "CT - noncontrast",
    "Plane": "Coronal", "Sex": "male"}, "Location": "Genitourinary", "Location Category": "Reproductive and Urinary System"}
CASE = {"U_id": "MPX1009", "TAC": ["MPX1009_synpic46283"], "MRI": [], "Case": {
    "Title": "BPH", "History": "A man.", "Exam": None, "Findings": "Large.", "Differential Diagnosis": "Cancer", "Case Diagnosis": "BPH",
    "Diagnosis By": "CT"}, "Topic": {"Title": "BPH", "Disease Discussion": "", "ACR Code": "8.-1", "Category": "Unsure"}}


def write(folder, splits, cases):
    (folder / "splitted_dataset").mkdir(parents=True, exist_ok=True)
    for name, lines in splits.items():
        (folder / "splitted_dataset" / f"descriptions_{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "Case_topic.json").write_text(json.dumps(cases))


def test_the_two_halves_of_train_make_it_and_cases_bring_their_texts(tmp_path, capsys):
    lines = [LINE | {"U_id": f"MPX{n // 2}", "image": f"MPX{n // 2}_synpic{n}"} for n in range(10)]
    write(tmp_path / "raw", {"train_1": lines[:2], "train_2": lines[2:4], "dev": lines[4:6], "test": lines[6:]},
          [CASE | {"U_id": f"MPX{n}"} for n in range(4)])
    for n in range(9):
        write_picture(tmp_path / "raw" / "images" / f"MPX{n // 2}_synpic{n}.png", n)
    prepare(MEDPIX2, tmp_path / "raw", tmp_path / "data")
    assert "left out 1 records" in capsys.readouterr().err
    found = {split: tfds("medpix2", split, tmp_path / "data") for split in ("train", "val", "test")}
    assert [len(source) for source in found.values()] == [4, 2, 3]
    columns = {"image": "image", "text": ["caption", "findings", "history"], "tabular": ["age", "age_known"], "case": "case"}
    rows = [tfds("medpix2", "test", tmp_path / "data", columns)[i] for i in range(3)]
    assert {row["text"] for row in rows} == {"The prostate is enlarged.\nLarge.\nA man.", "The prostate is enlarged."}
    assert rows[0]["tabular"].tolist() == [73, 1] and len({int(row["case"]) for row in rows}) == 2


def test_a_damaged_line_is_named(tmp_path):
    write(tmp_path, {"train": [LINE], "dev": [LINE], "test": [LINE]}, [CASE])
    (tmp_path / "images").mkdir()
    (tmp_path / "splitted_dataset" / "descriptions_dev.jsonl").write_text(json.dumps(LINE) + "\n{\n")
    with pytest.raises(ValueError, match="descriptions_dev.jsonl line 2 is no JSON"):
        list(made(MEDPIX2, tmp_path, "train"))


def test_the_real_cases(shared, tmp_path):
    """Every row of the release, in its layout; of the pictures, at 224 pixels, a few."""
    folder = shared / "data" / "medpix2"
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    cases = [json.loads(line) for line in (folder / "cases.jsonl").read_text().splitlines()]
    splits = {"train": [], "dev": [], "test": []}
    (tmp_path / "images").mkdir()
    for number, row in enumerate(rows):
        name = row["image"].removeprefix("images/").removesuffix(".jpg")
        splits["dev" if row["split"] in ("dev", "val") else row["split"]].append(LINE | {
            "Type": row["type"], "U_id": row["case_id"], "image": name, "Location Category": row["location_category"],
            "Description": LINE["Description"] | {"Age": row["age"], "Caption": row["caption"], "Sex": row["sex"]}})
        if number % 20 == 0:
            Image.open(folder / row["image"]).save(tmp_path / "images" / f"{name}.png")
    write(tmp_path, splits, [{"U_id": case["case_id"], "Case": {key: case.get(key) for key in CASE["Case"]}} for case in cases])
    assert {name: len(lines) for name, lines in splits.items()} == {"train": 1653, "dev": 197, "test": 200}
    read = {split: dict(made(MEDPIX2, tmp_path, split)) for split in ("train", "val", "test")}
    assert sum(map(len, read.values())) == 103
    captions = {row["image"].removeprefix("images/").removesuffix(".jpg"): row["caption"] for row in rows}
    assert all(record["caption"] == captions[name].strip() for found in read.values() for name, record in found.items())
