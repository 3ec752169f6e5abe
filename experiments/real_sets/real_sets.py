"""Ten real data sets, read whole: `python -m experiments.real_sets.real_sets [NAME ...] --data ../shared/data`.

One line a set: rows, what was skipped and why, patients, splits, what the splits share, and how fast rows are decoded. `specs` gives a
set's stream as a config takes it (`c.data.main = specs(...)[name] | {"batch": ...}`); `in_memory` opens the sets whose volumes, signals
and matrices lie in npz files.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.audit.scan import BLOCK, scan
from mmrep.data.audit.source import open_splits
from mmrep.data.audit.validate import validate
from mmrep.data.reading import read_rows
from mmrep.data.sources import arrays

WORK = Path("runs/real_sets")


def specs(data: Path, work: Path = WORK) -> dict[str, dict[str, Any]]:
    """name -> stream {"source": {name, ...}} of every set below `data`; PneumoniaMNIST's table is written to `work` first."""
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
            "name": "manifest", "path": str(pneumoniamnist(data, work)), "images": "images.npz",
            "columns": {"image": "index", "label": {"pneumonia": "label"}}}},
        "breast_veridex": table("breast_omics/gse7390_veridex.csv", {
            "tabular": ["age", "size", *(name for name in header(data / "breast_omics/gse7390_veridex.csv") if name.startswith("X"))],
            "label": {"er": "er", "grade": "grade", "days": "time_days", "event": "event_metastasis"}}),
        "breast_salmon": table("breast_omics/tcga_brca_salmon.csv", {
            "tabular": [f"rna_eig_{i}" for i in range(1, 58)] + [f"mir_eig_{i}" for i in range(1, 13)], "case": "patient",
            "label": {"er": "ER_Status", "pr": "PR_Status", "months": "OS_Months", "status": "OS_Status"}}),
        "iu_cxr_reports": table("iu_cxr_reports/reports.jsonl", {"text": ["findings", "impression"], "case": "uid"}),
    }


def pneumoniamnist(data: Path, work: Path) -> Path:
    """A table of the three arrays of PneumoniaMNIST's npz, and one array of their pictures beside it."""
    folder = work / "pneumoniamnist"
    path = folder / "metadata.jsonl"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with np.load(data / "pneumoniamnist" / "pneumoniamnist.npz", allow_pickle=False) as file:
            splits = [(s, file[f"{s}_images"], file[f"{s}_labels"].ravel().tolist()) for s in ("train", "val", "test")]
        np.savez(folder / "images.npz", images=np.concatenate([images for _, images, _ in splits]))
        rows = [{"label": label, "split": split} for split, _, labels in splits for label in labels]
        part = path.with_suffix(".part")
        part.write_text("".join(json.dumps({"index": i} | row) + "\n" for i, row in enumerate(rows)))
        part.replace(path)
    return path


def in_memory(data: Path) -> dict[str, Callable[[], dict[str, Any]]]:
    """name -> function that opens the sets that lie in npz files of volumes, signals and matrices: split -> source over arrays."""
    def by_split(splits: list, present: dict | None = None, **fields: Any) -> dict[str, Any]:
        where = {s: [i for i, split in enumerate(splits) if split == s] for s in dict.fromkeys(splits)}
        return {s: arrays({k: v[rows] for k, v in (present or {}).items()},
                          **{k: [v[i] for i in rows] if k == "text" else np.asarray(v)[rows] for k, v in fields.items()})
                for s, rows in sorted(where.items(), key=lambda item: ("train", "val", "test").index(item[0]))}

    def ludb_ecg() -> dict[str, Any]:
        rows = table_of(data / "ludb_ecg" / "metadata.jsonl")
        with np.load(data / "ludb_ecg" / "signals.npz", allow_pickle=False) as file:
            signal = file["signals_uV"].swapaxes(1, 2).astype(np.float32) / 1000  # millivolt, [n, samples, leads]
        rhythm = sorted({row["rhythm"] for row in rows})
        return by_split([row["split"] for row in rows], signal=signal, text=[row["text"] for row in rows],
                        case=ids(row["record"] for row in rows),
                        **{"label/rhythm": np.array([rhythm.index(row["rhythm"]) for row in rows], np.int32)})

    def msd_hippocampus() -> dict[str, Any]:
        rows = table_of(data / "msd_hippocampus" / "metadata.jsonl")
        with np.load(data / "msd_hippocampus" / "volumes.npz", allow_pickle=False) as file:
            volume, mask = file["images"][..., None], file["masks"][..., None]
        return by_split([row["split"] for row in rows], volume=volume, case=ids(row["name"] for row in rows), **{"mask/volume": mask})

    def breast_mixomics() -> dict[str, Any]:
        with np.load(data / "breast_omics" / "tcga_brca_mixomics.npz", allow_pickle=False) as file:
            of = {key: file[key] for key in file.files}
        n, m = len(of["train_ids"]), len(of["test_ids"])
        protein = np.concatenate([of["train_protein"], np.zeros((m, of["train_protein"].shape[1]), np.float32)])
        subtype = np.concatenate([of["train_subtype"], of["test_subtype"]])
        fields = {"mrna_features": np.concatenate([of["train_mrna"], of["test_mrna"]]), "protein_features": protein,
                  "mirna_features": np.concatenate([of["train_mirna"], of["test_mirna"]])}
        return by_split(["train"] * n + ["test"] * m, {"protein_features": np.arange(n + m) < n}, **fields,
                        case=ids(np.concatenate([of["train_ids"], of["test_ids"]]).tolist()),
                        **{"label/subtype": np.unique(subtype, return_inverse=True)[1].astype(np.int32)})

    return {"ludb_ecg": ludb_ecg, "msd_hippocampus": msd_hippocampus, "breast_mixomics": breast_mixomics}


def header(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as file:
        return file.readline().strip().split(",")


def table_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def ids(names: Any) -> np.ndarray:
    """Numbers of names, i32[n]."""
    return np.unique(list(names), return_inverse=True)[1].astype(np.int32)


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
        if kind not in ("group", "text"):
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
    ready = {name: partial(open_splits, stream) for name, stream in specs(args.data, args.work).items()}
    ready |= {name: lambda made=made: (made(), {}) for name, made in in_memory(args.data).items()}
    for name in args.names or ready:
        opened, lost = ready[name]()
        report = validate(scan(opened), opened, lost)
        (args.work / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n")
        print(line(name, report, decode_rate(opened)), flush=True)


if __name__ == "__main__":
    main()
