"""COVIDx CXR-4: 84,818 chest radiographs, positive or negative for COVID-19."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.chest_xray import BENCHX, listed
from mmrep.data.builders.layout import numbered, open_first, picture


class Row(NamedTuple):
    """A line of the release's lists."""

    patient: str
    file: str
    kind: str
    source: str


def _features(f: Any) -> dict[str, Any]:
    return {"image": f.Image(shape=(None, None, 1)), "covid": f.ClassLabel(names=("negative", "positive")), "source": f.Text(),
            "case": np.int32}


def _rows(folder: Path, part: str) -> list[Row]:
    """Lines of PART.txt, of four words each: patient, file, class, data source."""
    path = folder / f"{part}.txt"
    if not path.is_file():
        raise FileNotFoundError(f"builder: no file at {path}; put the files where the builder's instructions say")
    found = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        words = line.strip().split(" ")
        if line.strip() and (len(words) != 4 or words[2] not in ("negative", "positive")):
            raise ValueError(f"builder: {path} line {number} is not patient, file, negative or positive, and source; download it again")
        found += [Row(*words)] if line.strip() else []
    return found


def short(row: Row) -> str:
    """The name of BenchX's lists: cut at the first dot, by which several files (CR.1.2...) come to be called alike."""
    return f"train/{row.file.split('.')[0]}.png"


def _chosen(folder: Path, split: str) -> list[Row]:
    """The rows of a split. Of a share of train, as many rows of a short name as its list has, the first of the release's."""
    if split in ("train", "val", "test"):
        return _rows(folder, split)
    train = _rows(folder, "train")
    wanted = Counter(listed(folder, split, {short(row) for row in train}, "train.txt"))
    found = []
    for row in train:
        if wanted[short(row)]:
            wanted[short(row)] -= 1
            found.append(row)
    return found


def _examples(folder: Path, split: str) -> Iterator[tuple[str, Any]]:
    cases = numbered(row.patient for part in ("train", "val", "test") for row in _rows(folder, part))
    part = "train" if split.startswith("train") else split
    store = open_first(folder, (part, f"{part}.zip"))
    for row in _chosen(folder, split):
        yield row.file, partial(_record, store, row, cases[row.patient])


def _record(store: Any, row: Row, case: int) -> dict[str, Any]:
    return {"image": picture(store.read(row.file), row.file, 1), "covid": row.kind, "source": row.source, "case": case}


COVIDX = Dataset(
    name="covidx",
    description="COVIDx CXR-4 (version 9 of the Kaggle set): 84,818 radiographs of 45,342 patients from several sources, which `source` "
                "names: a shortcut to the label, for the sources differ in it. Official splits, one row more each than BenchX's, which "
                "reads the first as a header; train_10 and train_1 repeat the rows of BenchX's tenth and hundredth of train (where "
                "several files have one short name there, the first of them).",
    homepage="https://www.kaggle.com/datasets/andyczhao/covidx-cxr2",
    license="of the sources that it collects, non-commercial in part",
    citation="@article{wu2023covidx, title={COVIDx CXR-4: An Expanded Multi-Institutional Open-Source Benchmark Dataset for Chest X-ray "
             "Image-Based Computer-Aided COVID-19 Diagnostics}, author={Wu, Yifan and Gunraj, Hayden and Tai, Chi-en Amy and Wong, "
             "Alexander}, journal={arXiv:2311.17677}, year={2023}}",
    manual="train.txt, val.txt, test.txt, train/, val/, test/, and benchx/{train_10,train_1}.txt of github.com/yangzhou12/BenchX, "
           "preprocess/datasets/COVIDx.",
    layout="github.com/yangzhou12/BenchX, preprocess/datasets/COVIDx/preprocess_covidx.py; github.com/HKU-MedAI/MGCA, "
           "mgca/preprocess/covidx.py",
    features=_features, examples=_examples, splits=BENCHX,
    columns={"image": "image", "label": {"covid": "covid"}, "case": "case"})
