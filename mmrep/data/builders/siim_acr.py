"""SIIM-ACR Pneumothorax Segmentation 2019: 12,047 chest radiographs with masks."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.chest_xray import BENCHX, listed, mask_feature, radiograph
from mmrep.data.builders.layout import numbered, rows

TABLES = ("stage_2_train.csv", "train-rle.csv")  # the first has the masks of stage 1's test part, too
FOLDERS = ("dicom-images-train", "dicom-images-test")
NAMES = ("stage_1_train_images.csv", "stage_1_test_images.csv")
SIDE = 1024  # of every image and mask


def _features(f: Any) -> dict[str, Any]:
    return {"image": f.Image(shape=(None, None, 1)), "pneumothorax": f.ClassLabel(names=("no", "yes")), "mask": mask_feature(f),
            "case": np.int32}


def relative_runs(text: str) -> np.ndarray:
    """u8[1024, 1024, 1] of a cell: pairs of pixels since the end of the last run and its length, down the columns, the left one first.

    Source: the competition's data page and mask_functions.py, as in torchxrayvision's SIIM_Pneumothorax_Dataset. Raises ValueError for an
    odd count, or runs that leave the image, as absolute starts would.
    """
    numbers = np.array(text.split(), np.int64)
    if not numbers.size or numbers.size % 2 or (numbers < 0).any() or numbers.sum() > SIDE * SIDE:
        raise ValueError(f"builder: a cell of {numbers.size} numbers is no relative run-length code of {SIDE}x{SIDE} pixels")
    flat = np.zeros(SIDE * SIDE, np.uint8)
    flat[:numbers.sum()] = np.repeat(np.arange(numbers.size) % 2, numbers)
    return np.ascontiguousarray(flat.reshape(SIDE, SIDE).T)[..., None]


def _examples(folder: Path, split: str) -> Iterator[tuple[str, Any]]:
    """Several rows of an image are several masks, of which the union is kept; images without a row have no label and are left out."""
    table = next((path for name in TABLES if (path := folder / name).is_file()), folder / TABLES[0])
    runs: dict[str, list[str]] = {}
    for row in rows(table, ("ImageId", "EncodedPixels")):
        runs.setdefault(row["ImageId"], []).extend([] if row["EncodedPixels"] == "-1" else [row["EncodedPixels"]])
    ids = {row["new_filename"].removesuffix(".png"): row["ImageId"]
           for name in NAMES for row in rows(folder / "benchx" / name, ("new_filename", "ImageId"))}
    files = {path.stem: path for name in FOLDERS for path in (folder / name).rglob("*.dcm")}
    cases = numbered(sorted(runs))
    for name in listed(folder, split, ids, " and ".join(NAMES)):
        image = ids[name]
        if image not in runs:
            raise ValueError(f"builder: {table} has no row of a {split} image; take {TABLES[0]}, which has those of stage 1's test part")
        yield image, partial(_record, files.get(image, folder / FOLDERS[0] / f"{image}.dcm"), runs[image], cases[image])


def _record(path: Path, runs: list[str], case: int) -> dict[str, Any]:
    image, height, width = radiograph(path, (0, 255))
    if (height, width) != (SIDE, SIDE):
        raise ValueError(f"builder: {path.name} is {height}x{width}, its mask {SIDE}x{SIDE}; take the competition's own files")
    mask = np.zeros((SIDE, SIDE, 1), np.uint8)
    for cell in runs:
        mask |= relative_runs(cell)
    return {"image": image, "pneumothorax": int(bool(runs)), "mask": mask, "case": case}


SIIM_ACR = Dataset(
    name="siim_acr",
    description="SIIM-ACR Pneumothorax Segmentation: 12,047 frontal radiographs of stage 1 (train and test), pneumothorax or not, and the "
                "union of an image's masks. Splits of BenchX: test is stage 1's, val as many of its train; train_10 and train_1 repeat a "
                "tenth and a hundredth of train. `case` counts images: the tables do not tell which are of one patient.",
    homepage="https://www.kaggle.com/competitions/siim-acr-pneumothorax-segmentation",
    license="competition rules of Kaggle: research and education",
    citation="@misc{zawacki2019siim, title={SIIM-ACR Pneumothorax Segmentation}, author={Zawacki, Anna and Wu, Carol and Shih, George and "
             "Elliott, Julia and Fomitchev, Mikhail and Hussain, Mohannad and Lakhani, Paras and Culliton, Phil and Bao, Shunxing}, "
             "publisher={Kaggle}, year={2019}}",
    manual="stage_2_train.csv (masks), dicom-images-train/ and dicom-images-test/ of stage 1, and in benchx/ {train,train_10,train_1,val,"
           "test}.txt of github.com/yangzhou12/BenchX, preprocess/datasets/SIIM, with the tables that translate their names, "
           "stage_1_train_images.csv and stage_1_test_images.csv of kaggle.com/datasets/vbookshelf/pneumothorax-chest-xray-images-and-"
           "masks.",
    layout="github.com/mlmed/torchxrayvision, torchxrayvision/datasets.py (SIIM_Pneumothorax_Dataset); github.com/prasadsawant5/"
           "kaggle-pneumothorax, README.md (relative runs); github.com/yangzhou12/BenchX, preprocess/datasets/SIIM/preprocess_siim.py",
    features=_features, examples=_examples, splits=BENCHX,
    columns={"image": "image", "label": {"pneumothorax": "pneumothorax"}, "mask/pneumothorax": "mask", "case": "case"})
