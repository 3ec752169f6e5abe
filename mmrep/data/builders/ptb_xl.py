"""PTB-XL: 21,799 ten-second 12-lead ECGs of 18,869 patients with reports and SCP-ECG statements, at 500 and at 100 Hz."""

import ast
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.layout import known, numbered, rows
from mmrep.data.medical.ecg import read_wfdb
from mmrep.data.sources import BadRow

COLUMNS = ("ecg_id", "patient_id", "age", "sex", "report", "scp_codes", "strat_fold", "filename_lr", "filename_hr")
STATEMENTS = ("", "diagnostic", "form", "rhythm", "diagnostic_class")
SUPERCLASSES = ("CD", "HYP", "MI", "NORM", "STTC")
DIAGNOSTIC = (
    "1AVB", "2AVB", "3AVB", "ALMI", "AMI", "ANEUR", "ASMI", "CLBBB", "CRBBB", "DIG", "EL", "ILBBB", "ILMI", "IMI", "INJAL", "INJAS",
    "INJIL", "INJIN", "INJLA", "IPLMI", "IPMI", "IRBBB", "ISCAL", "ISCAN", "ISCAS", "ISCIL", "ISCIN", "ISCLA", "ISC_", "IVCD", "LAFB",
    "LAO/LAE", "LMI", "LNGQT", "LPFB", "LVH", "NDT", "NORM", "NST_", "PMI", "RAO/RAE", "RVH", "SEHYP", "WPW")
FORM = ("ABQRS", "DIG", "HVOLT", "INVT", "LNGQT", "LOWT", "LPR", "LVOLT", "NDT", "NST_", "NT_", "PAC", "PRC(S)", "PVC", "QWAVE", "STD_",
        "STE_", "TAB_", "VCLVH")
RHYTHM = ("AFIB", "AFLT", "BIGU", "PACE", "PSVT", "SARRH", "SBRAD", "SR", "STACH", "SVARR", "SVTAC", "TRIGU")
TASKS = {"superclass": SUPERCLASSES, "diagnostic": DIAGNOSTIC, "form": FORM, "rhythm": RHYTHM}
FOLDS = {"train": range(1, 9), "val": (9,), "test": (10,)}
OLDEST = 300.0  # what is written for an age above 89


def _features(f: Any) -> dict[str, Any]:
    return {"signal": f.Tensor(shape=(None, 12), dtype=np.float32, encoding="zlib"), "report": f.Text(),
            **{name: f.Tensor(shape=(len(codes),), dtype=np.int8) for name, codes in TASKS.items()}, "age": np.float32,
            "age_known": np.float32, "sex": f.ClassLabel(names=("male", "female")), "case": np.int32}


def _examples(folder: Path, split: str, rate: int) -> Iterator[tuple[str, Any]]:
    classes = {row[""]: row["diagnostic_class"] for row in rows(folder / "scp_statements.csv", STATEMENTS)}
    cases = numbered(row["patient_id"] for row in rows(folder / "ptbxl_database.csv", COLUMNS))
    for row in rows(folder / "ptbxl_database.csv", COLUMNS):
        if int(float(row["strat_fold"])) in FOLDS[split]:
            yield row["ecg_id"], partial(_record, folder, row, classes, cases[row["patient_id"]], rate)


def _record(folder: Path, row: dict[str, str], classes: dict[str, str], case: int, rate: int) -> dict[str, Any]:
    """A statement counts whatever its likelihood, as in the benchmark. BadRow where the record's files are not there."""
    try:
        codes = set(ast.literal_eval(row["scp_codes"]))
    except (ValueError, SyntaxError):
        raise ValueError(f"builder: ptbxl_database.csv: ECG {row['ecg_id']} has statements that are no dict; download it again") from None
    if strange := codes - {*DIAGNOSTIC, *FORM, *RHYTHM}:
        raise ValueError(f"builder: ptbxl_database.csv: ECG {row['ecg_id']} has the statement {sorted(strange)[0]!r}, which is not known")
    path = folder / row["filename_hr" if rate == 500 else "filename_lr"]
    if not path.with_suffix(".hea").is_file():
        raise BadRow(f"builder: no record at {path}")
    signal, about = read_wfdb(path)
    if round(about["rate"]) != rate:
        raise ValueError(f"builder: {path.name} has {about['rate']} Hz, not {rate}")
    found = {classes.get(code, "") for code in codes if code in DIAGNOSTIC}
    age = row["age"] if row["age"] and float(row["age"]) < OLDEST else "90" if row["age"] else ""
    return {"signal": signal, "report": row["report"], "superclass": [int(name in found) for name in SUPERCLASSES],
            **{name: [int(code in codes) for code in TASKS[name]] for name in ("diagnostic", "form", "rhythm")}, **known("age", age),
            "sex": int(float(row["sex"])), "case": case}


def _dataset(rate: int) -> Dataset:
    return Dataset(
        name="ptb_xl" if rate == 500 else f"ptb_xl_{rate}",
        description=f"PTB-XL 1.0.3: 21,799 ten-second 12-lead ECGs at {rate} Hz with the report (mostly German) and SCP-ECG statements, as "
                    "the tasks superclass (5), diagnostic (44), form (19) and rhythm (12) of its benchmark: 1 or 0, whatever the "
                    "likelihood; an ECG without a statement of a task has zeros there, where the benchmark leaves it out. Folds 1 to 8 "
                    "train, 9 val, 10 test. An age above 89, written as 300, is 90.",
        homepage="https://physionet.org/content/ptb-xl/1.0.3/",
        license="CC BY 4.0",
        citation="@article{wagner2020ptbxl, title={PTB-XL, a large publicly available electrocardiography dataset}, author={Wagner, "
                 "Patrick and Strodthoff, Nils and Bousseljot, Ralf-Dieter and Kreiseler, Dieter and Lunze, Fatima I and Samek, Wojciech "
                 "and Schaeffter, Tobias}, journal={Scientific Data}, volume={7}, number={1}, pages={154}, year={2020}}",
        manual=f"ptbxl_database.csv, scp_statements.csv and records{rate}/; ECGs without their files are left out.",
        layout="github.com/helme/ecg_ptbxl_benchmarking, code/utils/utils.py; github.com/hhi-aml/xai4ecg, code/utils.py (statements)",
        features=_features, examples=partial(_examples, rate=rate), names=TASKS,
        columns={"signal": "signal", "text": "report", "label": {name: name for name in TASKS}, "case": "case"})


PTB_XL, PTB_XL_100 = _dataset(500), _dataset(100)
