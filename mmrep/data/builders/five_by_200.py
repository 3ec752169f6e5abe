"""CheXpert-5x200 and MIMIC-5x200: 200 frontal radiographs of each of five findings and of no other, for zero-shot and retrieval."""

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.layout import ABSENT, numbered, open_first, picture, rows
from mmrep.data.builders.mimic_cxr import METADATA, NEGBIO, REPORTS, place, read_report, table

TASKS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
OTHERS = ("Enlarged Cardiomediastinum", "Lung Lesion", "Lung Opacity", "Pneumonia", "Pneumothorax", "Pleural Other", "Fracture",
          "Support Devices")
EACH = 200
LIST = "chexpert_5x200.csv"


def only(row: dict[str, str]) -> str | None:
    """The one of the five findings that a row has, None where it has none, several, or another one (No Finding is not asked).

    Nothing said and 0 are absent, and so is -1, uncertain, where MIMIC-CXR's labels are asked (MedCLIP, examples/process_mimic_cxr.py).
    """
    has = [name for name in (*TASKS, *OTHERS) if row[name] not in ABSENT and float(row[name]) == 1]
    return has[0] if len(has) == 1 and has[0] in TASKS else None


def _chexpert_features(f: Any) -> dict[str, Any]:
    return {"image": f.Image(shape=(None, None, 1)), "finding": f.ClassLabel(names=TASKS), "case": np.int32}


def _chexpert(folder: Path, split: str) -> Iterator[tuple[str, Any]]:
    found = list(rows(folder / LIST, ("Path", *TASKS, *OTHERS)))
    cases = numbered(sorted(row["Path"].split("/")[-3] for row in found))
    for number, row in enumerate(found, 1):
        name = only(row)
        if name is None:
            raise ValueError(f"builder: {folder / LIST} row {number} does not have exactly one of the five findings; take GLoRIA's list")
        path = row["Path"].partition("/")[2]  # without CheXpert-v1.0
        yield row["Path"], partial(_picture, folder / path, name, cases[row["Path"].split("/")[-3]])


def _picture(path: Path, finding: str, case: int, **more: Any) -> dict[str, Any]:
    return {"image": picture(path.read_bytes(), path.name, 1), "finding": finding, "case": case, **more}


def _mimic_features(f: Any) -> dict[str, Any]:
    return {**_chexpert_features(f), "findings_text": f.Text(), "impression": f.Text(), "study": np.int32}


def _mimic(folder: Path, split: str) -> Iterator[tuple[str, Any]]:
    """Of each finding the first 200 frontal images by the SHA-256 of their id."""
    columns = ("study_id", *TASKS, *OTHERS)
    findings = {row["study_id"]: name for row in rows(table(folder, NEGBIO), columns) if (name := only(row))}
    able: dict[str, list[dict[str, str]]] = {name: [] for name in TASKS}
    for row in rows(table(folder, METADATA), ("dicom_id", "subject_id", "study_id", "ViewPosition")):
        if row["ViewPosition"] in ("PA", "AP") and row["study_id"] in findings:
            able[findings[row["study_id"]]].append(row)
    drawn = [(name, row) for name in TASKS
             for row in sorted(able[name], key=lambda row: hashlib.sha256(row["dicom_id"].encode()).digest())[:EACH]]
    cases = numbered(sorted(row["subject_id"] for _, row in drawn))
    studies = numbered(sorted(row["study_id"] for _, row in drawn))
    store = open_first(folder, REPORTS)
    for name, row in drawn:
        yield row["dicom_id"], partial(_mimic_record, folder, store, row["subject_id"], row["study_id"], row["dicom_id"], name,
                                       cases[row["subject_id"]], studies[row["study_id"]])


def _mimic_record(folder: Path, store: Any, subject: str, study: str, image: str, finding: str, case: int, number: int) -> dict[str, Any]:
    said = read_report(store, subject, study)
    return _picture(folder / place(subject, study) / f"{image}.jpg", finding, case, findings_text=said.get("findings", ""),
                    impression=said.get("impression", ""), study=number)


CHEXPERT_5X200 = Dataset(
    name="chexpert_5x200",
    description="CheXpert-5x200: GLoRIA's draw of 1,000 frontal radiographs of CheXpert's train part, 200 each with exactly one of five "
                "findings. It is a test split only: leave its patients out of what a model is trained on.",
    homepage="https://github.com/marshuang80/gloria",
    license="Stanford Research Use Agreement",
    citation="@inproceedings{huang2021gloria, title={GLoRIA: A Multimodal Global-Local Representation Learning Framework for "
             "Label-Efficient Medical Image Recognition}, author={Huang, Shih-Cheng and Shen, Liyue and Lungren, Matthew P and Yeung, "
             "Serena}, booktitle={ICCV}, pages={3942--3951}, year={2021}}",
    manual="chexpert_5x200.csv of GLoRIA (linked in its README), and train/ of CheXpert-v1.0 (or CheXpert-v1.0-small).",
    layout="github.com/marshuang80/gloria, gloria/datasets/preprocess_datasets.py; github.com/Soombit-ai/cxr-clip, datasets/README.md",
    features=_chexpert_features, examples=_chexpert, splits=("test",),
    columns={"image": "image", "label": {"finding": "finding"}, "case": "case"})


MIMIC_5X200 = Dataset(
    name="mimic_5x200",
    description="MIMIC-5x200, drawn here: MedCLIP's rule (exactly one of five findings by NegBio, uncertain counted as absent), whose "
                "draw is not public: frontal images only and, of each finding, the 200 with the smallest SHA-256 of their id, so "
                "numbers of other papers are of other images. Text: the report's findings and impression (reports.sections). The finding "
                "is the group, so that R@k/group is the Hit@k of published tables. It is a test split only: leave its patients out of "
                "what a model is trained on.",
    homepage="https://physionet.org/content/mimic-cxr-jpg/2.1.0/",
    license="PhysioNet Credentialed Health Data License 1.5.0",
    citation="@inproceedings{wang2022medclip, title={MedCLIP: Contrastive Learning from Unpaired Medical Images and Text}, author={Wang, "
             "Zifeng and Wu, Zhenbang and Agarwal, Dinesh and Sun, Jimeng}, booktitle={EMNLP}, pages={3876--3887}, year={2022}}",
    manual="of MIMIC-CXR-JPG mimic-cxr-2.0.0-metadata.csv.gz, mimic-cxr-2.0.0-negbio.csv.gz and files/; of MIMIC-CXR "
           "mimic-cxr-reports.zip, as it is or unpacked to mimic-cxr-reports/.",
    layout="github.com/RyanWangZf/MedCLIP, examples/process_mimic_cxr.py; github.com/HKU-MedAI/MGCA, mgca/preprocess/mimic_cxr.py",
    features=_mimic_features, examples=_mimic, splits=("test",),
    columns={"image": "image", "text": ["findings_text", "impression"], "label": {"finding": "finding"}, "group": "finding",
             "case": "case"})
