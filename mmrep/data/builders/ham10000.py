"""HAM10000: 10,015 dermatoscopic pictures of pigmented skin lesions, with age, sex and site."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.layout import known, numbered, picture, rows, split_by_hash

DX = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
DX_TYPES = ("confocal", "consensus", "follow_up", "histo")
SEXES = ("female", "male", "unknown")
SITES = ("abdomen", "acral", "back", "chest", "ear", "face", "foot", "genital", "hand", "lower extremity", "neck", "scalp", "trunk",
         "unknown", "upper extremity")
COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
PARTS = ("HAM10000_images_part_1", "HAM10000_images_part_2")


def _features(f: Any) -> dict[str, Any]:
    return {"image": f.Image(shape=(None, None, 3)), "dx": f.ClassLabel(names=DX), "dx_type": f.ClassLabel(names=DX_TYPES),
            "sex": f.ClassLabel(names=SEXES), "localization": f.ClassLabel(names=SITES), "age": np.float32, "age_known": np.float32,
            "case": np.int32}


def _examples(folder: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    table = list(rows(folder / "HAM10000_metadata.csv", COLUMNS))
    cases = numbered(row["lesion_id"] for row in table)
    for row in table:
        if split_by_hash(row["lesion_id"]) == split:
            yield row["image_id"], partial(_record, folder, row, cases[row["lesion_id"]])


def _record(folder: Path, row: dict[str, str], case: int) -> dict[str, Any]:
    name = f"{row['image_id']}.jpg"
    part = next((part for part in PARTS if (folder / part / name).is_file()), PARTS[0])
    return {"image": picture((folder / part / name).read_bytes(), f"{part}/{name}", 3), "dx": row["dx"], "dx_type": row["dx_type"],
            "sex": row["sex"], "localization": row["localization"], **known("age", row["age"]), "case": case}


HAM10000 = Dataset(
    name="ham10000",
    description="10,015 dermatoscopic pictures of 7,470 pigmented skin lesions: seven diagnoses and how each was confirmed, age, sex, "
                "site. No official split: by a hash of the lesion (layout.split_by_hash), 70 % train, 10 % val, 20 % test.",
    homepage="https://doi.org/10.7910/DVN/DBW86T",
    license="CC BY-NC 4.0",
    citation="@article{tschandl2018ham10000, title={The HAM10000 dataset, a large collection of multi-source dermatoscopic images of "
             "common pigmented skin lesions}, author={Tschandl, Philipp and Rosendahl, Cliff and Kittler, Harald}, journal={Scientific "
             "Data}, volume={5}, pages={180161}, year={2018}, doi={10.1038/sdata.2018.161}}",
    manual="HAM10000_metadata.csv, HAM10000_images_part_1/ and HAM10000_images_part_2/.",
    layout="github.com/alexmagsam/3Screen-CNN, sample_data/skin-cancer-mnist/README.md (folders); "
           "github.com/yadavsidhant/skin-cancer-prediction, HAM10000_metadata.csv (the table)",
    features=_features, examples=_examples,
    columns={"image": "image", "label": {"dx": "dx"}, "tabular": ["age", "age_known"], "category": ["sex", "localization"], "case": "case"})
