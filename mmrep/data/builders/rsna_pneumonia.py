"""RSNA Pneumonia Detection Challenge 2018, stage 2: 26,684 chest radiographs with boxes around opacities."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.chest_xray import BENCHX, box_mask, boxes, listed, mask_feature, radiograph
from mmrep.data.builders.layout import numbered, rows

LABELS = ("patientId", "x", "y", "width", "height", "Target")
KINDS = ("Normal", "No Lung Opacity / Not Normal", "Lung Opacity")
MOST = 8  # boxes on an image; the release has four at most
Corners = tuple[float, float, float, float]


def _features(f: Any) -> dict[str, Any]:
    return {"image": f.Image(shape=(None, None, 1)), "pneumonia": f.ClassLabel(names=("no", "yes")), "kind": f.ClassLabel(names=KINDS),
            "boxes": f.Tensor(shape=(MOST, 4), dtype=np.float32), "mask": mask_feature(f), "case": np.int32}


def _examples(folder: Path, split: str) -> Iterator[tuple[str, Any]]:
    corners: dict[str, list[Corners]] = {}
    for row in rows(folder / "stage_2_train_labels.csv", LABELS):
        found = corners.setdefault(row["patientId"], [])
        if row["Target"] == "1":
            x, y, width, height = (float(row[name]) for name in LABELS[1:5])
            found.append((x, y, x + width, y + height))
    kinds = {row["patientId"]: row["class"] for row in rows(folder / "stage_2_detailed_class_info.csv", ("patientId", "class"))}
    cases = numbered(sorted(corners))
    for name in listed(folder, split, corners, "stage_2_train_labels.csv"):
        if kinds.get(name) not in KINDS:
            raise ValueError(f"builder: stage_2_detailed_class_info.csv has the class {kinds.get(name)!r} for an image, none of its three")
        yield name, partial(_record, folder / "stage_2_train_images" / f"{name}.dcm", corners[name], kinds[name], cases[name])


def _record(path: Path, corners: list[Corners], kind: str, case: int) -> dict[str, Any]:
    image, height, width = radiograph(path, (0, 255))
    found = boxes(corners, height, width, MOST)
    return {"image": image, "pneumonia": int(bool(corners)), "kind": kind, "boxes": found, "mask": box_mask(found, height, width),
            "case": case}


RSNA_PNEUMONIA = Dataset(
    name="rsna_pneumonia",
    description="RSNA Pneumonia Detection Challenge, stage 2: the 26,684 frontal radiographs of its training part (labels of the other "
                "were never published), pneumonia or not, which of three kinds, and boxes around opacities; the mask is their union. "
                "Splits of BenchX; train_10 and train_1 repeat a tenth and a hundredth of train. `case` counts images: the release does "
                "not tell which are of one patient.",
    homepage="https://www.kaggle.com/competitions/rsna-pneumonia-detection-challenge",
    license="competition rules of Kaggle: research and education",
    citation="@article{shih2019augmenting, title={Augmenting the National Institutes of Health Chest Radiograph Dataset with Expert "
             "Annotations of Possible Pneumonia}, author={Shih, George and Wu, Carol C and Halabi, Safwan S and Kohli, Marc D and "
             "Prevedello, Luciano M and Cook, Tessa S and Sharma, Arjun and Amorosa, Judith K and Arteaga, Veronica and others}, "
             "journal={Radiology: Artificial Intelligence}, volume={1}, number={1}, pages={e180041}, year={2019}}",
    manual="stage_2_train_labels.csv, stage_2_detailed_class_info.csv, stage_2_train_images/*.dcm, and benchx/{train,train_10,train_1,val,"
           "test}.txt of github.com/yangzhou12/BenchX, preprocess/datasets/RSNA.",
    layout="github.com/yangzhou12/BenchX, preprocess/datasets/RSNA/preprocess_rsna.py; github.com/marshuang80/gloria, "
           "gloria/datasets/preprocess_datasets.py; github.com/mlmed/torchxrayvision, torchxrayvision/datasets.py (RSNA_Pneumonia_Dataset)",
    features=_features, examples=_examples, splits=BENCHX,
    columns={"image": "image", "label": {"pneumonia": "pneumonia", "kind": "kind", "boxes": "boxes"}, "mask/pneumonia": "mask",
             "case": "case"})
