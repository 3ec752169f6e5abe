"""MIMIC-CXR-JPG with the reports of MIMIC-CXR: 377,110 chest radiographs of 227,835 studies. By image, and by study."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.chexpert import FINDINGS, vector_features, vectors
from mmrep.data.builders.layout import ABSENT, numbered, open_first, picture, rows, within
from mmrep.data.reports import sections
from mmrep.data.sources import BadRow

SPLIT, METADATA = "mimic-cxr-2.0.0-split.csv.gz", "mimic-cxr-2.0.0-metadata.csv.gz"
CHEXPERT, NEGBIO = "mimic-cxr-2.0.0-chexpert.csv.gz", "mimic-cxr-2.0.0-negbio.csv.gz"
EXPERT = "mimic-cxr-2.1.0-test-set-labeled.csv"  # of 687 studies; has no subject_id
VIEWS = ("PA", "AP", "LATERAL", "LL", "unknown")  # others are a few in ten thousand
FRONTAL = ("PA", "AP")
OFFICIAL = {"train": "train", "val": "validate", "test": "test"}
REPORTS = ("mimic-cxr-reports", "mimic-cxr-reports.zip", ".")  # the last: beside the images
SECTIONS = {"findings_text": "findings", "impression": "impression", "indication": "indication", "comparison": "comparison"}


class Study(NamedTuple):
    """A study of a split: its subject's and its own id, their numbers, its place among the subject's by time, its images with their
    views, and its vectors of labels."""

    subject: str
    study: str
    case: int
    number: int
    order: int
    images: list[tuple[str, str]]
    labels: dict[str, list[int]]


def _said_features(f: Any) -> dict[str, Any]:
    return {**{name: f.Text() for name in SECTIONS}, **vector_features(f),
            **{name: f.Tensor(shape=(len(FINDINGS),), dtype=np.int8) for name in ("negbio", "expert")},
            "case": np.int32, "study": np.int32, "order": np.int32}


def _features(f: Any) -> dict[str, Any]:
    return {"image": f.Image(shape=(None, None, 1)), "view": f.ClassLabel(names=VIEWS), **_said_features(f)}


def _study_features(f: Any) -> dict[str, Any]:
    return {"images": f.Sequence(f.Image(shape=(None, None, 1))), "views": f.Sequence(f.ClassLabel(names=VIEWS)), **_said_features(f)}


def table(folder: Path, name: str) -> Path:
    """A table of the release, gzipped as it comes, or unpacked."""
    path = folder / name
    return path if path.is_file() or not path.with_suffix("").is_file() else path.with_suffix("")


def _labels(folder: Path) -> Callable[[str], dict[str, list[int]]]:
    """A function from a study_id to its vectors of labels; the tables of NegBio and of the radiologists may be left out."""
    chexpert = {row["study_id"]: vectors(row) for row in rows(table(folder, CHEXPERT), ("study_id", *FINDINGS))}
    negbio = {row["study_id"]: vectors(row)["findings"] for row in rows(table(folder, NEGBIO), ("study_id", *FINDINGS))
              } if table(folder, NEGBIO).is_file() else {}
    columns = ("study_id", "Airspace Opacity", *(name for name in FINDINGS if name not in ("Lung Opacity", "No Finding")))
    expert = {row["study_id"]: vectors({**row, "Lung Opacity": row["Airspace Opacity"]})["findings"]
              for row in rows(folder / EXPERT, columns)} if (folder / EXPERT).is_file() else {}
    none = vectors(None)
    return lambda study: {**chexpert.get(study, none), "negbio": negbio.get(study, none["findings"]),
                          "expert": expert.get(study, none["findings"])}


def _metadata(folder: Path) -> tuple[dict[str, str], dict[str, int]]:
    """dicom_id -> its view; study_id -> its place, from 0, among the studies of its subject by date and time, then by its id."""
    views: dict[str, str] = {}
    times: dict[str, tuple[str, float, float]] = {}
    for row in rows(table(folder, METADATA), ("dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime")):
        date, time = (0.0 if row[name] in ABSENT else float(row[name]) for name in ("StudyDate", "StudyTime"))
        views[row["dicom_id"]] = row["ViewPosition"] if row["ViewPosition"] in VIEWS else "unknown"
        when = (row["subject_id"], date, time)
        times[row["study_id"]] = min(times.get(row["study_id"], when), when)
    orders: dict[str, int] = {}
    for _, studies in groupby(sorted(times, key=lambda study: (*times[study], study)), lambda study: times[study][0]):
        orders |= {study: n for n, study in enumerate(studies)}
    return views, orders


def _studies(folder: Path, split: str) -> Iterator[Study]:
    """The studies of a split, in the table's order."""
    views, orders = _metadata(folder)
    labels = _labels(folder)
    columns = ("dicom_id", "study_id", "subject_id", "split")
    cases = numbered(row["subject_id"] for row in rows(table(folder, SPLIT), columns))
    studies = numbered(row["study_id"] for row in rows(table(folder, SPLIT), columns))
    images: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for row in rows(table(folder, SPLIT), columns):
        if row["split"] == OFFICIAL[split]:
            named = (row["dicom_id"], views.get(row["dicom_id"], "unknown"))
            images.setdefault((row["subject_id"], row["study_id"]), []).append(named)
    for (subject, study), found in images.items():
        yield Study(subject, study, cases[subject], studies[study], orders.get(study, 0), found, labels(study))


def _by_image(folder: Path, split: str, views: tuple[str, ...] = VIEWS) -> Iterator[tuple[str, Any]]:
    store = open_first(folder, REPORTS)
    for study in _studies(folder, split):
        for image, view in study.images:
            if view in views:
                yield image, partial(_image, folder, store, study, image, view)


def _by_study(folder: Path, split: str) -> Iterator[tuple[str, Any]]:
    store = open_first(folder, REPORTS)
    for study in _studies(folder, split):
        yield study.study, partial(_study, folder, store, study)


def place(subject: str, study: str) -> str:
    """Where a study lies: its folder of images, and with .txt its report."""
    return f"files/p{subject[:2]}/p{subject}/s{study}"


def read_report(store: Any, subject: str, study: str) -> dict[str, str]:
    """The sections of a study's report (`reports.sections`). store: of the reports, opened. Raises FileNotFoundError, ValueError."""
    name = within(store, f"{place(subject, study)}.txt", ("", "mimic-cxr-reports/"))
    if name not in store:
        raise FileNotFoundError(f"builder: no report {name} in {store.path}; take mimic-cxr-reports.zip of MIMIC-CXR whole")
    return sections(store.read(name).decode("utf-8"))


def _said(store: Any, study: Study) -> dict[str, Any]:
    """What the report of a study and its labels tell."""
    report = read_report(store, study.subject, study.study)
    return {**{key: report.get(section, "") for key, section in SECTIONS.items()}, **study.labels, "case": study.case,
            "study": study.number, "order": study.order}


def _image(folder: Path, store: Any, study: Study, image: str, view: str) -> dict[str, Any]:
    path = folder / place(study.subject, study.study) / f"{image}.jpg"
    if not path.is_file():
        raise BadRow(f"builder: no file at {path}")
    return {"image": picture(path.read_bytes(), path.name, 1), "view": view, **_said(store, study)}


def _study(folder: Path, store: Any, study: Study) -> dict[str, Any]:
    """The images that are there, the frontal ones first. BadRow for a study without any."""
    home = folder / place(study.subject, study.study)
    there = [(path, view) for image, view in study.images if (path := home / f"{image}.jpg").is_file()]
    if not there:
        raise BadRow(f"builder: no image of a study in {home}")
    there.sort(key=lambda pair: pair[1] not in FRONTAL)
    return {"images": [picture(path.read_bytes(), path.name, 1) for path, _ in there], "views": [view for _, view in there],
            **_said(store, study)}


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
    manual="of MIMIC-CXR-JPG mimic-cxr-2.0.0-split.csv.gz, mimic-cxr-2.0.0-metadata.csv.gz, mimic-cxr-2.0.0-chexpert.csv.gz, if wanted "
           "mimic-cxr-2.0.0-negbio.csv.gz and mimic-cxr-2.1.0-test-set-labeled.csv, and files/; of MIMIC-CXR mimic-cxr-reports.zip, as it "
           "is, unpacked to mimic-cxr-reports/, or its texts beside the images. Images that are not there are left out.",
    layout="github.com/f10409/RadHarmony, docs/wiki/datasets/mimic_cxr_jpg.md; github.com/HKU-MedAI/MGCA, mgca/preprocess/mimic_cxr.py; "
           "github.com/mlmed/torchxrayvision, tests/gen_mimic.py")

_SAID = ("the sections of the report (mmrep.data.reports) and labels of it: `findings` by CheXpert's labeler, `negbio` by NegBio's, "
         "`expert` by radiologists (687 studies, where the table is there; their airspace opacity is Lung Opacity). 1 is present, 0 absent "
         "or not mentioned (`mentioned` tells the two apart for CheXpert's), -1 uncertain, all -2 where the table has no row. `order` is "
         "the study's place among the patient's. Official splits. To leave out what compares to an earlier study: "
         "mmrep.data.reports.without_priors.")
_NAMES = dict.fromkeys(("findings", "mentioned", "negbio", "expert"), FINDINGS)

MIMIC_CXR = Dataset(
    name="mimic_cxr", description=f"MIMIC-CXR-JPG 2.1, a record an image (377,110), with {_SAID}",
    features=_features, examples=_by_image, names=_NAMES,
    columns={"image": "image", "text": ["findings_text", "impression"], "label": {"findings": "findings"}, "group": "study",
             "case": "case"},
    **_ABOUT)

MIMIC_CXR_FRONTAL = MIMIC_CXR._replace(
    name="mimic_cxr_frontal",
    description=f"MIMIC-CXR-JPG 2.1, a record a frontal image (PA or AP), as MGCA and others train on, with {_SAID}",
    examples=partial(_by_image, views=FRONTAL))

MIMIC_CXR_STUDIES = Dataset(
    name="mimic_cxr_studies",
    description=f"MIMIC-CXR-JPG 2.1, a record a study (227,835) with all its images, frontal ones first, and {_SAID}",
    features=_study_features, examples=_by_study, names=_NAMES,
    columns={"image": "images", "text": ["findings_text", "impression"], "label": {"findings": "findings"}, "case": "case"}, **_ABOUT)
