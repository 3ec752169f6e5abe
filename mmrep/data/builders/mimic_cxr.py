"""MIMIC-CXR-JPG with the reports of MIMIC-CXR: 377,110 chest radiographs of 227,835 studies. By image, and by study."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.chexpert import FINDINGS, vector_features, vectors
from mmrep.data.builders.layout import numbered, open_first, picture, rows
from mmrep.data.reports import sections
from mmrep.data.sources import BadRow

SPLIT, METADATA = "mimic-cxr-2.0.0-split.csv.gz", "mimic-cxr-2.0.0-metadata.csv.gz"
LABELERS = {"chexpert": "mimic-cxr-2.0.0-chexpert.csv.gz", "negbio": "mimic-cxr-2.0.0-negbio.csv.gz"}
VIEWS = ("PA", "AP", "LATERAL", "LL", "unknown")  # others are a few in ten thousand
FRONTAL = ("PA", "AP")
OFFICIAL = {"train": "train", "val": "validate", "test": "test"}
REPORTS = ("mimic-cxr-reports", "mimic-cxr-reports.zip")


def _texts(f: Any) -> dict[str, Any]:
    return {"findings_text": f.Text(), "impression": f.Text(), "indication": f.Text(), "comparison": f.Text()}


def _features(f: Any) -> dict[str, Any]:
    return {"image": f.Image(shape=(None, None, 1)), "view": f.ClassLabel(names=VIEWS), **_texts(f), **vector_features(f),
            "case": np.int32, "study": np.int32}


def _study_features(f: Any) -> dict[str, Any]:
    return {"images": f.Sequence(f.Image(shape=(None, None, 1))), "views": f.Sequence(f.ClassLabel(names=VIEWS)), **_texts(f),
            **vector_features(f), "case": np.int32, "study": np.int32}


def _studies(folder: Path, split: str) -> Iterator[tuple[str, str, int, int, list[tuple[str, str]], dict | None]]:
    """(subject, study, its numbers, [(image, view)], its labels' row) of each study of a split, in the table's order."""
    views = {row["dicom_id"]: row["ViewPosition"] for row in rows(folder / METADATA, ("dicom_id", "ViewPosition"))}
    said = {row["study_id"]: row for row in rows(folder / LABELERS["chexpert"], ("subject_id", "study_id", *FINDINGS))}
    listed = list(rows(folder / SPLIT, ("dicom_id", "study_id", "subject_id", "split")))
    cases, studies = numbered(row["subject_id"] for row in listed), numbered(row["study_id"] for row in listed)
    images: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for row in listed:
        if row["split"] == OFFICIAL[split]:
            view = views.get(row["dicom_id"], "")
            images.setdefault((row["subject_id"], row["study_id"]), []).append((row["dicom_id"], view if view in VIEWS else "unknown"))
    for (subject, study), found in images.items():
        yield subject, study, cases[subject], studies[study], found, said.get(study)


def _by_image(folder: Path, split: str) -> Iterator[tuple[str, Any]]:
    store = open_first(folder, REPORTS)
    for subject, study, case, number, images, said in _studies(folder, split):
        for image, view in images:
            yield image, partial(_image, folder, store, subject, study, image, view, said, case, number)


def _by_study(folder: Path, split: str) -> Iterator[tuple[str, Any]]:
    store = open_first(folder, REPORTS)
    for subject, study, case, number, images, said in _studies(folder, split):
        yield study, partial(_study, folder, store, subject, study, images, said, case, number)


def _place(subject: str, study: str) -> str:
    return f"files/p{subject[:2]}/p{subject}/s{study}"


def _said(store: Any, subject: str, study: str, said: dict | None, case: int, number: int) -> dict[str, Any]:
    """What a report and its labels tell. Raises FileNotFoundError without the report."""
    name = f"{_place(subject, study)}.txt"
    if name not in store:
        raise FileNotFoundError(f"builder: no report {name} in {store.path}; take mimic-cxr-reports.zip of MIMIC-CXR whole")
    report = sections(store.read(name).decode("utf-8"))
    return {"findings_text": report.get("findings", ""), "impression": report.get("impression", ""),
            "indication": report.get("indication", ""), "comparison": report.get("comparison", ""), **vectors(said), "case": case,
            "study": number}


def _image(folder: Path, store: Any, subject: str, study: str, image: str, view: str, said: dict | None, case: int, number: int
           ) -> dict[str, Any]:
    path = folder / _place(subject, study) / f"{image}.jpg"
    if not path.is_file():
        raise BadRow(f"builder: no file at {path}")
    return {"image": picture(path.read_bytes(), path.name, 1), "view": view, **_said(store, subject, study, said, case, number)}


def _study(folder: Path, store: Any, subject: str, study: str, images: list[tuple[str, str]], said: dict | None, case: int, number: int
           ) -> dict[str, Any]:
    """The images that are there, the frontal ones first. BadRow for a study without any."""
    there = [(path, view) for image, view in images if (path := folder / _place(subject, study) / f"{image}.jpg").is_file()]
    if not there:
        raise BadRow(f"builder: no image of a study in {folder / _place(subject, study)}")
    there.sort(key=lambda pair: pair[1] not in FRONTAL)
    return {"images": [picture(path.read_bytes(), path.name, 1) for path, _ in there], "views": [view for _, view in there],
            **_said(store, subject, study, said, case, number)}


_ABOUT = dict(
    homepage="https://physionet.org/content/mimic-cxr-jpg/2.1.0/",
    license="PhysioNet Credentialed Health Data License 1.5.0",
    citation="@article{johnson2019mimic, title={MIMIC-CXR-JPG, a large publicly available database of labeled chest radiographs}, "
             "author={Johnson, Alistair EW and Pollard, Tom J and Greenbaum, Nathaniel R and Lungren, Matthew P and Deng, Chih-ying and "
             "Peng, Yifan and Lu, Zhiyong and Mark, Roger G and Berkowitz, Seth J and Horng, Steven}, journal={arXiv:1901.07042}, "
             "year={2019}}; @article{johnson2019reports, title={MIMIC-CXR, a de-identified publicly available database of chest "
             "radiographs with free-text reports}, author={Johnson, Alistair EW and Pollard, Tom J and Berkowitz, Seth J and Greenbaum, "
             "Nathaniel R and Lungren, Matthew P and Deng, Chih-ying and Mark, Roger G and Horng, Steven}, journal={Scientific Data}, "
             "volume={6}, pages={317}, year={2019}}",
    manual="of MIMIC-CXR-JPG mimic-cxr-2.0.0-split.csv.gz, mimic-cxr-2.0.0-metadata.csv.gz, mimic-cxr-2.0.0-chexpert.csv.gz and files/; of "
           "MIMIC-CXR mimic-cxr-reports.zip, as it is or unpacked to mimic-cxr-reports/. Images that are not there are left out.",
    layout="github.com/f10409/RadHarmony, docs/wiki/datasets/mimic_cxr_jpg.md; github.com/HKU-MedAI/MGCA, mgca/preprocess/mimic_cxr.py")

_SAID = ("the sections of the report (mmrep.data.reports) and CheXpert's labels of it (1 present, 0 absent or not mentioned, -1 uncertain; "
         "`mentioned` tells the two zeros apart; all -2 where it has none). Official splits. Reports that compare to an earlier study: "
         "mmrep.data.reports.without_priors.")

MIMIC_CXR = Dataset(
    name="mimic_cxr", description=f"MIMIC-CXR-JPG 2.1, a record an image (377,110), with {_SAID}",
    features=_features, examples=_by_image, names={"findings": FINDINGS, "mentioned": FINDINGS},
    columns={"image": "image", "text": ["findings_text", "impression"], "label": {"findings": "findings"}, "group": "study",
             "case": "case"},
    **_ABOUT)

MIMIC_CXR_STUDIES = Dataset(
    name="mimic_cxr_studies",
    description=f"MIMIC-CXR-JPG 2.1, a record a study (227,835) with all its images, frontal ones first, and {_SAID}",
    features=_study_features, examples=_by_study, names={"findings": FINDINGS, "mentioned": FINDINGS},
    columns={"image": "images", "text": ["findings_text", "impression"], "label": {"findings": "findings"}, "case": "case"}, **_ABOUT)
