"""Ten real data sets, read whole: `python -m experiments.real_sets.real_sets [NAME ...] --data ../shared/data`.

One line a set: rows, what was skipped and why, patients, splits, what the splits share, and how fast rows are decoded. `specs` gives a
set's stream as a config takes it (`c.data.main = specs(...)[name] | {"batch": ...}`).
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.audit.scan import BLOCK, scan
from mmrep.data.audit.source import open_splits
from mmrep.data.audit.validate import validate
from mmrep.data.reading import read_rows

WORK = Path("runs/real_sets")


def specs(data: Path, work: Path = WORK) -> dict[str, dict[str, Any]]:
    """name -> stream {"source": {name, ...}} of every set below `data`; tables of the two that are npz files alone are written to
    `work` first."""
    def table(path: str, columns: dict, **more: Any) -> dict[str, Any]:
        return {"source": {"name": "manifest", "path": str(data / path), "columns": columns} | more}

    return {
        "covid_cxr": table("covid_cxr/metadata.jsonl", {
            "image": "image", "text": "clinical_notes", "case": "patient_id", "mask": {"lung": "lung_mask"},
            "label": {"finding": "finding", "view": "view", "modality": "modality"}}),
        "medpix2": table("medpix2/metadata.jsonl", {
            "image": "image", "text": "caption", "case": "case_id", "label": {"type": "type", "location": "location_category"}},
            splits={"val": "dev"}),
        "vqa_rad": table("vqa_rad/qa.jsonl", {
            "image": "image", "text": "question", "label": {"organ": "organ", "answer_type": "answer_type"}}),
        "odir_96": table("odir_96/metadata.jsonl", {
            "image": "image", "text": "diagnostic_keywords", "case": "patient_id", "tabular": ["age"], "category": ["sex"],
            "label": {"eye": "eye_label", "patient": "patient_labels"}}, images="images.zip", channels=3, missing="absent"),
        "ham10000_64": table("ham10000_64/metadata.jsonl", {
            "image": "image", "case": "lesion_id", "tabular": ["age"], "category": ["sex", "localization"], "label": {"dx": "dx"}},
            images="images.zip", channels=3, missing="absent"),
        "pneumoniamnist": {"source": {
            "name": "manifest", "path": str(pneumoniamnist(data, work)), "images": "arrays.npz",
            "columns": {"image": "index", "label": {"pneumonia": "label"}}}},
        "breast_veridex": table("breast_omics/gse7390_veridex.csv", {
            "features": "X*", "tabular": ["age", "size"],
            "label": {"er": "er", "grade": "grade", "days": "time_days", "event": "event_metastasis"}}),
        "breast_salmon": table("breast_omics/tcga_brca_salmon.csv", {
            "features": {"features": "rna_eig_*", "mir_features": "mir_eig_*"}, "tabular": ["Age", "CNB_length_kb", "All_TMB"],
            "case": "patient", "label": {"er": "ER_Status", "pr": "PR_Status", "months": "OS_Months", "status": "OS_Status"}}),
        "breast_mixomics": {"source": {
            "name": "manifest", "path": str(mixomics(data, work)), "files": {
                "features": "arrays.npz/mrna", "mirna_features": "arrays.npz/mirna", "protein_features": "arrays.npz/protein"},
            "columns": {"features": {"features": "index", "mirna_features": "index", "protein_features": "protein"}, "case": "id",
                        "label": {"subtype": "subtype"}}}},
        "iu_cxr_reports": table("iu_cxr_reports/reports.jsonl", {"text": ["findings", "impression"], "case": "uid"}),
        "ludb_ecg": table("ludb_ecg/metadata.jsonl", {
            "signal": "index", "text": "text", "case": "record", "label": {"rhythm": "rhythm", "sex": "sex"}},
            files={"signal": "signals.npz/signals_uV"}, read={"signal": {"native_rate": 250, "unit": "uV"}}),
        "msd_hippocampus": table("msd_hippocampus/metadata.jsonl", {
            "volume": "index", "mask": {"hippocampus": "index"}, "case": "name"},
            files={"volume": "volumes.npz/images", "mask": "volumes.npz/masks"}),
    }


def pneumoniamnist(data: Path, work: Path) -> Path:
    """A table of the arrays of PneumoniaMNIST's npz, and one array of their pictures beside it."""
    def made() -> tuple[list[dict], dict[str, np.ndarray]]:
        with np.load(data / "pneumoniamnist" / "pneumoniamnist.npz", allow_pickle=False) as file:
            splits = [(s, file[f"{s}_images"], file[f"{s}_labels"].ravel().tolist()) for s in ("train", "val", "test")]
        rows = [{"label": label, "split": split} for split, _, labels in splits for label in labels]
        return rows, {"images": np.concatenate([images for _, images, _ in splits])}

    return written(work / "pneumoniamnist", made)


def mixomics(data: Path, work: Path) -> Path:
    """A table of mixOmics' TCGA, and its matrices beside it, training rows first; the test patients have no protein."""
    def made() -> tuple[list[dict], dict[str, np.ndarray]]:
        with np.load(data / "breast_omics" / "tcga_brca_mixomics.npz", allow_pickle=False) as file:
            of = {key: file[key] for key in file.files}
        rows = [{"id": str(name), "subtype": str(kind), "split": split} for split in ("train", "test")
                for name, kind in zip(of[f"{split}_ids"], of[f"{split}_subtype"])]
        rows = [row | {"protein": i if row["split"] == "train" else None} for i, row in enumerate(rows)]
        return rows, {"mrna": np.concatenate([of["train_mrna"], of["test_mrna"]]), "protein": of["train_protein"],
                      "mirna": np.concatenate([of["train_mirna"], of["test_mirna"]])}

    return written(work / "breast_mixomics", made)


def written(folder: Path, made: Callable[[], tuple[list[dict], dict[str, np.ndarray]]]) -> Path:
    """The table metadata.jsonl in a folder, with `index` counting its rows, beside arrays.npz where there are arrays; made once."""
    path = folder / "metadata.jsonl"
    if not path.is_file():
        rows, named = made()
        folder.mkdir(parents=True, exist_ok=True)
        if named:
            np.savez(folder / "arrays.npz", **named)
        part = path.with_suffix(".part")
        part.write_text("".join(json.dumps({"index": i} | row) + "\n" for i, row in enumerate(rows)))
        part.replace(path)
    return path


def decode_rate(opened: dict[str, Any]) -> float:
    """Rows decoded a second, a thread a core, without what validation computes of them."""
    parts = [(source, np.arange(at, min(at + BLOCK, len(source)))) for source in opened.values() for at in range(0, len(source), BLOCK)]
    began = time.perf_counter()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        n = sum(pool.map(lambda part: len(read_rows(*part)), parts))
    return n / (time.perf_counter() - began)


def line(name: str, report: dict[str, Any], rate: float) -> str:
    """One row of the table in README.md."""
    why = sorted({p["why"].partition(": ")[2].partition(";")[0] for p in report["problems"]})
    skipped = f"{report['skipped']:,}" + (f": {why[0]}" if why else "")
    splits = " / ".join(f"{s} {v['rows']:,}" for s, v in report["splits"].items())
    leaks = []
    for kind, pairs in report["leakage"].items():
        if kind not in ("group", "text", "image_stem"):
            leaks.append(f"{kind} " + ", ".join(f"{pair} {v['values']:,}" for pair, v in pairs.items()))
    patients = "not named" if report["cases"] is None else f"{report['cases']:,}"
    return f"| {name} | {report['rows']:,} | {skipped} | {patients} | {splits} | {'; '.join(leaks) or 'none'} | {rate:,.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="sets to read (default: all)")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=WORK, help="what has to be written goes here, and NAME.json, the whole report of each")
    args = parser.parse_args()
    print("| set | rows | skipped | patients | splits | shared between splits | rows/s |\n|---|---|---|---|---|---|---|")
    args.work.mkdir(parents=True, exist_ok=True)
    streams = specs(args.data, args.work)
    for name in args.names or streams:
        opened, lost = open_splits(streams[name])
        report = validate(scan(opened), opened, lost)
        (args.work / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n")
        print(line(name, report, decode_rate(opened)), flush=True)


if __name__ == "__main__":
    main()
