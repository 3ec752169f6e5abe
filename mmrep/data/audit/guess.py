"""Columns of a table that nobody named: by what they are usually called, and by what their cells hold."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmrep.data.example import MODALITIES
from mmrep.data.readers import SUFFIXES
from mmrep.data.readers import suffix as suffix_of
from mmrep.data.stores import nearby
from mmrep.data.tables import Table

USUAL = {
    "image": ("image", "image_path", "path", "file", "file_name", "filename", "filepath", "img", "picture", "dicom", "png", "jpg"),
    "volume": ("volume", "volume_path", "scan", "nifti", "nii", "ct", "mri", "series", "image", "image_path", "path", "file", "file_name",
               "filename", "filepath"),
    "signal": ("signal", "ecg", "ecg_path", "waveform", "filename_hr", "filename_lr", "record_path", "hea", "edf", "path", "file",
               "file_name", "filename", "filepath"),
    "features": ("features", "embedding", "embeddings", "vector", "bag"),
    "text": ("text", "caption", "report", "clinical_notes", "diagnostic_keywords", "question", "notes", "description", "sentence"),
    "case": ("patient", "patient_id", "patientid", "subject", "subject_id", "case", "case_id", "lesion_id", "mrn", "uid", "record"),
    "split": ("split", "fold", "subset", "partition", "set"),
}
# what a file's suffix says that it is; of others the column's name does
KINDS = {".nii": "volume", ".nii.gz": "volume", ".hea": "signal", ".edf": "signal", ".bdf": "signal", ".png": "image", ".jpg": "image",
         ".jpeg": "image"}
ARRAYS = (".npy", ".npz", ".h5")  # may hold anything
SECTIONS = ("findings", "impression")
MASK = re.compile(r"(^|_)(mask|masks|seg|segmentation)($|_)")
SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation", "dev"), "test": ("test", "testing")}
PERSON = {"mrn", "dob", "birth", "birthdate", "birthday", "ssn", "nhs", "accession", "physician", "doctor", "radiologist", "surname",
          "firstname", "lastname", "patientname", "patientid", "phone", "email", "address", "postcode", "zipcode"}
MOST_CLASSES, MOST_LABELS, MOST_TABULAR = 30, 8, 256


def guess(path: Path, images: str | None = None, files: Mapping[str, str] | None = None) -> tuple[dict[str, Any], str]:
    """({"columns", and where they are needed "images", "files", "splits"} of a manifest, the same in words) of a table.

    A label is a column of 2 to 30 distinct values, each on ten rows by average; columns of numbers are a table, or above 256 a vector,
    where there is nothing else. Raises ValueError where no modality is found.
    """
    table = Table(path)
    names = {name.lower(): name for name in reversed(table.names)}
    columns: dict[str, Any] = {}
    out: dict[str, Any] = {"columns": columns}
    places = {"image": images} | dict(files or {})
    for key, usual in USUAL.items():
        for name in (names[n] for n in usual if n in names and names[n] not in columns.values()):
            if key in SUFFIXES and not _names_vectors(table[name], key):
                first = next((str(cell) for cell in table[name] if cell is not None), "")
                beside = any((path.parent / f"{first}{suffix}").exists() for suffix in SUFFIXES[key])
                archive = "" if places.get(key) or beside else nearby(path.parent, first)
                kind = "" if suffix_of(first) in ARRAYS and name.lower() in USUAL["image"] else KINDS.get(suffix_of(first), key)
                if not first or kind != key or not (places.get(key) or archive or beside):
                    continue
                if archive:
                    out |= {"images": archive} if key == "image" else {"files": out.get("files", {}) | {key: archive}}
            columns[key] = name
            break
    if "image" not in columns:  # under any name: cells that name pictures that are there
        taken = set(columns.values())
        pictures = [name for name in table.names if name not in taken and not MASK.search(name.lower())
                    and _names_a_picture(path.parent, table[name])]
        columns |= {"image": pictures[0] if len(pictures) == 1 else pictures} if pictures else {}
    if masks := [name for name in table.names if {"image", "volume"} & set(columns) and MASK.search(name.lower())
                 and name not in _flat(columns) and _names_a_file(path.parent, table[name])]:
        columns["mask"] = {name: name for name in masks}
    if "text" not in columns and any(name in names for name in SECTIONS):
        columns["text"] = [names[name] for name in SECTIONS if name in names]
    if "split" in columns:
        cells = {str(cell) for cell in table[columns["split"]] if cell is not None}
        found = {ours: next((cell for cell in sorted(cells) if cell.lower() in theirs), None) for ours, theirs in SPLITS.items()}
        if renames := {ours: cell for ours, cell in found.items() if cell not in (None, ours)}:
            out["splits"] = renames
    used = _flat(columns)
    used |= {name for name in table.names if _of_a_person(name)}
    labels = [name for name in table.names if name and name not in used and _is_class(table[name])]
    if labels:
        columns["label"] = {name: name for name in labels[:MOST_LABELS]}
    if not set(MODALITIES) & set(columns):
        numbers = [name for name in table.names if name and name not in used and name not in labels and _is_number(table[name])]
        if not numbers:
            raise ValueError(f"{path}: no column looks like files, text or numbers; name them, e.g. --columns image=file,text=report. "
                             f"It has {', '.join(table.names)}")
        columns["features" if len(numbers) > MOST_TABULAR else "tabular"] = numbers
    said = ", ".join(f"{key}={value if isinstance(value, str) else _some(list(value))}" for key, value in columns.items())
    left = [name for name in table.names if name and name not in _flat(columns)]
    return out, said + "".join(f", {key}={out[key]}" for key in ("images", "files", "splits") if key in out) + (
        f"; not used: {', '.join(left) if len(left) <= MOST_LABELS else _some(left)}" if left else "")


def _flat(columns: dict[str, Any]) -> set[str]:
    """Names of all columns that are taken."""
    return {name for value in columns.values() for name in ([value] if isinstance(value, str) else value)}


def _of_a_person(name: str) -> bool:
    """Whether a column's name says that it tells who somebody is ("PatientName", "mrn_no", "date_of_birth"): never a guess."""
    words = set(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().replace("-", "_").replace(" ", "_").split("_"))
    whose = {"patient", "subject", "person", "first", "last", "full", "family", "given", "study", "case"}
    return bool(words & PERSON or words & {"name", "id", "no", "number"} and words & whose)


def _names_a_picture(folder: Path, cells: list) -> bool:
    """Whether the first cell that is not empty names a picture of the folder."""
    first = next((str(cell) for cell in cells if cell is not None), "")
    return KINDS.get(suffix_of(first)) == "image" and (folder / first).is_file()


def _names_a_file(folder: Path, cells: list) -> bool:
    """Whether the first cell that is not empty names a file of the folder."""
    first = next((str(cell) for cell in cells if cell is not None), "")
    return bool(first) and (folder / first).is_file()


def _names_vectors(cells: list, key: str) -> bool:
    """Whether the cells of a column of features are the vectors themselves."""
    return key == "features" and isinstance(next((cell for cell in cells if cell is not None), None), list)


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
