"""CheXpert: 224,316 chest radiographs of 65,240 patients with 14 findings that a labeler read from the reports."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.layout import ABSENT, TRAIN_VAL, known, numbered, picture, rows, split_by_hash
from mmrep.data.sources import BadRow
from mmrep.data.uncertain import UNLABELED

FINDINGS = ("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation",
            "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices")
COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS)
TRAIN, VALID, TEST = "train.csv", "valid.csv", "test_labels.csv"
VIEWS = ("AP", "PA", "LL", "RL", "unknown")
SEXES = ("Female", "Male", "Unknown")


def vector_features(f: Any, findings: Sequence[str] = FINDINGS) -> dict[str, Any]:
    """`findings` and `mentioned`, a vector each."""
    return {name: f.Tensor(shape=(len(findings),), dtype=np.int8) for name in ("findings", "mentioned")}


def vectors(row: Mapping[str, str | float | None] | None, findings: Sequence[str] = FINDINGS) -> dict[str, list[int]]:
    """findings: 1 present, 0 absent or not mentioned, -1 uncertain, as published work counts them, UNLABELED of a finding that the table
    does not have, or where there is no row; mentioned: 1 or 0 tells the two zeros apart."""
    row = row or {}
    mentioned = [row.get(name) not in (None, *ABSENT) for name in findings]
    return {"findings": [int(float(row[name])) if said else 0 if name in row else UNLABELED for name, said in zip(findings, mentioned)],
            "mentioned": [int(said) for said in mentioned]}


def _features(f: Any) -> dict[str, Any]:
    return {"image": f.Image(shape=(None, None, 1)), **vector_features(f), "frontal": f.ClassLabel(names=("Lateral", "Frontal")),
            "view": f.ClassLabel(names=VIEWS), "sex": f.ClassLabel(names=SEXES), "age": np.float32, "age_known": np.float32,
            "case": np.int32, "study": np.int32}


def _rows(folder: Path, table: str) -> Iterator[tuple[str, str, Any]]:
    """(path, patient, a function that makes the record) of each row. Paths begin with CheXpert-v1.0 or CheXpert-v1.0-small, the folder that
    holds all, but for test_labels.csv, which also tells nothing but labels."""
    columns = COLUMNS if table != TEST else ("Path", *FINDINGS[1:])
    named = [_within(row["Path"]) for row in rows(folder / table, columns)]
    patients, studies = numbered(path.split("/")[1] for path in named), numbered(path.rpartition("/")[0] for path in named)
    first = 10_000_000 * (TRAIN, VALID, TEST).index(table)  # no number of another table's
    for path, row in zip(named, rows(folder / table, columns)):
        patient = path.split("/")[1]
        yield path, patient, partial(_record, folder / path, row, first + patients[patient], first + studies[path.rpartition("/")[0]])


def _within(path: str) -> str:
    inner = path.partition("/")[2] if path.startswith("CheXpert") else path
    if inner.count("/") != 3:
        raise ValueError(f"builder: the path {path!r} is none of CheXpert (train/patient00001/study1/view1_frontal.jpg)")
    return inner


def _record(path: Path, row: dict[str, str], case: int, study: int) -> dict[str, Any]:
    if not path.is_file():
        raise BadRow(f"builder: no file at {path}")
    return {"image": picture(path.read_bytes(), path.name, 1), **vectors(row),
            "frontal": row.get("Frontal/Lateral") or ("Frontal" if "frontal" in path.name else "Lateral"),
            "view": row["AP/PA"] if row.get("AP/PA") in VIEWS else "unknown",
            "sex": row["Sex"] if row.get("Sex") in SEXES else "Unknown", **known("age", row.get("Age", "")), "case": case, "study": study}


def _examples(folder: Path, split: str) -> Iterator[tuple[str, Any]]:
    for path, patient, record in _rows(folder, VALID if split == "test" else TRAIN):
        if split == "test" or split_by_hash(patient, TRAIN_VAL) == split:
            yield path, record


def _official(folder: Path, split: str) -> Iterator[tuple[str, Any]]:
    for path, _, record in _rows(folder, {"train": TRAIN, "val": VALID, "test": TEST}[split]):
        yield path, record


CHEXPERT = Dataset(
    name="chexpert",
    description="CheXpert 1.0: 224,316 chest radiographs with 14 findings by a labeler of reports (1 present, 0 absent or not mentioned, "
                "-1 uncertain; `mentioned` tells the two zeros apart). The official valid, 234 images labeled by radiologists, is the test "
                "split here; val is a tenth of the train patients by hash (layout.split_by_hash).",
    homepage="https://stanfordmlgroup.github.io/competitions/chexpert/",
    license="Stanford Research Use Agreement",
    citation="@inproceedings{irvin2019chexpert, title={CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert "
             "Comparison}, author={Irvin, Jeremy and Rajpurkar, Pranav and Ko, Michael and Yu, Yifan and Ciurea-Ilcus, Silviana and Chute, "
             "Chris and Marklund, Henrik and Haghgoo, Behzad and Ball, Robyn and Shpanskaya, Katie and others}, booktitle={AAAI}, "
             "pages={590--597}, year={2019}}",
    manual="train.csv, valid.csv, train/ and valid/ of CheXpert-v1.0 (or CheXpert-v1.0-small); rows without their file are left out.",
    layout="github.com/mlmed/torchxrayvision, torchxrayvision/datasets.py (CheX_Dataset) and the train.csv that it ships; "
           "github.com/f10409/RadHarmony, docs/wiki/datasets/chexpert.md",
    features=_features, examples=_examples, names={"findings": FINDINGS, "mentioned": FINDINGS},
    columns={"image": "image", "label": {"findings": "findings"}, "case": "case"})


CHEXPERT_TEST = CHEXPERT._replace(
    name="chexpert_test",
    description="CheXpert 1.0 in its own splits: train all of train.csv, val the official valid (234 images), test the 668 images of 500 "
                "patients that eight radiologists labeled, given out with CheXlocalize. Records as of chexpert; sex, age and AP or PA of "
                "the test images are unknown, and No Finding is unlabeled (-2).",
    citation=CHEXPERT.citation + "; @article{saporta2022benchmarking, title={Benchmarking saliency methods for chest X-ray "
             "interpretation}, author={Saporta, Adriel and Gui, Xiaotong and Agrawal, Ashwin and Pareek, Anuj and Truong, Steven QH and "
             "others}, journal={Nature Machine Intelligence}, volume={4}, pages={867--878}, year={2022}}",
    manual=CHEXPERT.manual.rstrip(".") + "; and test_labels.csv and test/ of the CheXpert folder of CheXlocalize.",
    layout="",  # no page that was read quotes the header of test_labels.csv; its columns are found by name
    examples=_official)
