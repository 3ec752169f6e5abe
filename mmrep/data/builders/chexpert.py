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
VIEWS = ("AP", "PA", "LL", "RL", "unknown")
SEXES = ("Female", "Male", "Unknown")


def vector_features(f: Any, findings: Sequence[str] = FINDINGS) -> dict[str, Any]:
    """`findings` and `mentioned`, a vector each."""
    return {name: f.Tensor(shape=(len(findings),), dtype=np.int8) for name in ("findings", "mentioned")}


def vectors(row: Mapping[str, str] | None, findings: Sequence[str] = FINDINGS) -> dict[str, list[int]]:
    """findings: 1 present, 0 absent or not mentioned, -1 uncertain, as published work counts them; mentioned: 1 or 0 tells the two zeros
    apart. All UNLABELED where there is no row."""
    if row is None:
        return {"findings": [UNLABELED] * len(findings), "mentioned": [0] * len(findings)}
    return {"findings": [0 if row[name] in ABSENT else int(float(row[name])) for name in findings],
            "mentioned": [int(row[name] not in ABSENT) for name in findings]}


def _features(f: Any) -> dict[str, Any]:
    return {"image": f.Image(shape=(None, None, 1)), **vector_features(f), "frontal": f.ClassLabel(names=("Lateral", "Frontal")),
            "view": f.ClassLabel(names=VIEWS), "sex": f.ClassLabel(names=SEXES), "age": np.float32, "age_known": np.float32,
            "case": np.int32, "study": np.int32}


def _examples(folder: Path, split: str) -> Iterator[tuple[str, Any]]:
    """train.csv, and valid.csv for test. Paths begin with CheXpert-v1.0 or CheXpert-v1.0-small, the folder that holds all."""
    table = folder / ("valid.csv" if split == "test" else "train.csv")
    patients = numbered(row["Path"].split("/")[2] for row in rows(table, COLUMNS))
    studies = numbered(row["Path"].rpartition("/")[0] for row in rows(table, COLUMNS))
    first = 0 if split != "test" else 10_000_000  # no number of train's
    for row in rows(table, COLUMNS):
        patient = row["Path"].split("/")[2]
        if split == "test" or split_by_hash(patient, TRAIN_VAL) == split:
            yield row["Path"].partition("/")[2], partial(_record, folder, row, first + patients[patient],
                                                         first + studies[row["Path"].rpartition("/")[0]])


def _record(folder: Path, row: dict[str, str], case: int, study: int) -> dict[str, Any]:
    path = folder / row["Path"].partition("/")[2]
    if not path.is_file():
        raise BadRow(f"builder: no file at {path}")
    return {"image": picture(path.read_bytes(), path.name, 1), **vectors(row), "frontal": row["Frontal/Lateral"],
            "view": row["AP/PA"] if row["AP/PA"] in VIEWS else "unknown", "sex": row["Sex"] if row["Sex"] in SEXES else "Unknown",
            **known("age", row["Age"]), "case": case, "study": study}


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
