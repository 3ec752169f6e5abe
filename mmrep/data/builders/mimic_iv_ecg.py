"""MIMIC-IV-ECG: 800,000 ten-second 12-lead ECGs of nearly 160,000 patients, with the machine's report and measurements."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.layout import known, numbered, rows, split_by_hash
from mmrep.data.medical.ecg import read_wfdb
from mmrep.data.sources import BadRow

RECORDS = ("subject_id", "study_id", "file_name", "ecg_time", "path")
MEASURES = ("rr_interval", "p_onset", "p_end", "qrs_onset", "qrs_end", "t_end", "p_axis", "qrs_axis", "t_axis")  # ms, degrees
REPORT = tuple(f"report_{n}" for n in range(18))
NO_MEASURE = "29999"  # what the machine writes where it measured nothing
RATE = 500.0           # Hz


def _features(f: Any) -> dict[str, Any]:
    measures = {name: np.float32 for measure in MEASURES for name in (measure, f"{measure}_known")}
    return {"signal": f.Tensor(shape=(None, 12), dtype=np.float32, encoding="zlib"), "report": f.Text(), **measures, "case": np.int32}


def _examples(folder: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    machine = {row["study_id"]: _said(row) for row in rows(folder / "machine_measurements.csv", ("study_id", *REPORT, *MEASURES))}
    cases = numbered(row["subject_id"] for row in rows(folder / "record_list.csv", RECORDS))
    for row in rows(folder / "record_list.csv", RECORDS):
        if split_by_hash(row["subject_id"]) == split:
            said = machine.get(row["study_id"], ("", ("",) * len(MEASURES)))
            yield row["study_id"], partial(_record, folder / row["path"], *said, cases[row["subject_id"]])


def _record(path: Path, report: str, measures: tuple[str, ...], case: int) -> dict[str, Any]:
    """BadRow where samples are missing, as in one of a hundred records, or cut short."""
    try:
        signal, _ = read_wfdb(path, RATE)
    except (ValueError, FileNotFoundError) as error:
        raise BadRow(str(error)) from None
    return {"signal": signal, "report": report, "case": case,
            **{key: value for name, cell in zip(MEASURES, measures) for key, value in known(name, cell).items()}}


def _said(row: dict[str, str]) -> tuple[str, tuple[str, ...]]:
    """The machine's report, its lines joined, and its measurements, "" where it made none."""
    report = ". ".join(row[name].rstrip(". ") for name in REPORT if row[name])
    return report, tuple("" if row[name] == NO_MEASURE else row[name] for name in MEASURES)


MIMIC_IV_ECG = Dataset(
    name="mimic_iv_ecg",
    description="MIMIC-IV-ECG 1.0: about 800,000 ten-second 12-lead ECGs at 500 Hz of nearly 160,000 patients, the machine's report and "
                "measurements (a measurement of 29999 is an absent one: 0, with _known 0). Records with samples that are missing, one in "
                "a hundred, are left out and counted. No official split: by a hash of the patient (layout.split_by_hash), 70 % train, 10 "
                "% val, 20 % test, the same as of MIMIC-IV.",
    homepage="https://physionet.org/content/mimic-iv-ecg/1.0/",
    license="Open Data Commons Open Database License 1.0",
    citation="@misc{gow2023mimicivecg, title={MIMIC-IV-ECG: Diagnostic Electrocardiogram Matched Subset}, author={Gow, Brian and Pollard, "
             "Tom and Nathanson, Larry A and Johnson, Alistair and Moody, Benjamin and Fernandes, Chrystinne and Greenbaum, Nathaniel and "
             "Waks, Jonathan W and Eslami, Parastou and Carbonati, Tanner and others}, publisher={PhysioNet}, year={2023}, "
             "doi={10.13026/4nqg-sb35}}",
    manual="record_list.csv, machine_measurements.csv and files/.",
    layout="https://mimic.mit.edu/docs/IV/modules/ecg/",
    features=_features, examples=_examples,
    columns={"signal": "signal", "text": "report", "case": "case",
             "tabular": [name for measure in MEASURES for name in (measure, f"{measure}_known")]})
