import json

import pytest

from mmrep.data.builders.base import made, prepare
from mmrep.data.builders.vqa_rad import VQA_RAD
from mmrep.data.tfds import tfds
from tests.data.builders.folders import write_picture

# the first row of the release
ROW = {"qid": 1, "phrase_type": "freeform", "qid_linked_id": "03f451ca-de62-4617-9679-e836026a7642", "image_case_url":
       "https://medpix.nlm.nih.gov/case?id=48e1dd0e-8552-46ad-a354-5eb55be86de6", "image_name": "synpic54610.jpg", "image_organ": "HEAD",
       "evaluation": "not evaluated", "question": "Are regions of the brain infarcted?", "question_rephrase": "NULL",
       "question_relation": "NULL", "question_frame": "NULL", "question_type": "PRES", "answer": "Yes", "answer_type": "CLOSED"}


def write(folder, rows):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "VQA_RAD Dataset Public.json").write_text(json.dumps(rows))


def test_the_official_test_questions_and_whole_pictures_in_val(tmp_path, capsys):
    rows = [ROW | {"qid": n, "image_name": f"{n // 3}.jpg", "phrase_type": "test_para" if n % 3 == 2 else "para", "answer": n,
                   "answer_type": "CLOSED "} for n in range(60)]
    for n in range(19):
        write_picture(tmp_path / "raw" / "VQA_RAD Image Folder" / f"{n}.jpg", 10 * n)
    write(tmp_path / "raw", rows)
    prepare(VQA_RAD, tmp_path / "raw", tmp_path / "data")
    assert "left out 1 records" in capsys.readouterr().err
    found = {split: tfds("vqa_rad", split, tmp_path / "data") for split in ("train", "val", "test")}
    assert len(found["test"]) == 19 and len(found["train"]) + len(found["val"]) == 38 and len(found["val"])
    cases = {split: {int(source[i]["case"]) for i in range(len(source))} for split, source in found.items()}
    assert not cases["train"] & cases["val"]
    assert found["test"][0]["text"].startswith("Are regions of the brain infarcted?\n") and found["test"][0]["label/answer_type"] == 1


def test_a_row_without_a_key_is_named(tmp_path):
    write(tmp_path, [ROW, {k: v for k, v in ROW.items() if k != "answer"}])
    (tmp_path / "images").mkdir()
    with pytest.raises(ValueError, match="Public.json row 2 has no answer"):
        list(made(VQA_RAD, tmp_path, "train"))


def test_the_real_questions(shared, tmp_path):
    """All questions of the release, with its pictures at 224 pixels; those of phrase_type "frame" are of another edition."""
    folder = shared / "data" / "vqa_rad"
    rows = [json.loads(line) for line in (folder / "qa.jsonl").read_text().splitlines()]
    write(tmp_path, [ROW | {"qid": n, "image_name": row["image"].removeprefix("images/"), "image_organ": row["organ"],
                            "phrase_type": "test_" * (row["split"] == "test") + row["phrase_type"]}
                     | {key: row[key] for key in ("question", "answer", "answer_type", "question_type")}
                     for n, row in enumerate(rows) if row["phrase_type"] != "frame"])
    (tmp_path / "images").symlink_to(folder / "images")
    read = {split: dict(made(VQA_RAD, tmp_path, split)) for split in ("train", "val", "test")}
    assert sum(map(len, read.values())) == 2248 and len(read["test"]) == 451 and len(read["val"]) > 100
    cases = {split: {record["case"] for record in rows.values()} for split, rows in read.items()}
    assert len(cases["test"] & (cases["train"] | cases["val"])) == 202 and not cases["train"] & cases["val"]
