"""IU X-ray (Open-i): 3,955 reports of Indiana University with their 7,470 frontal and lateral chest radiographs."""

import re
import xml.etree.ElementTree as xml
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.layout import found, picture, rows, split_by_hash
from mmrep.data.sources import BadRow

SECTIONS = ("FINDINGS", "IMPRESSION", "INDICATION", "COMPARISON")
VIEWS = ("unknown", "Frontal", "Lateral")
MAX_BYTES = 1 << 20  # of a report's file, which is a few KB: entities that grow are refused with it


def _features(f: Any) -> dict[str, Any]:
    return {"images": f.Sequence(f.Image(shape=(None, None, 1))), "views": f.Sequence(f.ClassLabel(names=VIEWS)),
            **{name.lower(): f.Text() for name in SECTIONS}, "mesh": f.Text(), "normal": f.ClassLabel(names=("no", "yes")),
            "case": np.int32}


def _views(folder: Path) -> dict[str, str]:
    """image, as "1_IM-0001-4001" -> Frontal or Lateral, of Kaggle's table where it is there."""
    table = folder / "indiana_projections.csv"
    return {row["filename"].partition(".")[0]: row["projection"] for row in rows(table, ("uid", "filename", "projection"))
            } if table.is_file() else {}


def _examples(folder: Path, split: str) -> Iterator[tuple[str, Any]]:
    reports, views = folder / "ecgen-radiology", _views(folder)
    images = next((place for name in ("images", "NLMCXR_png") if (place := folder / name).is_dir()), folder)
    for path in sorted(found(reports, "*.xml"), key=lambda path: (len(path.stem), path.stem)):
        if split_by_hash(f"CXR{path.stem}") == split:
            yield path.stem, partial(_record, path, images, views)


def _record(path: Path, images: Path, views: dict[str, str]) -> dict[str, Any]:
    """A report and its images, the frontal ones first where views are known. BadRow for one without any image file."""
    data = path.read_bytes()
    if len(data) > MAX_BYTES or b"<!ENTITY" in data:
        raise ValueError(f"builder: {path.name} is no report of Open-i")
    try:
        root = xml.fromstring(data)
    except xml.ParseError as error:
        raise ValueError(f"builder: {path.name} is damaged ({error}); unpack the archive again") from None
    texts = {part.get("Label", ""): " ".join((part.text or "").split()) for part in root.iter("AbstractText")}
    named = [part.get("id", "") for part in root.iter("parentImage")]
    there = [(views.get(re.sub(r"^CXR(\d+)_(?:\1_)?", r"\1_", name), "unknown"), file) for name in named
             if (file := images / f"{name}.png").is_file()]
    if not there:
        raise BadRow(f"builder: {path.name} has no image in {images}")
    there.sort(key=lambda pair: pair[0] != "Frontal")
    mesh = [" ".join((part.text or "").split()) for part in root.iter("major")]
    return {"images": [picture(file.read_bytes(), file.name, 1) for _, file in there],
            "views": [view if view in VIEWS else "unknown" for view, _ in there],
            **{name.lower(): texts.get(name, "") for name in SECTIONS}, "mesh": "; ".join(mesh),
            "normal": "yes" if mesh == ["normal"] else "no", "case": int(path.stem)}


IU_XRAY = Dataset(
    name="iu_xray",
    description="IU X-ray: 3,955 reports by section with the radiographs of the study, one to six, and what indexers said of them in MeSH "
                "(`normal` where they said nothing else). A report is a patient. Views are known where Kaggle's indiana_projections.csv "
                "lies beside, and frontal images come first then. Reports without any image are left out. No official split: by a hash of "
                "the report's number (layout.split_by_hash), 70 % train, 10 % val, 20 % test.",
    homepage="https://openi.nlm.nih.gov/faq",
    license="CC BY-NC-ND 4.0 (as each report states)",
    citation="@article{demner2016preparing, title={Preparing a collection of radiology examinations for distribution and retrieval}, "
             "author={Demner-Fushman, Dina and Kohli, Marc D and Rosenman, Marc B and Shooshan, Sonya E and Rodriguez, Laritza and Antani, "
             "Sameer and Thoma, George R and McDonald, Clement J}, journal={JAMIA}, volume={23}, number={2}, pages={304--310}, "
             "year={2016}}",
    manual="NLMCXR_reports.tgz unpacked (ecgen-radiology/), the PNGs of NLMCXR_png.tgz in images/, and, for views, "
           "indiana_projections.csv of Kaggle's raddar/chest-xrays-indiana-university.",
    layout="github.com/f10409/RadHarmony, docs/wiki/datasets/openi_cxr.md; the reports in torchxrayvision's package "
           "(github.com/mlmed/torchxrayvision, torchxrayvision/data/NLMCXR_reports.tgz)",
    features=_features, examples=_examples,
    columns={"image": "images", "text": ["findings", "impression"], "label": {"normal": "normal"}, "case": "case"})
