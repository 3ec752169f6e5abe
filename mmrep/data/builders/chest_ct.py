"""Chest CT: CT-RATE (volumes with reports and 18 labels) and RAD-ChestCT (84 labels)."""

import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.layout import TRAIN_VAL, numbered, rows, split_by_hash
from mmrep.data.medical.files import as_dtype, windowed
from mmrep.data.medical.nifti import read_nifti
from mmrep.data.readers import axial

RATE_LABELS = ("Medical material", "Arterial wall calcification", "Cardiomegaly", "Pericardial effusion",
               "Coronary artery wall calcification", "Hiatal hernia", "Lymphadenopathy", "Emphysema", "Atelectasis", "Lung nodule",
               "Lung opacity", "Pulmonary fibrotic sequela", "Pleural effusion", "Mosaic attenuation pattern", "Peribronchial thickening",
               "Consolidation", "Bronchiectasis", "Interlobular septal thickening")
REPORTS = ("VolumeName", "ClinicalInformation_EN", "Technique_EN", "Findings_EN", "Impressions_EN")
RATE_SPACING = (0.75, 0.75, 1.5)  # mm, right, anterior, superior: of CT-CLIP
WINDOW = (-1000.0, 1000.0)        # HU, of both
RATE_FIRST = {"train": 0, "valid": 10_000_000}  # of the numbers of patients and studies, which the parts count apart
RATE_PARTS = {"train": ("train", "train"), "val": ("train", "train"), "test": ("valid", "validation")}  # in names of volumes, of tables
RAD_LABELS = (
    "air_trapping", "airspace_disease", "aneurysm", "arthritis", "aspiration", "atelectasis", "atherosclerosis", "bandlike_or_linear",
    "breast_implant", "breast_surgery", "bronchial_wall_thickening", "bronchiectasis", "bronchiolectasis", "bronchiolitis", "bronchitis",
    "cabg", "calcification", "cancer", "cardiomegaly", "catheter_or_port", "cavitation", "chest_tube", "clip", "congestion",
    "consolidation", "coronary_artery_disease", "cyst", "debris", "deformity", "density", "dilation_or_ectasia", "distention",
    "emphysema", "fibrosis", "fracture", "gi_tube", "granuloma", "groundglass", "hardware", "heart_failure", "heart_valve_replacement",
    "hemothorax", "hernia", "honeycombing", "infection", "infiltrate", "inflammation", "interstitial_lung_disease", "lesion", "lucency",
    "lung_resection", "lymphadenopathy", "mass", "mucous_plugging", "nodule", "nodulegr1cm", "opacity", "other_path",
    "pacemaker_or_defib", "pericardial_effusion", "pericardial_thickening", "plaque", "pleural_effusion", "pleural_thickening",
    "pneumonia", "pneumonitis", "pneumothorax", "postsurgical", "pulmonary_edema", "reticulation", "scarring", "scattered_calc",
    "scattered_nod", "secretion", "septal_thickening", "soft_tissue", "staple", "stent", "sternotomy", "suture", "tracheal_tube",
    "transplant", "tree_in_bud", "tuberculosis")
RAD_PARTS = {"train": "imgtrain", "val": "imgvalid", "test": "imgtest"}


def _rate_features(f: Any) -> dict[str, Any]:
    return {"volume": f.Tensor(shape=(None, None, None, 1), dtype=np.uint8, encoding="zlib"), "findings": f.Text(), "impression": f.Text(),
            "labels": f.Tensor(shape=(len(RATE_LABELS),), dtype=np.int8), "case": np.int32, "study": np.int32}


def _rate(folder: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    part, table = RATE_PARTS[split]
    base = folder / "dataset" if (folder / "dataset").is_dir() else folder
    said = list(rows(base / "radiology_text_reports" / f"{table}_reports.csv", REPORTS))
    label = {row["VolumeName"]: row for row in rows(base / "multi_abnormality_labels" / f"{part}_predicted_labels.csv",
                                                    ("VolumeName", *RATE_LABELS))}
    studies = numbered(row["VolumeName"].rsplit("_", 1)[0] for row in said)
    for row in said:
        name = row["VolumeName"]  # train_1_a_2.nii.gz: part, patient, scan, reconstruction
        patient, study = name.rsplit("_", 2)[0], name.rsplit("_", 1)[0]
        if split == "test" or split_by_hash(patient, TRAIN_VAL) == split:
            if name not in label:
                raise ValueError(f"builder: {part}_predicted_labels.csv has no row {name}, which {table}_reports.csv has")
            yield name, partial(_rate_record, base / f"{part}_fixed" / patient / study / name, row, label[name],
                                RATE_FIRST[part] + int(patient.split("_")[1]), RATE_FIRST[part] + studies[study])


def _rate_record(path: Path, row: dict[str, str], label: dict[str, str], case: int, study: int) -> dict[str, Any]:
    values, _ = read_nifti(path, spacing=RATE_SPACING, window=WINDOW, dtype="uint8")
    findings, impression = ("" if row[key] == "Not given." else row[key] for key in ("Findings_EN", "Impressions_EN"))
    return {"volume": axial(values)[..., None], "findings": findings, "impression": impression,
            "labels": [int(float(label[key])) for key in RATE_LABELS], "case": case, "study": study}


def _rad_features(f: Any) -> dict[str, Any]:
    return {"volume": f.Tensor(shape=(None, None, None, 1), dtype=np.uint8, encoding="zlib"),
            "labels": f.Tensor(shape=(len(RAD_LABELS),), dtype=np.int8), "case": np.int32}


def _rad(folder: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """A finding's label is 1 where it is anywhere: the table has a column a finding and place, "nodule*right_lung"."""
    meta = ("NoteAcc_DEID", "MRN_DEID")
    patient = {row["NoteAcc_DEID"]: row["MRN_DEID"] for row in rows(folder / "CT_Scan_Metadata_Complete_35747.csv", meta)}
    cases = numbered(patient.values())
    for row in rows(folder / f"{RAD_PARTS[split]}_Abnormality_and_Location_Labels.csv", meta[:1]):
        name = row["NoteAcc_DEID"]
        yield name, partial(_rad_record, folder / f"{name}.npz", row, cases.get(patient.get(name, ""), -1))  # 3,630 are public


def _rad_record(path: Path, row: dict[str, str], case: int) -> dict[str, Any]:
    there = {key.partition("*")[0] for key, cell in row.items() if "*" in key and cell and float(cell) > 0}
    if not path.is_file():
        raise FileNotFoundError(f"no file {path.name}")
    try:
        with np.load(path, allow_pickle=False) as file:
            values = file["ct"]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"builder: {path} is damaged or holds no array ct ({type(error).__name__}); download it again") from None
    return {"volume": as_dtype(windowed(values, *WINDOW), "uint8")[..., None], "labels": [int(name in there) for name in RAD_LABELS],
            "case": case}


CT_RATE = Dataset(
    name="ct_rate",
    description="CT-RATE: 50,188 reconstructions of 25,692 chest CTs of 21,304 patients with reports and 18 labels that a model read from "
                "them, at 0.75 x 0.75 x 1.5 mm as CT-CLIP, [-1000, 1000] HU to 0 to 255. The official valid is the test split here; val "
                "is a tenth of the train patients by hash (layout.split_by_hash).",
    homepage="https://huggingface.co/datasets/ibrahimhamamci/CT-RATE",
    license="CC BY-NC-SA 4.0",
    citation="@article{hamamci2024ctrate, title={Developing Generalist Foundation Models from a Multimodal Dataset for 3D Computed "
             "Tomography}, author={Hamamci, Ibrahim Ethem and Er, Sezgin and others}, journal={arXiv:2403.17834}, year={2024}}",
    manual="dataset/train_fixed/ and dataset/valid_fixed/ (the volumes whose headers tell spacing and HU), "
           "dataset/radiology_text_reports/ and dataset/multi_abnormality_labels/.",
    layout="github.com/ibrahimethemhamamci/CT-CLIP, README.md and scripts/data_inference_nii.py; github.com/f10409/RadHarmony, "
           "docs/wiki/datasets/ct_rate.md",
    features=_rate_features, examples=_rate,
    columns={"volume": "volume", "text": "findings", "label": {"labels": "labels"}, "case": "case"})


RAD_CHEST_CT = Dataset(
    name="rad_chest_ct",
    description="RAD-ChestCT: the 3,630 public of 35,747 chest CTs of one hospital, 84 labels read from the report, at 0.8 mm, [-1000, "
                "1000] HU to 0 to 255. Official splits.",
    homepage="https://zenodo.org/records/6406114",
    license="terms of the Zenodo record",
    citation="@article{draelos2021machine, title={Machine-learning-based multiple abnormality prediction with large-scale chest computed "
             "tomography volumes}, author={Draelos, Rachel Lea and Dov, David and Mazurowski, Maciej A and Lo, Joseph Y and Henao, "
             "Ricardo and Rubin, Geoffrey D and Carin, Lawrence}, journal={Medical Image Analysis}, volume={67}, pages={101857}, "
             "year={2021}}",
    manual="*.npz, img{train,valid,test}_Abnormality_and_Location_Labels.csv and CT_Scan_Metadata_Complete_35747.csv, in one folder.",
    layout="github.com/f10409/RadHarmony, docs/wiki/datasets/radchestct.md and radharmony/harmonizer/radchestct; "
           "github.com/rachellea/ct-net-models, load_dataset/custom_datasets.py",
    features=_rad_features, examples=_rad,
    columns={"volume": "volume", "label": {"labels": "labels"}, "case": "case"})
