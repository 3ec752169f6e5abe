"""MedPix 2.0: 2,050 CT and MR pictures of 671 clinical cases, with captions and the case's report."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.layout import known, numbered, open_first, picture, read

FILES = {"train": (("descriptions_train.jsonl",), ("descriptions_train_1.jsonl", "descriptions_train_2.jsonl")),
         "val": (("descriptions_dev.jsonl",),), "test": (("descriptions_test.jsonl",),)}
PLACES = ("Head", "Thorax", "Abdomen", "Spine and Muscles", "Reproductive and Urinary System")
CASE = {"title": "Title", "history": "History", "findings": "Findings", "diagnosis": "Case Diagnosis",
        "differential": "Differential Diagnosis"}
SEXES = ("female", "male", "unknown")


def _features(f: Any) -> dict[str, Any]:
    return {"image": f.Image(shape=(None, None, 3)), "caption": f.Text(), "modality": f.ClassLabel(names=("CT", "MR")),
            "location": f.ClassLabel(names=PLACES), "plane": f.Text(), **{name: f.Text() for name in CASE}, "age": np.float32,
            "age_known": np.float32, "sex": f.ClassLabel(names=SEXES), "case": np.int32}


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError:
                raise ValueError(f"builder: {path} line {number} is no JSON; download it again") from None


def _described(folder: Path, split: str) -> list[dict[str, Any]]:
    """The images of a split, from one file or from its halves."""
    place = folder / "splitted_dataset"
    files = next((names for names in FILES[split] if all((place / name).is_file() for name in names)), None)
    if files is None:
        raise FileNotFoundError(f"builder: no file at {place / FILES[split][0][0]}")
    return [row for name in files for row in _lines(place / name)]


def _examples(folder: Path, split: str) -> Iterator[tuple[str, Any]]:
    store = open_first(folder, ("images", "images.zip"))
    topics = folder / "Case_topic.json"
    if not topics.is_file():
        raise FileNotFoundError(f"builder: no file at {topics}")
    about = {row["U_id"]: row.get("Case") or {} for row in json.loads(topics.read_text("utf-8"))}
    cases = numbered(sorted(row["U_id"] for name in FILES for row in _described(folder, name)))
    for row in _described(folder, split):
        yield row["image"], partial(_record, store, row, about.get(row["U_id"], {}), cases[row["U_id"]])


def _record(store: Any, row: dict[str, Any], about: dict[str, Any], case: int) -> dict[str, Any]:
    name = f"{row['image']}.png"
    said = row["Description"]
    age, sex = str(said.get("Age") or ""), str(said.get("Sex") or "")
    return {"image": picture(read(store, name), name, 3), "caption": str(said.get("Caption") or "").strip(), "modality": row["Type"],
            "location": row["Location Category"], "plane": str(said.get("Plane") or ""),
            **{key: str(about.get(of) or "").strip() for key, of in CASE.items()}, **known("age", age if age.isdigit() else ""),
            "sex": sex if sex in SEXES else "unknown", "case": case}


MEDPIX2 = Dataset(
    name="medpix2",
    description="MedPix 2.0: 2,050 CT and MR pictures of 671 cases in its official splits, which no case crosses, with a caption each and "
                "the case's history, findings and diagnosis. Pictures of a case often share a caption, about a hundred captions are a "
                "template or a word or two, and 19 pictures are in VQA-RAD, too.",
    homepage="https://github.com/CHILab1/MedPix-2.0",
    license="not stated",
    citation="@article{siragusa2025medpix20comprehensivemultimodal, title={MedPix 2.0: A Comprehensive Multimodal Biomedical Data set for "
             "Advanced AI Applications with Retrieval Augmented Generation and Knowledge Graphs}, author={Irene Siragusa and Salvatore "
             "Contino and Massimo La Ciura and Rosario Alicata and Roberto Pirrone}, journal={Data Science and Engineering}, "
             "pages={1--17}, year={2025}, publisher={Springer}, doi={10.1007/s41019-025-00297-8}}",
    manual="images/, Case_topic.json and splitted_dataset/ of the repository's MedPix-2-0/; images that are not there are left out.",
    layout="github.com/CHILab1/MedPix-2.0, MedPix-2-0/README.md and splitted_dataset/",
    features=_features, examples=_examples,
    columns={"image": "image", "text": "caption", "label": {"modality": "modality", "location": "location"}, "case": "case"})
