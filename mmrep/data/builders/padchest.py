"""PadChest: 160,861 chest radiographs of 67,000 patients with Spanish reports and 193 labels."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.layout import ABSENT, known, numbered, picture, rows, split_by_hash

TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
COLUMNS = ("ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth", "PatientSex_DICOM", "Projection",
           "ReportID", "Report", "MethodLabel", "Labels")
VIEWS = ("PA", "L", "AP", "AP_horizontal", "COSTAL", "unknown")
SEXES = ("F", "M", "O", "unknown")
LABELS = tuple(" ".join(name.split()) for name in """
    COPD signs, Chilaiditi sign, NSG tube, abnormal foreign body, abscess, adenopathy, air bronchogram, air fluid level, air trapping,
    alveolar pattern, aortic aneurysm, aortic atheromatosis, aortic button enlargement, aortic elongation, aortic endoprosthesis,
    apical pleural thickening, artificial aortic heart valve, artificial heart valve, artificial mitral heart valve, asbestosis signs,
    ascendent aortic elongation, atelectasis, atelectasis basal, atypical pneumonia, axial hyperostosis, azygoesophageal recess shift,
    azygos lobe, blastic bone lesion, bone cement, bone metastasis, breast mass, bronchiectasis, bronchovascular markings, bullas,
    calcified adenopathy, calcified densities, calcified fibroadenoma, calcified granuloma, calcified mediastinal adenopathy,
    calcified pleural plaques, calcified pleural thickening, callus rib fracture, cardiomegaly, catheter, cavitation, central vascular
    redistribution, central venous catheter, central venous catheter via jugular vein, central venous catheter via subclavian vein,
    central venous catheter via umbilical vein, cervical rib, chest drain tube, chronic changes, clavicle fracture, consolidation,
    costochondral junction hypertrophy, costophrenic angle blunting, cyst, dai, descendent aortic elongation, dextrocardia,
    diaphragmatic eventration, double J stent, dual chamber device, electrical device, emphysema, empyema, end on vessel,
    endoprosthesis, endotracheal tube, esophagic dilatation, exclude, external foreign body, fibrotic band, fissure thickening,
    flattened diaphragm, fracture, gastrostomy tube, goiter, granuloma, ground glass pattern, gynecomastia, heart insufficiency, heart
    valve calcified, hemidiaphragm elevation, hiatal hernia, hilar congestion, hilar enlargement, humeral fracture, humeral
    prosthesis, hydropneumothorax, hyperinflated lung, hypoexpansion, hypoexpansion basal, increased density, infiltrates,
    interstitial pattern, kerley lines, kyphosis, laminar atelectasis, lepidic adenocarcinoma, lipomatosis, lobar atelectasis,
    loculated fissural effusion, loculated pleural effusion, lung metastasis, lung vascular paucity, lymphangitis carcinomatosa, lytic
    bone lesion, major fissure thickening, mammary prosthesis, mass, mastectomy, mediastinal enlargement, mediastinal mass,
    mediastinal shift, mediastinic lipomatosis, metal, miliary opacities, minor fissure thickening, multiple nodules, nephrostomy
    tube, nipple shadow, nodule, non axial articular degenerative changes, normal, obesity, osteopenia, osteoporosis, osteosynthesis
    material, pacemaker, pectum carinatum, pectum excavatum, pericardial effusion, pleural effusion, pleural mass, pleural plaques,
    pleural thickening, pneumomediastinum, pneumonia, pneumoperitoneo, pneumothorax, post radiotherapy changes, prosthesis,
    pseudonodule, pulmonary artery enlargement, pulmonary artery hypertension, pulmonary edema, pulmonary fibrosis, pulmonary
    hypertension, pulmonary mass, pulmonary venous hypertension, reservoir central venous catheter, respiratory distress, reticular
    interstitial pattern, reticulonodular interstitial pattern, rib fracture, right sided aortic arch, round atelectasis, sclerotic
    bone lesion, scoliosis, segmental atelectasis, single chamber device, soft tissue mass, sternoclavicular junction hypertrophy,
    sternotomy, subacromial space narrowing, subcutaneous emphysema, suboptimal study, superior mediastinal enlargement, supra aortic
    elongation, surgery, surgery breast, surgery heart, surgery humeral, surgery lung, surgery neck, suture material, thoracic cage
    deformation, total atelectasis, tracheal shift, tracheostomy tube, tuberculosis, tuberculosis sequelae, unchanged, vascular hilar
    enlargement, vascular redistribution, ventriculoperitoneal drain tube, vertebral anterior compression, vertebral compression,
    vertebral degenerative changes, vertebral fracture, volume loss
""".split(","))


def _features(f: Any) -> dict[str, Any]:
    return {"image": f.Image(shape=(None, None, 1)), "report": f.Text(), "labels": f.Tensor(shape=(len(LABELS),), dtype=np.int8),
            "view": f.ClassLabel(names=VIEWS), "sex": f.ClassLabel(names=SEXES), "age": np.float32, "age_known": np.float32,
            "physician": f.ClassLabel(names=("no", "yes")), "case": np.int32, "study": np.int32}


def _examples(folder: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows without labels are left out (103 of the release), as torchxrayvision does; labels outside the list are not kept."""
    table = next((path for name in (TABLE, TABLE + ".gz") if (path := folder / name).is_file()), folder / TABLE)
    patients = numbered(row["PatientID"] for row in rows(table, COLUMNS))
    studies = numbered(row["StudyID"] for row in rows(table, COLUMNS))
    for row in rows(table, COLUMNS):
        if row["Labels"] not in ("", "nan") and split_by_hash(row["PatientID"]) == split:
            yield row["ImageID"], partial(_record, folder, row, patients[row["PatientID"]], studies[row["StudyID"]])


def _record(folder: Path, row: dict[str, str], case: int, study: int) -> dict[str, Any]:
    named = {name.strip() for name in re.findall(r"'([^']*)'", row["Labels"])}
    file = folder / "images" / row["ImageDir"] / row["ImageID"]
    return {"image": picture(file.read_bytes(), str(file), 1), "report": row["Report"], "labels": [int(name in named) for name in LABELS],
            "view": row["Projection"] if row["Projection"] in VIEWS else "unknown",
            "sex": row["PatientSex_DICOM"] if row["PatientSex_DICOM"] in SEXES else "unknown", **known("age", _age(row)),
            "physician": "yes" if row["MethodLabel"] == "Physician" else "no", "case": case, "study": study}


def _age(row: dict[str, str]) -> str:
    """Years at the study, by the years of study (20140915) and birth alone; "" where one is absent."""
    return "" if {row["StudyDate_DICOM"], row["PatientBirth"]} & {*ABSENT, "None"} else str(
        int(row["StudyDate_DICOM"][:4]) - int(float(row["PatientBirth"])))


PADCHEST = Dataset(
    name="padchest",
    description="PadChest: 160,861 chest radiographs of 67,000 patients of one Spanish hospital, the report (Spanish, stemmed) and labels "
                "of a list of 193, from physicians (27 %) or a network that read the report. No official split: by a hash of the patient "
                "(layout.split_by_hash), 70 % train, 10 % val, 20 % test. 16-bit pixels are divided by 257.",
    homepage="https://bimcv.cipf.es/bimcv-projects/padchest/",
    license="research use agreement of BIMCV",
    citation="@article{bustos2020padchest, title={PadChest: A large chest x-ray image dataset with multi-label annotated reports}, "
             "author={Bustos, Aurelia and Pertusa, Antonio and Salinas, Jose-Maria and de la Iglesia-Vay{\\'a}, Maria}, journal={Medical "
             "Image Analysis}, volume={66}, pages={101797}, year={2020}}",
    manual="PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv (or .csv.gz), and images/<ImageDir>/<ImageID>.",
    layout="github.com/auriml/Rx-thorax-automatic-captioning, README.md; github.com/mlmed/torchxrayvision, torchxrayvision/datasets.py "
           "(PC_Dataset)",
    features=_features, examples=_examples,
    columns={"image": "image", "text": "report", "label": {"labels": "labels", "view": "view"}, "case": "case"})
