"""VinDr-CXR: 18,000 chest radiographs labeled by three radiologists each (test: by the consensus of five), with boxes."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.chest_xray import BENCHX, boxes, listed, radiograph
from mmrep.data.builders.layout import numbered, rows

FINDINGS = ("Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture", "Consolidation", "Edema",
            "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity", "Lung cavity", "Lung cyst", "Mediastinal shift",
            "Nodule/Mass", "Pleural effusion", "Pleural thickening", "Pneumothorax", "Pulmonary fibrosis", "Rib fracture", "Other lesion",
            "COPD", "Lung tumor", "Pneumonia", "Tuberculosis", "Other disease", "No finding")
# the classes of BenchX (and of torchxrayvision): boxed findings, alphabetical as there, where they are called Effusion, Lesion and so on
BENCHX_FINDINGS = ("Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Consolidation", "Pleural effusion", "ILD",
                   "Infiltration", "Other lesion", "Lung Opacity", "Nodule/Mass", "Pleural thickening", "Pneumothorax",
                   "Pulmonary fibrosis")
SPELLINGS = {"Other diseases": "Other disease"}  # of the train tables
PLACE = ("x_min", "y_min", "x_max", "y_max")
MOST = 128  # boxes on an image, of all its radiologists
Box = tuple[str, int, tuple[float, ...]]  # finding, radiologist, (left, top, right, bottom)


def _features(f: Any) -> dict[str, Any]:
    return {"image": f.Image(shape=(None, None, 1)),
            "findings": f.Tensor(shape=(len(FINDINGS),), dtype=np.int8), "any": f.Tensor(shape=(len(FINDINGS),), dtype=np.int8),
            "benchx": f.Tensor(shape=(len(BENCHX_FINDINGS),), dtype=np.int8), "boxes": f.Tensor(shape=(MOST, 4), dtype=np.float32),
            "box_finding": f.Tensor(shape=(MOST,), dtype=np.int32), "box_reader": f.Tensor(shape=(MOST,), dtype=np.int32),
            "case": np.int32}


def _votes(path: Path) -> dict[str, tuple[int, Counter]]:
    """{image: (rows of it, how many of them mark each finding)}."""
    votes: dict[str, tuple[int, Counter]] = {}
    for row in rows(path, ("image_id", *FINDINGS[:-2], "No finding")):
        count, marks = votes.get(row["image_id"], (0, Counter()))
        marks.update(name for cell, value in row.items() if (name := SPELLINGS.get(cell, cell)) in FINDINGS and value and float(value) > 0)
        votes[row["image_id"]] = count + 1, marks
    return votes


def _boxes(path: Path) -> dict[str, list[Box]]:
    """{image: its boxes}; of an image without any, []. The radiologist is the number in rad_id, 0 for the consensus."""
    found: dict[str, list[Box]] = {}
    for row in rows(path, ("image_id", "class_name", *PLACE)):
        here = found.setdefault(row["image_id"], [])
        if row["x_min"]:
            name = SPELLINGS.get(row["class_name"], row["class_name"])
            if name not in FINDINGS:
                raise ValueError(f"builder: {path} has the class {name!r}, which is none of the release")
            here.append((name, int(row.get("rad_id", "").lstrip("R") or 0), tuple(float(row[key]) for key in PLACE)))
    return found


def _examples(folder: Path, split: str) -> Iterator[tuple[str, Any]]:
    part = "test" if split == "test" else "train"
    votes, found = _votes(folder / f"annotations/image_labels_{part}.csv"), _boxes(folder / f"annotations/annotations_{part}.csv")
    cases = numbered(sorted(votes))
    first = 15_000 if part == "test" else 0  # numbers of test follow those of the 15,000 train images
    for name in listed(folder, split, votes, f"image_labels_{part}.csv"):
        yield name, partial(_record, folder / part / f"{name}.dicom", *votes[name], found.get(name, []), first + cases[name])


def _record(path: Path, readers: int, marks: Counter, found: list[Box], case: int) -> dict[str, Any]:
    image, height, width = radiograph(path)
    named = {name for name, _, _ in found}

    def padded(values: list[int]) -> np.ndarray:
        return np.array(values + [-1] * (MOST - len(values)), np.int32)

    return {"image": image, "findings": [int(2 * marks[name] > readers) for name in FINDINGS],
            "any": [int(marks[name] > 0) for name in FINDINGS], "benchx": [int(name in named) for name in BENCHX_FINDINGS],
            "boxes": boxes([place for _, _, place in found], height, width, MOST),
            "box_finding": padded([FINDINGS.index(name) for name, _, _ in found]), "box_reader": padded([who for _, who, _ in found]),
            "case": case}


VINDR_CXR = Dataset(
    name="vindr_cxr",
    description="VinDr-CXR: 18,000 frontal radiographs of two hospitals in Vietnam. `findings`: 28 findings and diseases that most of the "
                "image's three radiologists mark (test: the consensus of five), `any`: that one of them marks; `benchx`: 14 findings "
                "that one of them boxes, the labels of BenchX. All boxes are kept, with the finding and the radiologist's number (0: the "
                "consensus), none merged. Splits of BenchX: test is the official one, val 3,000 of train; train_10 and train_1 repeat a "
                "tenth and a hundredth of train. `case` counts images: the release does not tell which are of one patient.",
    homepage="https://physionet.org/content/vindr-cxr/1.0.0/",
    license="PhysioNet Credentialed Health Data License 1.5.0",
    citation="@article{nguyen2022vindr, title={VinDr-CXR: An open dataset of chest X-rays with radiologist's annotations}, author={Nguyen, "
             "Ha Q and Lam, Khanh and Le, Linh T and Pham, Hieu H and Tran, Dat Q and Nguyen, Dung B and Le, Dung D and Pham, Chi M and "
             "Tong, Hang TT and Dinh, Diep H and others}, journal={Scientific Data}, volume={9}, pages={429}, year={2022}, "
             "doi={10.1038/s41597-022-01498-w}}",
    manual="annotations/ (annotations_train.csv, annotations_test.csv, image_labels_train.csv, image_labels_test.csv), train/*.dicom, "
           "test/*.dicom, and benchx/{train,train_10,train_1,val,test}.txt of github.com/yangzhou12/BenchX, preprocess/datasets/VinDr_CXR.",
    layout="github.com/yangzhou12/BenchX, preprocess/datasets/VinDr_CXR/preprocess_vindr.py; github.com/Soombit-ai/cxr-clip, "
           "datasets/README.md; github.com/mlmed/torchxrayvision, torchxrayvision/datasets.py (VinBrain_Dataset)",
    features=_features, examples=_examples, splits=BENCHX, names={"findings": FINDINGS, "any": FINDINGS, "benchx": BENCHX_FINDINGS},
    columns={"image": "image", "label": {"findings": "findings", "boxes": "boxes"}, "case": "case"})
