"""Columns of a table that nobody named: by what they are usually called, and by what their cells hold."""

from pathlib import Path
from typing import Any

from mmrep.data.stores import nearby
from mmrep.data.tables import Table

USUAL = {
    "image": ("image", "image_path", "path", "file", "file_name", "filename", "filepath", "img", "picture", "dicom", "png", "jpg"),
    "text": ("text", "caption", "report", "clinical_notes", "diagnostic_keywords", "question", "notes", "description", "sentence"),
    "case": ("patient", "patient_id", "patientid", "subject", "subject_id", "case", "case_id", "lesion_id", "mrn", "uid", "record"),
    "split": ("split", "fold", "subset", "partition", "set"),
}
SECTIONS = ("findings", "impression")
SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation", "dev"), "test": ("test", "testing")}
MOST_CLASSES, MOST_LABELS = 30, 8


def guess(path: Path, images: str | None = None) -> tuple[dict[str, Any], str]:
    """({"columns", and where they are needed "images", "splits"} of a manifest, the same in words) of a table.

    A label is a column of 2 to 30 distinct values, each on ten rows by average. Raises ValueError where no modality is found.
    """
    table = Table(path)
    names = {name.lower(): name for name in reversed(table.names)}
    columns: dict[str, Any] = {}
    out: dict[str, Any] = {"columns": columns}
    for key, usual in USUAL.items():
        for name in (names[n] for n in usual if n in names):
            if key == "image":
                first = next((str(cell) for cell in table[name] if cell is not None), "")
                archive = "" if images or (path.parent / first).is_file() else nearby(path.parent, first)
                if not first or not (images or archive or (path.parent / first).is_file()):
                    continue
                out |= {"images": archive} if archive else {}
            columns[key] = name
            break
    if "text" not in columns and any(name in names for name in SECTIONS):
        columns["text"] = [names[name] for name in SECTIONS if name in names]
    if "split" in columns:
        cells = {str(cell) for cell in table[columns["split"]] if cell is not None}
        found = {ours: next((cell for cell in sorted(cells) if cell.lower() in theirs), None) for ours, theirs in SPLITS.items()}
        if renames := {ours: cell for ours, cell in found.items() if cell not in (None, ours)}:
            out["splits"] = renames
    used = {c for value in columns.values() for c in ([value] if isinstance(value, str) else value)}
    labels = [name for name in table.names if name and name not in used and _is_class(table[name])]
    if labels:
        columns["label"] = {name: name for name in labels[:MOST_LABELS]}
    if not {"image", "text"} & set(columns):
        numbers = [name for name in table.names if name and name not in used and name not in labels and _is_number(table[name])]
        if not numbers:
            raise ValueError(f"{path}: no column looks like a picture, text or numbers; name them, e.g. --columns image=file,text=report. "
                             f"It has {', '.join(table.names)}")
        columns["tabular"] = numbers
    said = ", ".join(f"{key}={value if isinstance(value, str) else _some(list(value))}" for key, value in columns.items())
    return out, said + "".join(f", {key}={out[key]}" for key in ("images", "splits") if key in out)


def _some(names: list[str]) -> str:
    return "+".join(names) if len(names) <= MOST_LABELS else f"{names[0]}+...+{names[-1]} ({len(names)} columns)"


def _is_class(cells: list) -> bool:
    known = [cell for cell in cells if cell is not None]
    if not known or any(isinstance(cell, (list, dict, float)) for cell in known):
        return False
    distinct = len({str(cell) for cell in known})
    return 2 <= distinct <= MOST_CLASSES and len(known) >= 10 * distinct


def _is_number(cells: list) -> bool:
    known = [cell for cell in cells if cell is not None][:1000]
    try:
        return bool(known) and all(float(cell) == float(cell) for cell in known)
    except (TypeError, ValueError):
        return False
