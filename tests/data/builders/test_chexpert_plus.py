import json

from mmrep.data.builders.chexpert_plus import CHEXPERT_PLUS, FINDINGS
from tests.data.builders.folders import prepared, write_picture, write_table

HEADER = ("path_to_image,path_to_dcm,frontal_lateral,ap_pa,deid_patient_id,patient_report_date_order,report,section_narrative,"
          "section_clinical_history,section_history,section_comparison,section_technique,section_procedure_comments,section_findings,"
          "section_impression,section_end_of_impression,section_summary,section_accession_number,age,sex,race,ethnicity,"
          "interpreter_needed,insurance_type,recent_bmi,deceased,split")


def test_chexpert_plus_joins_reports_labels_and_pictures(tmp_path):
    names, rows, labels = HEADER.split(","), [], []
    for n in range(30):
        part = "valid" if n >= 27 else "train"
        path = f"{part}/patient{n // 2:05d}{part[0]}/study1/view{1 + n % 2}_frontal.jpg"
        row = {"path_to_image": path, "frontal_lateral": "Frontal", "ap_pa": "AP", "deid_patient_id": f"patient{n // 2:05d}{part[0]}",
               "section_findings": "Clear lungs,\nno effusion.", "section_impression": "", "age": 60.0, "sex": "Female", "split": part}
        rows.append([row.get(name, "") for name in names])
        labels.append({"path_to_image": path, **dict.fromkeys(FINDINGS), "Edema": -1.0, "No Finding": 1.0, "Fracture": 0.0})
        write_picture(tmp_path / "raw" / "PNG" / (path[:-4] + ".png"), 8 * n, "L")
    write_table(tmp_path / "raw" / "df_chexpert_plus_240401.csv", HEADER, rows)
    (tmp_path / "raw" / "chexbert_labels").mkdir()
    (tmp_path / "raw" / "chexbert_labels" / "report_fixed.json").write_text("".join(json.dumps(row) + "\n" for row in labels[:-1]))
    found = prepared(CHEXPERT_PLUS, tmp_path)
    assert len(found["test"]) == 3 and len(found["train"]) + len(found["val"]) == 27 and found["val"]
    assert not {int(r["case"]) for r in found["train"]} & {int(r["case"]) for r in found["val"]}
    one, unlabeled = sorted(found["test"], key=lambda r: r["findings"].min() == r["findings"].max())[::2]
    assert (unlabeled["findings"] == -2).all() and not unlabeled["mentioned"].any()
    assert one["findings_text"].decode() == "Clear lungs,\nno effusion." and one["image"].shape == (4, 5, 1)
    assert dict(zip(FINDINGS, one["findings"].tolist())) == dict.fromkeys(FINDINGS, 0) | {"Edema": -1, "No Finding": 1}
    assert {FINDINGS[n] for n in one["mentioned"].nonzero()[0]} == {"Edema", "No Finding", "Fracture"}
