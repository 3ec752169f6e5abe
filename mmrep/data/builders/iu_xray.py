"""IU X-ray (Open-i): 3,955 reports of Indiana University with their 7,470 frontal and lateral chest radiographs; R2Gen's splits of it."""

import json
import re
import xml.etree.ElementTree as xml
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.builders.base import SPLITS, Dataset
from mmrep.data.builders.layout import found, picture, rows, split_by_hash
from mmrep.data.sources import BadRow

SECTIONS = ("findings", "impression", "indication", "comparison")
VIEWS = ("unknown", "Frontal", "Lateral")
REPORTS, PROJECTIONS, R2GEN = "indiana_reports.csv", "indiana_projections.csv", "annotation.json"
MAX_BYTES = 1 << 20  # of a report's file, which is a few KB: entities that grow are refused with it


def _features(f: Any) -> dict[str, Any]:
    return {"images": f.Sequence(f.Image(shape=(None, None, 1))), "views": f.Sequence(f.ClassLabel(names=VIEWS)),
            **{name: f.Text() for name in SECTIONS}, "mesh": f.Text(), "normal": f.ClassLabel(names=("no", "yes")),
            "case": np.int32}


def _projections(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Report -> (file, Frontal or Lateral) of each of its images, in Kaggle's table."""
    images: dict[str, list[tuple[str, str]]] = {}
    for row in rows(folder / PROJECTIONS, ("uid", "filename", "projection")):
        images.setdefault(row["uid"], []).append((row["filename"], row["projection"]))
    return images


def _records(folder: Path) -> Iterator[tuple[str, Any]]:
    """(report, a function that makes its record) of Open-i's own files, else of Kaggle's tables, by number."""
    if (folder / "ecgen-radiology").is_dir():
        listed = _projections(folder) if (folder / PROJECTIONS).is_file() else {}
        views = {name.partition(".")[0]: view for images in listed.values() for name, view in images}
        home = _home(folder, ("images", "NLMCXR_png"))
        for case, path in enumerate(sorted(found(folder / "ecgen-radiology", "*.xml"), key=lambda path: (len(path.stem), path.stem))):
            yield path.stem, partial(_of_xml, path, home, views, case)
    else:
        listed, home = _projections(folder), _home(folder, ("images/images_normalized", "images_normalized", "images"))
        for case, row in enumerate(rows(folder / REPORTS, ("uid", "MeSH", *SECTIONS))):
            yield row["uid"], partial(_of_table, row, home, listed.get(row["uid"], []), case)


def _home(folder: Path, names: tuple[str, ...]) -> Path:
    return next((place for name in names if (place := folder / name).is_dir()), folder)


def _of_xml(path: Path, home: Path, views: Mapping[str, str], case: int) -> dict[str, Any]:
    data = path.read_bytes()
    if len(data) > MAX_BYTES or b"<!ENTITY" in data:
        raise ValueError(f"builder: {path.name} is no report of Open-i")
    try:
        root = xml.fromstring(data)
    except xml.ParseError as error:
        raise ValueError(f"builder: {path.name} is damaged ({error}); unpack the archive again") from None
    texts = {part.get("Label", "").lower(): part.text or "" for part in root.iter("AbstractText")}
    named = [part.get("id", "") for part in root.iter("parentImage")]
    # CXR1_1_IM-0001-3001 there is 1_IM-0001-3001 in Kaggle's table, and so is CXR2_IM-0652-1001 2_IM-0652-1001
    images = [(f"{name}.png", views.get(re.sub(r"^CXR(\d+)_(?:\1_)?", r"\1_", name), "unknown")) for name in named]
    return _record(path.stem, home, images, texts, [part.text or "" for part in root.iter("major")], case)


def _of_table(row: Mapping[str, str], home: Path, images: list[tuple[str, str]], case: int) -> dict[str, Any]:
    return _record(row["uid"], home, images, row, row["MeSH"].split(";"), case)


def _record(uid: str, home: Path, images: list[tuple[str, str]], texts: Mapping[str, str], mesh: list[str], case: int) -> dict[str, Any]:
    """A report and its images, the frontal ones first where views are known. BadRow for one without any image file."""
    there = [(file, view) for name, view in images if (file := home / name).is_file()]
    if not there:
        raise BadRow(f"builder: report {uid} has no image in {home}")
    there.sort(key=lambda pair: pair[1] != "Frontal")
    mesh = [" ".join(term.split()) for term in mesh]
    return {"images": [picture(file.read_bytes(), file.name, 1) for file, _ in there],
            "views": [view if view in VIEWS else "unknown" for _, view in there],
            **{name: " ".join(texts.get(name, "").split()) for name in SECTIONS}, "mesh": "; ".join(mesh),
            "normal": "yes" if mesh == ["normal"] else "no", "case": case}


def _examples(folder: Path, split: str) -> Iterator[tuple[str, Any]]:
    for uid, record in _records(folder):
        if split_by_hash(f"CXR{uid}") == split:
            yield uid, record


def _r2gen(folder: Path, split: str) -> Iterator[tuple[str, Any]]:
    """The reports of R2Gen's split, in its order."""
    path, records = folder / R2GEN, dict(_records(folder))
    if not path.is_file():
        raise FileNotFoundError(f"builder: no file at {path}; take it of R2Gen's IU X-ray")
    try:
        listed = [str(entry["id"]) for entry in json.loads(path.read_text("utf-8"))[split]]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"builder: {path} is no JSON of {', '.join(SPLITS)}, each a list of reports with an id; take R2Gen's for IU X-ray"
                         ) from None
    for name in listed:
        uid = name.removeprefix("CXR").partition("_")[0]
        if uid not in records:
            raise ValueError(f"builder: {path} names the report {name}, which {folder} does not have")
        yield uid, records[uid]


IU_XRAY = Dataset(
    name="iu_xray",
    description="IU X-ray: 3,955 reports by section with the radiographs of the study, one to six, and what indexers said of them in MeSH "
                "(`normal` where they said nothing else). A report is a patient. Views are those of Kaggle's indiana_projections.csv where "
                "it is there, and frontal images come first then. Reports without any image are left out. No official split: by a hash of "
                "the report's number (layout.split_by_hash), 70 % train, 10 % val, 20 % test.",
    homepage="https://openi.nlm.nih.gov/faq",
    license="CC BY-NC-ND 4.0 (as each report states)",
    citation="@article{demner2016preparing, title={Preparing a collection of radiology examinations for distribution and retrieval}, "
             "author={Demner-Fushman, Dina and Kohli, Marc D and Rosenman, Marc B and Shooshan, Sonya E and Rodriguez, Laritza and Antani, "
             "Sameer and Thoma, George R and McDonald, Clement J}, journal={JAMIA}, volume={23}, number={2}, pages={304--310}, "
             "year={2016}}",
    manual="of Open-i NLMCXR_reports.tgz unpacked (ecgen-radiology/) and the PNGs of NLMCXR_png.tgz in images/, with, for views, "
           "indiana_projections.csv of Kaggle's raddar/chest-xrays-indiana-university; or that set whole: indiana_reports.csv, "
           "indiana_projections.csv and images/images_normalized/.",
    layout="github.com/f10409/RadHarmony, docs/wiki/datasets/openi_cxr.md; the reports in torchxrayvision's package "
           "(github.com/mlmed/torchxrayvision, torchxrayvision/data/NLMCXR_reports.tgz); github.com/UCL-CDI/cdi-hub, "
           "tutorials/automatic-medical-image-reporting/datasets/README.md",
    features=_features, examples=_examples,
    columns={"image": "images", "text": ["findings", "impression"], "label": {"normal": "normal"}, "case": "case"})


IU_XRAY_R2GEN = IU_XRAY._replace(
    name="iu_xray_r2gen",
    description="IU X-ray in the splits of R2Gen, which tables of report generation use: 2,069 train, 296 val and 590 test reports with "
                "findings and two images at least. Records as of iu_xray, with all images of a study; R2Gen takes two. The text is "
                "`findings` alone.",
    citation=IU_XRAY.citation + "; @inproceedings{chen2020generating, title={Generating Radiology Reports via Memory-driven Transformer}, "
             "author={Chen, Zhihong and Song, Yan and Chang, Tsung-Hui and Wan, Xiang}, booktitle={EMNLP}, year={2020}}",
    manual=IU_XRAY.manual.rstrip(".") + "; and annotation.json of R2Gen's IU X-ray.",
    layout=IU_XRAY.layout + "; github.com/cuhksz-nlp/R2Gen, modules/datasets.py",
    examples=_r2gen, columns={**IU_XRAY.columns, "text": "findings"})
