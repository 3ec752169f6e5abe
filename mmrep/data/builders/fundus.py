"""Fundus photographs: ODIR-5K (both eyes, doctors' keywords) and EyePACS (grades of diabetic retinopathy)."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.layout import open_first, picture, read, rows, split_by_hash

FINDINGS = ("N", "D", "G", "C", "A", "H", "M", "O")
ODIR_COLUMNS = ("ID", "Patient Age", "Patient Sex", "Left-Fundus", "Right-Fundus", "Left-Diagnostic Keywords",
                "Right-Diagnostic Keywords", *FINDINGS)
ODIR_PICTURES = ("ODIR-5K/Training Images", "ODIR-5K/ODIR-5K/Training Images", "preprocessed_images")
EYES = ("left", "right")
USAGE = {"val": "Public", "test": "Private"}  # of the competition's leaderboard


def _odir_features(f: Any) -> dict[str, Any]:
    return {"image": f.Image(shape=(None, None, 3)), "keywords": f.Text(), "eye": f.ClassLabel(names=EYES),
            "sex": f.ClassLabel(names=("female", "male")), "age": np.float32,
            "findings": f.Tensor(shape=(len(FINDINGS),), dtype=np.int8),
            "case": np.int32}


def _odir(folder: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    store, seen = open_first(folder, ODIR_PICTURES), set()
    for row in rows(folder / "full_df.csv", ODIR_COLUMNS):
        if row["ID"] in seen or split_by_hash(row["ID"]) != split:
            continue  # a row an eye, each with the cells of both eyes
        seen.add(row["ID"])
        for eye in EYES:
            name = row[f"{eye.title()}-Fundus"]
            yield name, partial(_odir_record, store, row, eye)  # preprocessed_images lacks some


def _odir_record(store: Any, row: dict[str, str], eye: str) -> dict[str, Any]:
    name = row[f"{eye.title()}-Fundus"]
    return {"image": picture(read(store, name), name, 3), "eye": eye,
            "keywords": row[f"{eye.title()}-Diagnostic Keywords"].replace("\uff0c", ", "), "sex": row["Patient Sex"].lower(),
            "age": float(row["Patient Age"]), "findings": [int(row[finding]) for finding in FINDINGS], "case": int(row["ID"])}


def _eyepacs_features(f: Any) -> dict[str, Any]:
    return {"image": f.Image(shape=(None, None, 3)), "level": f.ClassLabel(num_classes=5), "eye": f.ClassLabel(names=EYES),
            "case": np.int32}


def _eyepacs(folder: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    train = split == "train"
    store = open_first(folder, ("train" if train else "test",))
    table = folder / ("trainLabels.csv" if train else "retinopathy_solution.csv")
    for row in rows(table, ("image", "level") if train else ("image", "level", "Usage")):
        if train or row["Usage"] == USAGE[split]:
            yield row["image"], partial(_eyepacs_record, store, row)


def _eyepacs_record(store: Any, row: dict[str, str]) -> dict[str, Any]:
    patient, _, eye = row["image"].partition("_")
    name = f"{row['image']}.jpeg"
    return {"image": picture(read(store, name), name, 3), "level": int(row["level"]), "eye": eye, "case": int(patient)}


ODIR = Dataset(
    name="odir",
    description="ODIR-5K: color fundus photographs of both eyes of the patients of the training part, with doctors' keywords an eye and "
                "eight findings a patient (N normal, D diabetes, G glaucoma, C cataract, A age-related macular degeneration, H "
                "hypertension, M myopia, O other), age, sex. The labels of the test parts are not public: split by a hash of the patient "
                "(layout.split_by_hash), 70 % train, 10 % val, 20 % test.",
    homepage="https://odir2019.grand-challenge.org",
    license="not stated",
    citation="@misc{odir2019, title={Peking University International Competition on Ocular Disease Intelligent Recognition (ODIR-2019)}, "
             "howpublished={https://odir2019.grand-challenge.org}, year={2019}}",
    manual="full_df.csv (or the release's ODIR-5K_Training_Annotations(Updated)_V2.xlsx, saved under that name as CSV), and the pictures "
           "in preprocessed_images/ or ODIR-5K/Training Images/.",
    layout="github.com/MinsuChae/Ocular-Disease-Recognition and github.com/adblackx/ODR, full_df.csv (copies of the table, whose columns "
           "the two share in part)",
    features=_odir_features, examples=_odir,
    columns={"image": "image", "text": "keywords", "label": {"findings": "findings"}, "tabular": ["age"], "category": ["sex", "eye"],
             "case": "case"})


EYEPACS = Dataset(
    name="eyepacs",
    description="EyePACS (Kaggle 2015): 88,702 fundus photographs, grade of diabetic retinopathy 0 to 4. Official parts: train; val is "
                "the public leaderboard, test the private one, as in TFDS.",
    homepage="https://www.kaggle.com/c/diabetic-retinopathy-detection/data",
    license="the competition's rules",
    citation="@misc{eyepacs2015, title={Diabetic Retinopathy Detection}, author={{EyePACS} and {Kaggle}}, "
             "howpublished={https://www.kaggle.com/c/diabetic-retinopathy-detection}, year={2015}}",
    manual="trainLabels.csv, retinopathy_solution.csv, train/*.jpeg and test/*.jpeg.",
    layout="github.com/tensorflow/datasets, tensorflow_datasets/image_classification/diabetic_retinopathy_detection.py",
    features=_eyepacs_features, examples=_eyepacs,
    columns={"image": "image", "label": {"level": "level"}, "case": "case"})
