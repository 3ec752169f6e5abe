"""Tiny folders in official layouts: tables, pictures and volumes, and a data set prepared from them."""

import csv
import gzip
import io
from pathlib import Path

import numpy as np
from PIL import Image


def write_table(path: Path, header: str, rows: list[list]) -> None:
    """A CSV, gzipped where the name says so, under a header row quoted from the release."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header.split(","))
    writer.writerows(rows)
    data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_picture(path: Path, value: int, mode: str = "RGB", size: tuple[int, int] = (5, 4)) -> None:
    """A picture of one gray value, in the format that the suffix names; mode "I;16" for 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if mode == "I;16":
        Image.fromarray(np.full(size[::-1], value, np.uint16)).save(path)
    else:
        Image.new("L", size, value).convert(mode).save(path)


def write_volume(path: Path, values: np.ndarray, spacing: tuple[float, float, float] = (1, 1, 1)) -> None:
    """A NIfTI file, axes to the right, anterior and superior."""
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([*spacing, 1.0])), path)


def prepared(dataset, folder: Path) -> dict[str, list[dict]]:
    """{split: its records, decoded} of a data set prepared from `folder`/raw."""
    from mmrep.data.builders.base import prepare

    builder = prepare(dataset, folder / "raw", folder / "prepared")
    return {split: list(builder.as_data_source(split=split)) for split in ("train", "val", "test")}
