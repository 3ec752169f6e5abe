"""MIMIC-IV hospital admissions: demographics, the first laboratory values, and death in hospital."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.layout import known, numbered, rows, split_by_hash

LABS = {  # itemid: name; mimic-code, mimic-iv/concepts/measurement/{chemistry,complete_blood_count}.sql
    "50862": "albumin", "50868": "aniongap", "50882": "bicarbonate", "51006": "bun", "50893": "calcium", "50902": "chloride",
    "50912": "creatinine", "50931": "glucose", "50983": "sodium", "50971": "potassium", "51221": "hematocrit", "51222": "hemoglobin",
    "51248": "mch", "51249": "mchc", "51250": "mcv", "51265": "platelet", "51279": "rbc", "51277": "rdw", "51301": "wbc"}
PATIENTS = ("subject_id", "gender", "anchor_age", "anchor_year")
ADMISSIONS = ("subject_id", "hadm_id", "admittime", "dischtime", "admission_type", "insurance", "hospital_expire_flag")
EVENTS = ("hadm_id", "itemid", "charttime", "valuenum")
TYPES = ("AMBULATORY OBSERVATION", "DIRECT EMER.", "DIRECT OBSERVATION", "ELECTIVE", "EU OBSERVATION", "EW EMER.", "OBSERVATION ADMIT",
         "SURGICAL SAME DAY ADMISSION", "URGENT", "other")
INSURANCES = ("Medicaid", "Medicare", "No charge", "Other", "Private", "unknown")
FIRST = timedelta(hours=24)


def _features(f: Any) -> dict[str, Any]:
    labs = {key: np.float32 for name in LABS.values() for key in (name, f"{name}_known")}
    return {"age": np.float32, **labs, "gender": f.ClassLabel(names=("F", "M")), "admission_type": f.ClassLabel(names=TYPES),
            "insurance": f.ClassLabel(names=INSURANCES), "died": f.ClassLabel(names=("no", "yes")), "days": np.float32, "case": np.int32}


def _labs(folder: Path, begins: dict[str, datetime]) -> dict[str, dict[str, tuple[datetime, str]]]:
    """{admission: {lab: (time, value)}}: the first of each within 24 hours of admission; the table of 10^8 rows is read as a stream."""
    first: dict[str, dict[str, tuple[datetime, str]]] = {}
    for row in rows(folder / "hosp" / "labevents.csv.gz", EVENTS):
        if row["itemid"] in LABS and row["valuenum"] and (begin := begins.get(row["hadm_id"])) is not None:
            name, at = LABS[row["itemid"]], datetime.fromisoformat(row["charttime"])
            if begin <= at <= begin + FIRST and float(row["valuenum"]) > 0:  # mimic-code: a value cannot be 0 or negative
                kept = first.setdefault(row["hadm_id"], {})
                if name not in kept or at < kept[name][0]:
                    kept[name] = (at, row["valuenum"])
    return first


def _examples(folder: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    patients = {row["subject_id"]: row for row in rows(folder / "hosp" / "patients.csv.gz", PATIENTS)}
    cases = numbered(patients)
    here = [row for row in rows(folder / "hosp" / "admissions.csv.gz", ADMISSIONS) if split_by_hash(row["subject_id"]) == split]
    begins = {row["hadm_id"]: datetime.fromisoformat(row["admittime"]) for row in here}
    labs = _labs(folder, begins)
    for row in here:
        patient, begin = patients[row["subject_id"]], begins[row["hadm_id"]]
        values = {name: value for name, (_, value) in labs.get(row["hadm_id"], {}).items()}
        yield row["hadm_id"], {
            "age": float(patient["anchor_age"]) + begin.year - int(patient["anchor_year"]),
            **{key: value for name in LABS.values() for key, value in known(name, values.get(name, "")).items()},
            "gender": patient["gender"], "admission_type": row["admission_type"] if row["admission_type"] in TYPES else "other",
            "insurance": row["insurance"] if row["insurance"] in INSURANCES else "unknown",
            "died": "yes" if row["hospital_expire_flag"] == "1" else "no",
            "days": (datetime.fromisoformat(row["dischtime"]) - begin).total_seconds() / 86400, "case": cases[row["subject_id"]]}


MIMIC_IV = Dataset(
    name="mimic_iv",
    description="MIMIC-IV, module hosp: a row a hospital admission, with age, sex, kind of admission, insurance, the first of each of 19 "
                "laboratory values within 24 hours (0, with _known 0, where not measured), death in hospital, length of stay. No official "
                "split: by a hash of the patient (layout.split_by_hash), 70 % train, 10 % val, 20 % test, the same as of MIMIC-IV-ECG. "
                "Reading the laboratory table takes some five minutes a split.",
    homepage="https://physionet.org/content/mimiciv/",
    license="PhysioNet Credentialed Health Data License 1.5.0",
    citation="@article{johnson2023mimic, title={MIMIC-IV, a freely accessible electronic health record dataset}, author={Johnson, "
             "Alistair EW and Bulgarelli, Lucas and Shen, Lu and Gayles, Alvin and Shammout, Ayad and Horng, Steven and Pollard, Tom J "
             "and Hao, Sicheng and Moody, Benjamin and Gow, Brian and others}, journal={Scientific Data}, volume={10}, pages={1}, "
             "year={2023}}",
    manual="hosp/patients.csv.gz, hosp/admissions.csv.gz and hosp/labevents.csv.gz.",
    layout="github.com/MIT-LCP/mimic-code, mimic-iv/buildmimic/postgres/create.sql and mimic-iv/concepts/measurement",
    features=_features, examples=_examples,
    columns={"tabular": ["age", *(key for name in LABS.values() for key in (name, f"{name}_known"))],
             "category": ["gender", "admission_type", "insurance"], "label": {"died": "died"}, "case": "case"})
