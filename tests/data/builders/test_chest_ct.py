import numpy as np

from mmrep.data.builders.chest_ct import CT_RATE, RAD_CHEST_CT, RAD_LABELS, RATE_LABELS
from tests.data.builders.folders import prepared, write_table, write_volume

REPORTS = "VolumeName,ClinicalInformation_EN,Technique_EN,Findings_EN,Impressions_EN"
LABELS = ("VolumeName,Medical material,Arterial wall calcification,Cardiomegaly,Pericardial effusion,Coronary artery wall calcification,"
          "Hiatal hernia,Lymphadenopathy,Emphysema,Atelectasis,Lung nodule,Lung opacity,Pulmonary fibrotic sequela,Pleural effusion,"
          "Mosaic attenuation pattern,Peribronchial thickening,Consolidation,Bronchiectasis,Interlobular septal thickening")


def test_ct_rate_pairs_volumes_with_reports_and_tests_on_valid(tmp_path):
    for part, table, patients in (("train", "train", range(1, 41)), ("valid", "validation", range(1, 3))):
        names = [f"{part}_{n}_a_1.nii.gz" for n in patients]
        write_table(tmp_path / "raw" / "dataset" / "radiology_text_reports" / f"{table}_reports.csv", REPORTS,
                    [[name, "Not given.", "CT", "Lungs are clear.", "Not given."] for name in names])
        write_table(tmp_path / "raw" / "dataset" / "multi_abnormality_labels" / f"{part}_predicted_labels.csv", LABELS,
                    [[name, 1, *[0] * 17] for name in names])
        for name in names:
            values = np.zeros((4, 6, 2), np.int16)
            values[-1, -1, -1] = 1000  # right, front, top
            patient, study = name.rsplit("_", 2)[0], name.rsplit("_", 1)[0]
            write_volume(tmp_path / "raw" / "dataset" / f"{part}_fixed" / patient / study / name, values, (0.75, 0.75, 1.5))
    found = prepared(CT_RATE, tmp_path)
    assert len(found["test"]) == 2 and len(found["train"]) + len(found["val"]) == 40 and found["val"]
    one = found["test"][0]
    assert one["findings"].decode() == "Lungs are clear." and not one["impression"]
    assert one["labels"].tolist() == [1.0] + [0.0] * (len(RATE_LABELS) - 1)
    assert one["volume"].shape == (2, 6, 4, 1) and one["volume"].dtype == np.uint8
    assert np.argwhere(one["volume"][..., 0] == 255).tolist() == [[1, 0, 0]]  # top slice, front row, the patient's right at the left


def test_rad_chest_ct_counts_a_finding_wherever_it_is(tmp_path):
    header = "NoteAcc_DEID,nodule*right_lung,nodule*left_lung,mass*other_location"
    write_table(tmp_path / "raw" / "CT_Scan_Metadata_Complete_35747.csv", "NoteAcc_DEID,MRN_DEID",
                [[f"{part}00001", f"m{part}"] for part in ("trn", "val", "tst")])
    for part, name in (("imgtrain", "trn"), ("imgvalid", "val"), ("imgtest", "tst")):
        write_table(tmp_path / "raw" / f"{part}_Abnormality_and_Location_Labels.csv", header,
                    [[f"{name}00001", 0, 1, 0], [f"{name}00002", 1, 1, 1]])
        np.savez_compressed(tmp_path / "raw" / f"{name}00001.npz", ct=np.full((3, 4, 5), -1000, np.int16))
    found = prepared(RAD_CHEST_CT, tmp_path)
    assert [len(split) for split in found.values()] == [1, 1, 1]  # 00002 is not among the public scans
    one = found["val"][0]
    assert {RAD_LABELS[n] for n in one["labels"].nonzero()[0]} == {"nodule"}
    assert one["volume"].shape == (3, 4, 5, 1) and not one["volume"].any()
