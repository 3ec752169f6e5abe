import hashlib

import pytest

from mmrep.data.builders import five_by_200
from mmrep.data.builders.five_by_200 import CHEXPERT_5X200, MIMIC_5X200, TASKS
from mmrep.data.tfds import tfds
from tests.data.builders.folders import write_picture, write_table
from tests.data.builders.radiographs import every_split

NAMES = ("No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Lesion,Lung Opacity,Edema,Consolidation,Pneumonia,Atelectasis,"
         "Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices")
CHEXPERT = ",Path,Sex,Age,Frontal/Lateral,AP/PA," + NAMES
# of mimic-cxr-2.0.0-negbio.csv.gz, and mimic-cxr-2.0.0-metadata.csv.gz
NEGBIO = ("subject_id,study_id,Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,"
          "No Finding,Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices")
METADATA = ("dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime,"
            "ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,PatientOrientationCodeSequence_CodeMeaning")


def write_chexpert(raw, **changed):
    """Ten images of five patients, two of each finding; changed: of the first row."""
    rows = []
    for n in range(10):
        path = f"train/patient{n // 2:05d}/study{n}/view1_frontal.jpg"
        write_picture(raw / path, 20 * n, "L")
        cells = {"": n, "Path": f"CheXpert-v1.0/{path}", TASKS[n % 5]: "1.0"} | (changed if n == 0 else {})
        rows.append([cells.get(name, "0.0" if name in NAMES else "x") for name in CHEXPERT.split(",")])
    write_table(raw / "chexpert_5x200.csv", CHEXPERT, rows)


def write_mimic(raw, studies=30):
    """Studies of a frontal and a lateral image each; in each sixth another finding is there, too, each seventh is uncertain of one."""
    labels, metadata = [], []
    for n in range(studies):
        subject, study = 10000000 + n // 2, 50000000 + n
        cells = {"subject_id": subject, "study_id": study, TASKS[n % 5]: "1.0"}
        cells |= {"Fracture": "1.0"} if n % 6 == 5 else {"Pneumonia": "-1.0"} if n % 7 == 3 else {"Pneumothorax": "0.0"}
        labels.append([cells.get(name, "") for name in NEGBIO.split(",")])
        place = f"files/p10/p{subject}/s{study}"
        for view in ("AP" if n % 2 else "PA", "LATERAL"):
            image = f"{n:08x}-{view}"
            metadata.append([image, subject, study, "CHEST", view, 4, 5, 21800506, 213014.5, "", "", ""])
            write_picture(raw / place / f"{image}.jpg", 8 * n, "L")
        path = raw / "mimic-cxr-reports" / f"{place}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"                 FINAL REPORT\n FINDINGS:\n\n No fracture.\n\n IMPRESSION:\n {TASKS[n % 5]}.\n")
    write_table(raw / "mimic-cxr-2.0.0-negbio.csv.gz", NEGBIO, labels)
    write_table(raw / "mimic-cxr-2.0.0-metadata.csv.gz", METADATA, metadata)


def test_chexpert_5x200_takes_the_list_of_gloria(tmp_path):
    write_chexpert(tmp_path / "raw")
    [found] = every_split(CHEXPERT_5X200, tmp_path).values()
    assert sorted((int(r["image"].mean() + 9) // 20, int(r["finding"]), int(r["case"])) for r in found) == [
        (n, n % 5, n // 2) for n in range(10)]
    source = tfds("chexpert_5x200", "test", tmp_path / "prepared")
    assert source.label_names == {"finding": list(TASKS)} and source.fields == ("image",)


@pytest.mark.parametrize("cells", [{"Fracture": "1.0"}, {"Atelectasis": "-1.0"}, {"Edema": "1.0"}])
def test_chexpert_5x200_refuses_a_row_that_breaks_the_rule(tmp_path, cells):
    write_chexpert(tmp_path / "raw", **cells)
    with pytest.raises(ValueError, match="row 1 does not have exactly one of the five findings"):
        every_split(CHEXPERT_5X200, tmp_path)


def test_mimic_5x200_draws_frontal_images_of_one_finding_by_the_hash_of_their_id(tmp_path, monkeypatch):
    monkeypatch.setattr(five_by_200, "EACH", 3)
    write_mimic(tmp_path / "raw")
    [found] = every_split(MIMIC_5X200, tmp_path).values()
    numbers = sorted(int(r["image"].mean() + 4) // 8 for r in found)
    assert len(numbers) == 15 and [n % 5 for n in numbers].count(2) == 3 and not any(n % 6 == 5 for n in numbers)
    able = (2, 7, 12, 22, 27)  # of finding 2; 17 has a fracture, too
    ids = {n: f"{n:08x}-{'AP' if n % 2 else 'PA'}" for n in able}
    first = sorted(able, key=lambda n: hashlib.sha256(ids[n].encode()).hexdigest())[:3]
    assert sorted(n for n in numbers if n % 5 == 2) == sorted(first)
    assert all((r["findings_text"], r["impression"].decode()) == (b"No fracture.", f"{TASKS[r['finding']]}.") for r in found)
    assert tfds("mimic_5x200", "test", tmp_path / "prepared")[0]["text"].startswith("No fracture.\n")


def test_mimic_5x200_counts_a_report_that_is_missing(tmp_path, capsys):
    write_mimic(tmp_path / "raw")
    (tmp_path / "raw" / "mimic-cxr-reports" / "files" / "p10" / "p10000001" / "s50000002.txt").unlink()
    every_split(MIMIC_5X200, tmp_path)
    told = capsys.readouterr().err
    assert "test: left out 1 records" in told and "no report s50000002.txt in" in told and "p10000001" not in told
