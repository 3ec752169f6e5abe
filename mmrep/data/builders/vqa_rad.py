"""VQA-RAD: 2,248 questions and answers about 315 radiology pictures of MedPix."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.layout import TRAIN_VAL, numbered, open_first, picture, read, split_by_hash

TABLE = "VQA_RAD Dataset Public.json"
ORGANS = ("HEAD", "CHEST", "ABD")
KEYS = ("qid", "image_name", "image_organ", "question", "answer", "answer_type", "question_type", "phrase_type")


def _features(f: Any) -> dict[str, Any]:
    return {"image": f.Image(shape=(None, None, 3)), "question": f.Text(), "answer": f.Text(), "question_type": f.Text(),
            "answer_type": f.ClassLabel(names=("OPEN", "CLOSED")), "organ": f.ClassLabel(names=ORGANS), "case": np.int32}


def _rows(folder: Path) -> list[dict[str, Any]]:
    path = folder / TABLE
    if not path.is_file():
        raise FileNotFoundError(f"builder: no file at {path}")
    try:
        found = json.loads(path.read_text("utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"builder: {path} is damaged ({error}); download it again") from None
    for number, row in enumerate(found, 1):
        if missing := [key for key in KEYS if key not in row]:
            raise ValueError(f"builder: {path} row {number} has no {', '.join(missing)}")
    return found


def _examples(folder: Path, split: str) -> Iterator[tuple[str, Any]]:
    store = open_first(folder, ("VQA_RAD Image Folder", "VQA_RAD Image Folder.zip", "images"))
    found = _rows(folder)
    cases = numbered(row["image_name"] for row in found)
    for row in found:
        official = "test" if row["phrase_type"].strip().startswith("test") else "train"
        here = official if official == "test" else split_by_hash(row["image_name"], TRAIN_VAL)
        if here == split:
            yield str(row["qid"]), partial(_record, store, row, cases[row["image_name"]])


def _record(store: Any, row: dict[str, Any], case: int) -> dict[str, Any]:
    name = row["image_name"]
    return {"image": picture(read(store, name), name, 3), "question": str(row["question"]).strip(), "answer": str(row["answer"]).strip(),
            "question_type": str(row["question_type"]).strip(), "answer_type": str(row["answer_type"]).strip().upper(),
            "organ": str(row["image_organ"]).strip().upper(), "case": case}


VQA_RAD = Dataset(
    name="vqa_rad",
    description="VQA-RAD: 2,248 questions about 315 pictures (head, chest, abdomen). The official 451 test questions are the test "
                "split; val holds the questions on a tenth of the pictures, by hash (layout.split_by_hash), of the others. Beware: the "
                "official split is by question, and train and test share 202 pictures; 19 are in MedPix 2.0, too. `case` is the picture.",
    homepage="https://osf.io/89kps/",
    license="CC0 1.0",
    citation="@article{lau2018dataset, title={A dataset of clinically generated visual questions and answers about radiology images}, "
             "author={Lau, Jason J and Gayen, Soumya and Ben Abacha, Asma and Demner-Fushman, Dina}, journal={Scientific Data}, "
             "volume={5}, pages={180251}, year={2018}}",
    manual="VQA_RAD Dataset Public.json, and the pictures in 'VQA_RAD Image Folder'/; questions without their picture are left out.",
    layout="github.com/f10409/RadHarmony, docs/wiki/datasets/vqa_rad.md",
    features=_features, examples=_examples,
    columns={"image": "image", "text": ["question", "answer"], "label": {"organ": "organ", "answer_type": "answer_type"}, "case": "case"})
