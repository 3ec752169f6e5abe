"""CheXpert Plus: 223,462 chest radiographs with their reports by section, demographics and CheXbert labels."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.chexpert import SEXES, VIEWS, vector_features, vectors
from mmrep.data.builders.layout import TRAIN_VAL, known, numbered, open_first, picture, read, rows, split_by_hash

TABLE = "df_chexpert_plus_240401.csv"
COLUMNS = ("path_to_image", "frontal_lateral", "ap_pa", "deid_patient_id", "section_findings", "section_impression", "age", "sex", "split")
FINDINGS = ("Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation", "Pneumonia",
            "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices", "No Finding")


def _features(f: Any) -> dict[str, Any]:
    return {"image": f.Image(shape=(None, None, 1)), "findings_text": f.Text(), "impression": f.Text(),
            **vector_features(f, FINDINGS), "frontal": f.ClassLabel(names=("Lateral", "Frontal")),
            "view": f.ClassLabel(names=VIEWS), "sex": f.ClassLabel(names=SEXES), "age": np.float32, "age_known": np.float32,
            "case": np.int32, "study": np.int32}


def _labels(folder: Path) -> dict[str, dict[str, list[int]]]:
    """{path: its vectors}, as CheXbert read the report."""
    path = folder / "chexbert_labels" / "report_fixed.json"
    path = path if path.is_file() else folder / "report_fixed.json"
    if not path.is_file():
        raise FileNotFoundError(f"builder: no file at {folder / 'chexbert_labels' / 'report_fixed.json'}; unpack chexbert_labels.zip there")
    found = {}
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            found[row["path_to_image"]] = vectors(row, FINDINGS)
    return found


def _examples(folder: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    store, labels = open_first(folder, ("PNG/PNG", "PNG")), _labels(folder)
    patients = numbered(row["deid_patient_id"] for row in rows(folder / TABLE, COLUMNS))
    studies = numbered(row["path_to_image"].rpartition("/")[0] for row in rows(folder / TABLE, COLUMNS))
    for row in rows(folder / TABLE, COLUMNS):
        here = "test" if row["split"] == "valid" else split_by_hash(row["deid_patient_id"], TRAIN_VAL)
        if here == split:
            said = labels.get(row["path_to_image"], vectors(None, FINDINGS))
            study = studies[row["path_to_image"].rpartition("/")[0]]
            yield row["path_to_image"], partial(_record, store, row, said, patients[row["deid_patient_id"]], study)


def _record(store: Any, row: dict[str, str], said: dict[str, list[int]], case: int, study: int) -> dict[str, Any]:
    name = row["path_to_image"].rpartition(".")[0] + ".png"
    return {"image": picture(read(store, name), name, 1), "findings_text": row["section_findings"], "impression": row["section_impression"],
            **said, "frontal": row["frontal_lateral"], "view": row["ap_pa"] if row["ap_pa"] in VIEWS else "unknown",
            "sex": row["sex"] if row["sex"] in SEXES else "Unknown", **known("age", row["age"]), "case": case, "study": study}


CHEXPERT_PLUS = Dataset(
    name="chexpert_plus",
    description="CheXpert Plus: 223,462 chest radiographs with the report's findings and impression, sex, age, and CheXbert's labels of "
                "the report (1 present, 0 absent or not mentioned, -1 uncertain; `mentioned` tells the two zeros apart; all -2 where it "
                "has no row). The official valid is the test split here; val is a tenth of the train patients by hash "
                "(layout.split_by_hash).",
    homepage="https://stanfordaimi.azurewebsites.net/datasets/5158c524-d3ab-4e02-96e9-6ee9efc110a1",
    license="Stanford Research Use Agreement",
    citation="@article{chambon2024chexpert, title={CheXpert Plus: Augmenting a Large Chest X-ray Dataset with Text Radiology Reports, "
             "Patient Demographics and Additional Image Formats}, author={Chambon, Pierre and Delbrouck, Jean-Benoit and Sounack, Thomas "
             "and Huang, Shih-Cheng and Chen, Zhihong and Varma, Maya and Truong, Steven QH and Chuong, Chu The and Langlotz, Curtis P}, "
             "journal={arXiv:2405.19538}, year={2024}}",
    manual="df_chexpert_plus_240401.csv, chexbert_labels/report_fixed.json, and the PNG chunks unpacked to PNG/ "
           "(PNG/train/patient.../study.../view...png).",
    layout="github.com/Stanford-AIMI/chexpert-plus, README.md; github.com/f10409/RadHarmony, docs/wiki/datasets/chexpert_plus.md",
    features=_features, examples=_examples, names={"findings": FINDINGS, "mentioned": FINDINGS},
    columns={"image": "image", "text": "impression", "label": {"findings": "findings"}, "case": "case"})
