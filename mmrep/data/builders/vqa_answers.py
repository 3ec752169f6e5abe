"""Questions and answers about pictures: SLAKE (radiology), PathVQA (pathology) and PMC-VQA (figures of papers)."""

import hashlib
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.layout import TRAIN_VAL, open_first, picture, read, rows, split_by_hash, within

SLAKE_FILES = {"train": ("train.json",), "val": ("validation.json", "validate.json"), "test": ("test.json",)}
SLAKE_TEXTS = ("question", "answer", "location", "modality", "content_type", "base_type")
PATH_FILES = {"train": "train", "val": "validation", "test": "test"}
LETTERS = ("A", "B", "C", "D")
PMC = ("Figure_path", "Caption", "Question", *(f"Choice {letter}" for letter in LETTERS), "Answer")


def _slake_features(f: Any) -> dict[str, Any]:
    return {"image": f.Image(shape=(None, None, 3)), **{name: f.Text() for name in SLAKE_TEXTS},
            "language": f.ClassLabel(names=("en", "zh")), "answer_type": f.ClassLabel(names=("OPEN", "CLOSED")), "case": np.int32}


def _slake(folder: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    store = open_first(folder, ("imgs", "imgs.zip"))
    table = next((path for name in SLAKE_FILES[split] if (path := folder / name).is_file()), folder / SLAKE_FILES[split][0])
    for row in json.loads(table.read_text("utf-8")):
        yield str(row["qid"]), partial(_slake_record, store, within(store, row["img_name"], ("", "imgs/")), row)


def _slake_record(store: Any, name: str, row: dict[str, Any]) -> dict[str, Any]:
    return {"image": picture(read(store, name), name, 3), **{key: str(row[key]).strip() for key in SLAKE_TEXTS},
            "language": row["q_lang"], "answer_type": row["answer_type"].strip().upper(), "case": int(row["img_id"])}


def _path_features(f: Any) -> dict[str, Any]:
    return {"image": f.Image(shape=(None, None, 3)), "question": f.Text(), "answer": f.Text(),
            "answer_type": f.ClassLabel(names=("OPEN", "CLOSED")), "case": np.int32}


def _path(folder: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The table names no picture: rows of the same bytes are of one case, numbered over all splits."""
    from pyarrow import parquet

    cases: dict[bytes, int] = {}
    for name, prefix in PATH_FILES.items():
        paths = sorted((folder / "data").glob(f"{prefix}-*.parquet"))
        if not paths:
            raise FileNotFoundError(f"builder: {folder / 'data'} holds no {prefix}-*.parquet")
        for path in paths:
            for number, row in enumerate(row for batch in parquet.ParquetFile(path).iter_batches(64) for row in batch.to_pylist()):
                data = row["image"]["bytes"]
                case = cases.setdefault(hashlib.sha256(data).digest(), len(cases))
                if name == split:
                    yield f"{path.name}_{number}", partial(_path_record, data, f"{path} row {number + 1}", row, case)


def _path_record(data: bytes, name: str, row: dict[str, Any], case: int) -> dict[str, Any]:
    closed = row["answer"].strip().lower() in ("yes", "no")
    return {"image": picture(data, name, 3), "question": row["question"], "answer": row["answer"],
            "answer_type": "CLOSED" if closed else "OPEN", "case": case}


def _pmc_features(f: Any) -> dict[str, Any]:
    return {"image": f.Image(shape=(None, None, 3)), "caption": f.Text(), "question": f.Text(),
            **{f"choice_{letter.lower()}": f.Text() for letter in LETTERS}, "answer": f.ClassLabel(names=LETTERS), "case": np.int32}


def _pmc(folder: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    store = open_first(folder, ("figures", "images_2.zip"))
    for number, row in enumerate(rows(folder / ("test_2.csv" if split == "test" else "train_2.csv"), PMC)):
        paper = row["Figure_path"].partition("_")[0]
        if split == "test" or split_by_hash(paper, TRAIN_VAL) == split:
            name = within(store, row["Figure_path"], ("", "figures/"))
            yield str(number), partial(_pmc_record, store, name, row, int(paper.removeprefix("PMC")))


def _pmc_record(store: Any, name: str, row: dict[str, str], case: int) -> dict[str, Any]:
    return {"image": picture(read(store, name), name, 3), "caption": row["Caption"], "question": row["Question"],
            **{f"choice_{letter.lower()}": row[f"Choice {letter}"] for letter in LETTERS}, "answer": row["Answer"], "case": case}


SLAKE = Dataset(
    name="slake",
    description="SLAKE 1.0: 14,028 questions in English and Chinese about 642 radiographs, CT and MR slices. Official splits, by "
                "question: 142 of the 180 pictures of test are in train, too, and 130 of the 174 of val. One answer (question 1622) is "
                "empty.",
    homepage="https://www.med-vqa.com/slake/",
    license="CC BY 4.0",
    citation="@inproceedings{liu2021slake, title={SLAKE: A Semantically-Labeled Knowledge-Enhanced Dataset for Medical Visual Question "
             "Answering}, author={Liu, Bo and Zhan, Li-Ming and Xu, Li and Ma, Lin and Yang, Yan and Wu, Xiao-Ming}, booktitle={ISBI}, "
             "pages={1650--1654}, year={2021}}",
    manual="train.json, validation.json (or validate.json), test.json, and imgs/ (or imgs.zip).",
    layout="https://huggingface.co/datasets/BoKelvin/SLAKE/tree/main; github.com/xiaoman-zhang/PMC-VQA, Slake1.0/train.json",
    features=_slake_features, examples=_slake,
    columns={"image": "image", "text": "question", "label": {"answer_type": "answer_type"}, "case": "case"})


PATH_VQA = Dataset(
    name="path_vqa",
    description="PathVQA: 32,632 questions about pictures of pathology textbooks and a library. Official splits, of the Parquet copy (the "
                "first release is pickled, which is not read).",
    homepage="https://github.com/UCSD-AI4H/PathVQA",
    license="MIT; the pictures' owners keep their copyright",
    citation="@article{he2020pathvqa, title={PathVQA: 30000+ Questions for Medical Visual Question Answering}, author={He, Xuehai and "
             "Zhang, Yichen and Mou, Luntian and Xing, Eric and Xie, Pengtao}, journal={arXiv:2003.10286}, year={2020}}",
    manual="data/train-*.parquet, data/validation-*.parquet and data/test-*.parquet.",
    layout="https://huggingface.co/datasets/flaviagiammarino/path-vqa/blob/main/README.md",
    features=_path_features, examples=_path,
    columns={"image": "image", "text": "question", "label": {"answer_type": "answer_type"}, "case": "case"})


PMC_VQA = Dataset(
    name="pmc_vqa",
    description="PMC-VQA, version 2 (figures without sub-figures): questions with four choices about figures of open-access papers. "
                "Official train and test; val is a tenth of the train papers by hash (layout.split_by_hash).",
    homepage="https://huggingface.co/datasets/RadGenome/PMC-VQA",
    license="not stated; each paper's own",
    citation="@article{zhang2023pmcvqa, title={PMC-VQA: Visual Instruction Tuning for Medical Visual Question Answering}, author={Zhang, "
             "Xiaoman and Wu, Chaoyi and Zhao, Ziheng and Lin, Weixiong and Zhang, Ya and Wang, Yanfeng and Xie, Weidi}, "
             "journal={arXiv:2305.10415}, year={2023}}",
    manual="train_2.csv, test_2.csv, and images_2.zip or its figures/.",
    layout="https://huggingface.co/datasets/RadGenome/PMC-VQA/tree/main; github.com/xiaoman-zhang/PMC-VQA, "
           "src/MedVInT_TD/Dataset/PMC_QA_Dataset.py",
    features=_pmc_features, examples=_pmc,
    columns={"image": "image", "text": "question", "label": {"answer": "answer"}, "case": "case"})
