import gzip
import shutil
import zipfile

import pytest

from mmrep.data.builders.base import prepare
from mmrep.data.builders.mimic_cxr import MIMIC_CXR, MIMIC_CXR_FRONTAL, MIMIC_CXR_STUDIES
from mmrep.data.tfds import tfds
from tests.data.builders.folders import prepared, write_picture, write_table

SPLIT = "dicom_id,study_id,subject_id,split"
METADATA = ("dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime,"
            "ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,PatientOrientationCodeSequence_CodeMeaning")
LABELS = ("subject_id,study_id,Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,"
          "No Finding,Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices")
EXPERT = ("study_id,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Lesion,Airspace Opacity,Edema,Consolidation,Pneumonia,"
          "Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices")
REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 FINDINGS:

 Effusion of study {study}, unchanged.

 IMPRESSION:  Effusion.
"""


def write(folder, zipped):
    """Studies 50000000 to 50000005 of three patients, a lateral and a frontal image each."""
    splits, metadata, labels, reports = [], [], [], {}
    for n in range(6):
        subject, study = f"1000003{n // 2}", f"5000000{n}"
        place = f"files/p10/p{subject}/s{study}"
        for view in ("LATERAL", "PA"):
            image = f"{n}{view[0].lower()}-aaaa"
            splits.append([image, study, subject, ("train", "validate", "test")[n // 2]])
            metadata.append([image, subject, study, "CHEST (PA AND LAT)", view, 3056, 2544, 21800506 - n, 213014.531, "", "", ""])
            write_picture(folder / place / f"{image}.jpg", 200 if view == "PA" else 50, "L")
        if n != 1:
            labels.append([subject, study, "1.0", "", "-1.0", "0.0", *[""] * 10])
        reports[f"{place}.txt"] = REPORT.format(study=study)
    write_table(folder / "mimic-cxr-2.0.0-split.csv.gz", SPLIT, splits)
    write_table(folder / "mimic-cxr-2.0.0-metadata.csv.gz", METADATA, metadata)
    write_table(folder / "mimic-cxr-2.0.0-chexpert.csv.gz", LABELS, labels)
    write_table(folder / "mimic-cxr-2.0.0-negbio.csv.gz", LABELS, [[*labels[0][:2], "", "1.0", *[""] * 12]])
    write_table(folder / "mimic-cxr-2.1.0-test-set-labeled.csv", EXPERT, [["50000004", *[""] * 4, "1", *[""] * 9]])
    if zipped:
        with zipfile.ZipFile(folder / "mimic-cxr-reports.zip", "w") as archive:
            for name, text in reports.items():
                archive.writestr(name, text)
    else:
        for name, text in reports.items():
            path = folder / "mimic-cxr-reports" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


@pytest.mark.parametrize("zipped", [True, False])
def test_images_with_their_reports_sections_and_labels(tmp_path, capsys, zipped):
    write(tmp_path / "raw", zipped)
    (tmp_path / "raw" / "files" / "p10" / "p10000030" / "s50000000" / "0l-aaaa.jpg").unlink()
    found = prepared(MIMIC_CXR, tmp_path)
    assert {split: len(rows) for split, rows in found.items()} == {"train": 3, "val": 4, "test": 4}
    assert "left out 1 records" in capsys.readouterr().err
    row = next(r for r in found["train"] if int(r["study"]) == 0)
    assert row["findings_text"] == b"Effusion of study 50000000, unchanged." and row["impression"] == b"Effusion."
    assert row["findings"].tolist()[2:8] == [0, 0, 0, 0, -1, 0] and row["findings"][8] == 1  # in CheXpert's order
    assert row["mentioned"].sum() == 3 and row["view"] == 0 and row["image"].mean() == 200
    none = next(r for r in found["train"] if int(r["study"]) == 1)
    assert none["findings"].tolist() == [-2] * 14
    assert none["negbio"].tolist() == none["expert"].tolist() == [-2] * 14 and row["negbio"].tolist() == [0, 0, 1, *[0] * 11]
    assert {int(r["study"]): int(r["order"]) for rows in found.values() for r in rows} == {0: 1, 1: 0, 2: 1, 3: 0, 4: 1, 5: 0}
    expert = {int(r["study"]): r["expert"].tolist() for r in found["test"]}
    assert expert == {4: [0, 0, 0, 1, *[0] * 10], 5: [-2] * 14}  # airspace opacity is lung opacity
    example = tfds("mimic_cxr", "train", tmp_path / "prepared", uncertain="ones")[0]
    assert example["text"].endswith("unchanged.\nEffusion.") and {"group", "case", "label/findings@u_ones"} <= set(example)
    data = b"".join(path.read_bytes() for path in (tmp_path / "prepared").rglob("*") if path.is_file())
    assert b"1000003" not in data.replace(b"50000000", b"").replace(b"50000001", b"")  # the report of a study names it here; no record does


def test_studies_hold_all_their_images_the_frontal_first(tmp_path):
    write(tmp_path / "raw", True)
    found = prepared(MIMIC_CXR_STUDIES, tmp_path)
    assert [len(found[split]) for split in ("train", "val", "test")] == [2, 2, 2]
    assert [round(float(image.mean())) for image in found["test"][0]["images"]] == [200, 50]
    assert list(found["test"][0]["views"]) == [0, 2]
    example = tfds("mimic_cxr_studies", "test", tmp_path / "prepared")[1]
    assert [image.shape for image in example["image"]] == [(4, 5, 1)] * 2 and example["label/findings"].shape == (14,)


def test_frontal_images_alone(tmp_path):
    write(tmp_path / "raw", True)
    found = prepared(MIMIC_CXR_FRONTAL, tmp_path)
    assert [len(found[split]) for split in ("train", "val", "test")] == [2, 2, 2]
    assert all(r["view"] == 0 and r["image"].mean() == 200 for rows in found.values() for r in rows)


def test_unpacked_tables_and_reports_beside_the_images(tmp_path):
    """Also views that are not told; a study whose images are all missing is left out, and its number with it."""
    write(tmp_path / "raw", False)
    raw = tmp_path / "raw"
    for path in raw.glob("*.csv.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()).replace(b",LATERAL,", b",,"))
        path.unlink()
    (raw / "mimic-cxr-2.0.0-negbio.csv").unlink()
    for path in (raw / "mimic-cxr-reports").rglob("*.txt"):
        path.rename(raw / path.relative_to(raw / "mimic-cxr-reports"))
    shutil.rmtree(raw / "mimic-cxr-reports")
    shutil.rmtree(raw / "files" / "p10" / "p10000030" / "s50000000")
    found = prepared(MIMIC_CXR_STUDIES, tmp_path)
    assert [len(found[split]) for split in ("train", "val", "test")] == [1, 2, 2]
    assert int(found["train"][0]["study"]) == 1 and found["train"][0]["impression"] == b"Effusion."
    assert list(found["train"][0]["views"]) == [0, 4] and found["test"][0]["negbio"].tolist() == [-2] * 14


def test_damage_is_named(tmp_path, capsys):
    write(tmp_path / "raw", True)
    raw = tmp_path / "raw"
    (raw / "files" / "p10" / "p10000030" / "s50000000" / "0p-aaaa.jpg").write_bytes(b"\xff\xd8 no picture")
    prepare(MIMIC_CXR, raw, tmp_path / "data")
    assert "left out 1 records that cannot be used, the first is record 2: builder: 0p-aaaa.jpg is damaged" in capsys.readouterr().err
    (raw / "mimic-cxr-reports.zip").write_bytes(b"PK no archive")
    with pytest.raises(ValueError, match="mimic-cxr-reports.zip is damaged or cut short"):
        prepare(MIMIC_CXR, raw, tmp_path / "other")
    (raw / "mimic-cxr-reports.zip").unlink()
    write_table(raw / "mimic-cxr-2.0.0-metadata.csv.gz", "dicom_id,study_id", [])
    with pytest.raises(ValueError, match="metadata.csv.gz has no column subject_id, ViewPosition, StudyDate, StudyTime"):
        prepare(MIMIC_CXR, raw, tmp_path / "other")


def test_a_missing_report_is_counted_and_names_no_patient(tmp_path, capsys):
    write(tmp_path / "raw", False)
    (tmp_path / "raw" / "mimic-cxr-reports" / "files" / "p10" / "p10000030" / "s50000000.txt").unlink()
    prepare(MIMIC_CXR, tmp_path / "raw", tmp_path / "other")
    told = capsys.readouterr().err
    assert "mimic_cxr: train: left out 2 records" in told and "no report s50000000.txt in" in told and "p10000030" not in told
    prepare(MIMIC_CXR, tmp_path / "raw", tmp_path / "other")
    assert "mimic_cxr: is there already, so nothing was read" in capsys.readouterr().err
