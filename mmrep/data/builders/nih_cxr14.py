"""NIH ChestX-ray14: 112,120 frontal chest radiographs of 30,805 patients with 14 findings, and boxes on 880 of them."""

import csv
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.chest_xray import boxes
from mmrep.data.builders.layout import TRAIN_VAL, known, numbered, picture, rows, split_by_hash
from mmrep.data.sources import BadRow

TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
COLUMNS = ("Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "View Position")
FINDINGS = ("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax", "Consolidation",
            "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia")
NOTHING = "No Finding"
BOXED = ("none", "Atelectasis", "Cardiomegaly", "Effusion", "Infiltrate", "Mass", "Nodule", "Pneumonia", "Pneumothorax")
MOST, SIDE = 8, 1024  # boxes of an image; pixels a side of every image


def _features(f: Any) -> dict[str, Any]:
    return {"image": f.Image(shape=(None, None, 1)), "findings": f.Tensor(shape=(len(FINDINGS),), dtype=np.int8),
            "view": f.ClassLabel(names=("PA", "AP")), "sex": f.ClassLabel(names=("F", "M")), "age": np.float32, "age_known": np.float32,
            "boxes": f.Tensor(shape=(MOST, 4), dtype=np.float32), "boxed": f.Tensor(shape=(MOST,), dtype=np.int8), "case": np.int32}


def _listed(path: Path) -> set[str]:
    if not path.is_file():
        raise FileNotFoundError(f"builder: no file at {path}; put train_val_list.txt and test_list.txt of the set there")
    return set(path.read_text("utf-8").split())


def _boxes(folder: Path) -> dict[str, list[tuple[str, list[float]]]]:
    """image -> (finding, left, top, width, height in pixels) of each box. The header has commas in its names, so columns go by place."""
    path, found = folder / "BBox_List_2017.csv", {}
    if not path.is_file():
        raise FileNotFoundError(f"builder: no file at {path}")
    with path.open(encoding="utf-8-sig", newline="") as file:
        for number, cells in enumerate(csv.reader(file)):
            if number == 0 and cells[:3] != ["Image Index", "Finding Label", "Bbox [x"]:
                raise ValueError(f"builder: {path} begins {','.join(cells)[:100]}; take the set's own file")
            if number:
                try:
                    left, top, width, height = map(float, cells[2:6])
                except ValueError:
                    raise ValueError(f"builder: {path} row {number} is no box; download it again") from None
                found.setdefault(cells[0], []).append((cells[1], [left, top, width, height]))
    return found


def _examples(folder: Path, split: str) -> Iterator[tuple[str, Any]]:
    table = next((path for name in TABLES if (path := folder / name).is_file()), folder / TABLES[0])
    official, marked = _listed(folder / ("test_list.txt" if split == "test" else "train_val_list.txt")), _boxes(folder)
    places = {path.name: path for place in sorted(folder.glob("images*")) for path in place.rglob("*.png")}
    patients = numbered(row["Patient ID"] for row in rows(table, COLUMNS))
    for row in rows(table, COLUMNS):
        name = row["Image Index"]
        if name in official and (split == "test" or split_by_hash(row["Patient ID"], TRAIN_VAL) == split):
            yield name, partial(_record, places.get(name), row, marked.get(name, []), patients[row["Patient ID"]])


def _age(cell: str) -> dict[str, float]:
    """In years; the first release writes 058Y, 013M or 005D."""
    age = known("age", cell.rstrip("YMD"))
    return age | {"age": age["age"] / {"M": 12, "D": 365}.get(cell[-1:], 1)}


def _record(path: Path | None, row: dict[str, str], marked: list[tuple[str, list[float]]], case: int) -> dict[str, Any]:
    if path is None:
        raise BadRow(f"builder: no file {row['Image Index']}")
    named = set(row["Finding Labels"].split("|"))
    if strange := named - {*FINDINGS, NOTHING}:
        raise ValueError(f"builder: {row['Image Index']} has the label {sorted(strange)[0]!r}, which the set does not know")
    corners = [(left, top, left + width, top + height) for _, (left, top, width, height) in marked]
    kinds = [BOXED.index(kind) for kind, _ in marked]
    sex = row.get("Patient Gender") or row.get("Patient Sex") or ""
    return {"image": picture(path.read_bytes(), path.name, 1), "findings": [int(name in named) for name in FINDINGS],
            "view": row["View Position"], "sex": sex, **_age(row["Patient Age"]),
            "boxes": boxes(corners, SIDE, SIDE, MOST), "boxed": np.array(kinds + [0] * (MOST - len(kinds)), np.int8), "case": case}


NIH_CXR14 = Dataset(
    name="nih_cxr14",
    description="NIH ChestX-ray14: 112,120 frontal radiographs with 14 findings read from reports by a program (1 or 0), and boxes for "
                "eight of them on 880 images (`boxes` as top, left, bottom, right fractions, `boxed` what each is of). The official test "
                "list is the test split; val is a tenth of the train patients by hash (layout.split_by_hash).",
    homepage="https://nihcc.app.box.com/v/ChestXray-NIHCC",
    license="unrestricted; acknowledge the NIH Clinical Center, link its page and cite the paper",
    citation="@inproceedings{wang2017chestxray, title={ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on "
             "Weakly-Supervised Classification and Localization of Common Thorax Diseases}, author={Wang, Xiaosong and Peng, Yifan and Lu, "
             "Le and Lu, Zhiyong and Bagheri, Mohammadhadi and Summers, Ronald M}, booktitle={CVPR}, pages={2097--2106}, year={2017}}",
    manual="Data_Entry_2017_v2020.csv (or Data_Entry_2017.csv), BBox_List_2017.csv, train_val_list.txt, test_list.txt, and the images in "
           "images/, or in images_001/images/ ... images_012/images/; rows without their file are left out.",
    layout="github.com/mlmed/torchxrayvision, torchxrayvision/datasets.py (NIH_Dataset) and the tables that it ships; "
           "github.com/f10409/RadHarmony, docs/wiki/datasets/chestxray14.md",
    features=_features, examples=_examples, names={"findings": FINDINGS},
    columns={"image": "image", "label": {"findings": "findings", "boxes": "boxes"}, "case": "case"})
