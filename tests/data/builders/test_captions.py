import json

from mmrep.data.builders.captions import PMC_OA, QUILT_1M
from tests.data.builders.folders import prepared, write_picture, write_table


def test_pmc_oa_keeps_the_figures_of_a_paper_together(tmp_path):
    rows = [{"image": f"PMC{2000 + n // 2}_Fig{n % 2}_4.jpg", "caption": f"A. Figure {n}."} for n in range(30)]
    for row in rows:
        write_picture(tmp_path / "raw" / "images" / "caption_T060_filtered_top4_sep_v0_subfigures" / row["image"], 5)
    rows.append({"image": "PMC2100_Fig1_1.jpg", "caption": "A picture that the archive lacks."})
    (tmp_path / "raw" / "pmc_oa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = prepared(PMC_OA, tmp_path)
    assert sorted(r["caption"].decode() for split in found.values() for r in split) == sorted(row["caption"] for row in rows[:-1])
    assert sum(len({int(r["case"]) for r in split}) for split in found.values()) == 15 and all(found.values())


def test_quilt_tests_on_the_official_val_and_takes_val_out_of_train(tmp_path):
    header = ",caption,image_path,subset,split,pathology,roi_text,noisy_text,corrected_text,med_umls_ids,magnification,height,width"
    rows = [[n, f"Cells, {n}", f"v{n // 2}_image.jpg", "quilt", "val" if n >= 36 else "train", "['Renal']", "", "", "", "", 1, 512, 512]
            for n in range(40)]
    write_table(tmp_path / "raw" / "quilt_1M_lookup.csv", header, rows)
    for n in range(20):
        write_picture(tmp_path / "raw" / "quilt_1m" / f"v{n}_image.jpg", n)
    found = prepared(QUILT_1M, tmp_path)
    assert [len(found[name]) for name in ("train", "val", "test")] == [34, 2, 4] or len(found["val"]) % 2 == 0
    assert sum(len({int(r["case"]) for r in split}) for split in found.values()) == 20
    assert {r["caption"].decode() for r in found["test"]} == {f"Cells, {n}" for n in range(36, 40)}
