import zipfile

import pytest

from mmrep.data.builders.tcga import TCGA
from tests.data.builders.folders import prepared, write_table

HEADER = ",case_id,slide_id,site,is_female,oncotree_code,age,survival_months,censorship,train,AAK1_rnaseq,AATF_rnaseq,NOTCH2_cnv,TP53_mut"


def test_tcga_gives_a_patient_one_row_of_three_omics_with_survival_and_its_fold(tmp_path):
    rows = [[n, f"TCGA-2F-{n // 2:04d}", f"TCGA-2F-{n // 2:04d}-01Z-00-DX{n % 2}.svs", "2F", 0, "BLCA", 63 if n else "", 24.11, n // 2 % 2,
             1.0, -0.6734, 0.0071, -1, 1] for n in range(40)]
    write_table(tmp_path / "tcga_blca_all_clean.csv", HEADER, rows)
    (tmp_path / "raw").mkdir()
    with zipfile.ZipFile(tmp_path / "raw" / "tcga_blca_all_clean.csv.zip", "w") as archive:
        archive.write(tmp_path / "tcga_blca_all_clean.csv", "../dataset_csv/tcga_blca_all_clean.csv")  # the name that a release has
    for fold in range(5):
        write_table(tmp_path / "raw" / "splits" / "5foldcv" / "tcga_blca" / f"splits_{fold}.csv", ",train,val",
                    [[0, "TCGA-2F-0010", f"TCGA-2F-{fold:04d}"], [1, "TCGA-2F-0011", ""]])
    found = prepared(TCGA, tmp_path)
    people = {int(r["case"]): r for split in found.values() for r in split}
    assert len(people) == 20 == sum(map(len, found.values())) and all(found.values())
    assert [int(people[n]["fold"]) for n in range(6)] == [0, 1, 2, 3, 4, -1]
    assert [int(people[n]["event"]) for n in range(3)] == [1, 0, 1] and people[0]["months"] == pytest.approx(24.11)
    assert (people[0]["age_known"], people[1]["age"]) == (0, 63)
    assert people[3]["rnaseq"].tolist() == pytest.approx([-0.6734, 0.0071])
    assert people[3]["cnv"].tolist() == [-1] and people[3]["mut"].tolist() == [1]
