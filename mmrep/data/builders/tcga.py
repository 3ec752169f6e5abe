"""TCGA multi-omics with survival, in the tables of MCAT: RNA expression, copy numbers and mutations of one cancer's patients."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.layout import ABSENT, known, numbered, rows, split_by_hash

COLUMNS = ("case_id", "slide_id", "site", "is_female", "oncotree_code", "age", "survival_months", "censorship")
OMICS = ("rnaseq", "cnv", "mut")


def _features(f: Any) -> dict[str, Any]:
    return {**{name: f.Tensor(shape=(None,), dtype=np.float32) for name in OMICS}, "age": np.float32, "age_known": np.float32,
            "female": f.ClassLabel(num_classes=2), "months": np.float32, "event": f.ClassLabel(names=("censored", "death")),
            "oncotree": f.Text(), "fold": np.int32, "case": np.int32}


def _folds(folder: Path, cancer: str) -> dict[str, int]:
    """case -> the fold of MCAT's five that validates on it; -1 for the others (the splits need not be there)."""
    folds: dict[str, int] = {}
    for fold in range(5):
        path = folder / "splits" / "5foldcv" / cancer / f"splits_{fold}.csv"
        if path.is_file():
            folds |= {row["val"]: fold for row in rows(path, ("train", "val")) if row["val"]}
    return folds


def _examples(folder: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """One row a patient, the first of his slides'; a missing value is 0, the mean of the z-scores that the table holds."""
    tables = sorted(folder.glob("tcga_*_all_clean.csv*"))
    if len(tables) != 1:
        raise FileNotFoundError(f"builder: {folder} must hold one tcga_<cancer>_all_clean.csv.zip, it holds {len(tables)}; prepare one "
                                "cancer at a time")
    folds = _folds(folder, re.match(r"(tcga_\w+)_all_clean", tables[0].name).group(1))
    cases = numbered(row["case_id"] for row in rows(tables[0], COLUMNS))
    seen: set[str] = set()
    for row in rows(tables[0], COLUMNS):
        case = row["case_id"]
        if case in seen or split_by_hash(case) != split:
            continue
        seen.add(case)
        omics = {name: np.array([0.0 if cell in ABSENT else float(cell) for key, cell in row.items() if key.endswith(f"_{name}")],
                                np.float32) for name in OMICS}
        yield case, {**omics, **known("age", row["age"]), "female": int(float(row["is_female"])), "months": float(row["survival_months"]),
                     "event": 1 - int(float(row["censorship"])), "oncotree": row["oncotree_code"], "fold": folds.get(case, -1),
                     "case": cases[case]}


TCGA = Dataset(
    name="tcga",
    description="TCGA multi-omics of one cancer as MCAT gives them: RNA expression, copy numbers and mutations (those that its table has) "
                "of a patient, as z-scores of which a few exceed 1,000, age, sex, months to death or last contact. MCAT's five folds have "
                "no test: split by a hash of the patient (layout.split_by_hash), 70 % train, 10 % val, 20 % test, and the fold that "
                "validates on the patient kept as `fold`.",
    homepage="https://github.com/mahmoodlab/MCAT",
    license="TCGA open tier; the tables GPL-3.0",
    citation="@inproceedings{chen2021mcat, title={Multimodal Co-Attention Transformer for Survival Prediction in Gigapixel Whole Slide "
             "Images}, author={Chen, Richard J and Lu, Ming Y and Weng, Wei-Hung and Chen, Tiffany Y and Williamson, Drew FK and Manz, "
             "Trevor and Shady, Maha and Mahmood, Faisal}, booktitle={ICCV}, pages={4015--4025}, year={2021}}",
    manual="one tcga_<cancer>_all_clean.csv.zip of datasets_csv_sig/, and splits/5foldcv/tcga_<cancer>/; another folder, and another "
           "data_dir, a cancer.",
    layout="github.com/mahmoodlab/MCAT, docs/README.md, datasets/dataset_survival.py and datasets_csv_sig/",
    features=_features, examples=_examples,
    columns={"features": "rnaseq", "label": {"event": "event", "months": "months"}, "tabular": ["age", "age_known"], "category": ["female"],
             "case": "case"})
