"""MS-CXR: phrases of radiology reports and the boxes on MIMIC-CXR radiographs that they speak of."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.chest_xray import boxes
from mmrep.data.builders.layout import numbered, picture, rows

TABLE = "MS_CXR_Local_Alignment_v1.1.0.csv"
COLUMNS = ("category_name", "label_text", "path", "dicom_id", "x", "y", "w", "h", "image_width", "image_height", "split")
CATEGORIES = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Lung Opacity", "Pleural Effusion", "Pneumonia", "Pneumothorax")
MOST = 16  # boxes of a phrase


def _features(f: Any) -> dict[str, Any]:
    return {"image": f.Image(shape=(None, None, 1)), "phrase": f.Text(), "category": f.ClassLabel(names=CATEGORIES),
            "boxes": f.Tensor(shape=(MOST, 4), dtype=np.float32), "case": np.int32, "picture": np.int32}


def _examples(folder: Path, split: str) -> Iterator[tuple[str, Any]]:
    """A record a phrase of an image, of one category, with all its boxes."""
    phrases: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    for row in rows(folder / TABLE, COLUMNS):
        phrases.setdefault((row["dicom_id"], row["category_name"], row["label_text"]), []).append(row)
    if strange := {category for _, category, _ in phrases} - set(CATEGORIES):
        raise ValueError(f"builder: {folder / TABLE} has the category {sorted(strange)[0]!r}, which is none of the release")
    cases = numbered(sorted(_patient(found[0]["path"]) for found in phrases.values()))
    pictures = numbered(sorted(image for image, _, _ in phrases))
    for number, ((image, category, phrase), found) in enumerate(phrases.items()):
        if found[0]["split"] == split:
            yield str(number), partial(_record, folder, phrase, category, found, cases[_patient(found[0]["path"])], pictures[image])


def _patient(path: str) -> str:
    """p10000032 of files/p10/p10000032/s50414267/NAME.jpg."""
    return path.split("/")[-3]


def _record(folder: Path, phrase: str, category: str, found: list[dict[str, str]], case: int, number: int) -> dict[str, Any]:
    path = folder / found[0]["path"]
    corners = [(x, y, x + w, y + h) for x, y, w, h in (map(float, (row["x"], row["y"], row["w"], row["h"])) for row in found)]
    return {"image": picture(path.read_bytes(), path.name, 1), "phrase": phrase, "category": category,
            "boxes": boxes(corners, int(float(found[0]["image_height"])), int(float(found[0]["image_width"])), MOST), "case": case,
            "picture": number}


MS_CXR = Dataset(
    name="ms_cxr",
    description="MS-CXR 1.1.0: phrases of reports on eight findings, and the boxes that radiologists drew for each on the frontal "
                "radiograph of MIMIC-CXR. A record is a phrase and an image; `picture` numbers the images, `case` the patients. Splits of "
                "the release, which are others than those of MIMIC-CXR: leave its patients out of what a model is trained on.",
    homepage="https://physionet.org/content/ms-cxr/1.1.0/",
    license="PhysioNet Credentialed Health Data License 1.5.0",
    citation="@inproceedings{boecking2022making, title={Making the Most of Text Semantics to Improve Biomedical Vision-Language "
             "Processing}, author={Boecking, Benedikt and Usuyama, Naoto and Bannur, Shruthi and Castro, Daniel C and Schwaighofer, Anton "
             "and Hyland, Stephanie and Wetscherek, Maria and Naumann, Tristan and Nori, Aditya and Alvarez-Valle, Javier and others}, "
             "booktitle={ECCV}, year={2022}}",
    manual="MS_CXR_Local_Alignment_v1.1.0.csv, and files/p1x/... of MIMIC-CXR-JPG (the images that the table names suffice).",
    layout="github.com/PabloMessina/MedVQA, medvqa/datasets/ms_cxr/__init__.py",
    features=_features, examples=_examples,
    columns={"image": "image", "text": "phrase", "label": {"category": "category", "boxes": "boxes"}, "group": "picture", "case": "case"})
