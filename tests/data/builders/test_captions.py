import json

from mmrep.data.builders.captions import PMC_OA, QUILT_1M, ROCO_V2
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
    assert [len(found[name]) for name in ("train", "val", "test")] == [32, 4, 4]
    assert sum(len({int(r["case"]) for r in split}) for split in found.values()) == 20
    assert {r["caption"].decode() for r in found["test"]} == {f"Cells, {n}" for n in range(36, 40)}


def test_roco_v2_joins_captions_and_concepts(tmp_path, capsys):
    for part in ("train", "valid", "test"):
        ids = [f"ROCOv2_2023_{part}_{n:06d}" for n in range(1, 4)]
        write_table(tmp_path / "raw" / f"{part}_captions.csv", "ID,Caption", [[name, f"Head CT, {part}."] for name in ids])
        write_table(tmp_path / "raw" / f"{part}_concepts.csv", "ID,CUIs", [[name, "C0040405;C0018670"] for name in ids[:2]])
        for n, name in enumerate(ids[:2] if part == "test" else ids):
            write_picture(tmp_path / "raw" / f"{part}_images" / part / f"{name}.jpg", 20 * n)
    found = prepared(ROCO_V2, tmp_path)
    assert {split: len(rows) for split, rows in found.items()} == {"train": 3, "val": 3, "test": 2}
    assert "left out 1 records" in capsys.readouterr().err and found["val"][0]["caption"] == b"Head CT, valid."
    assert {row["concepts"] for row in found["train"]} == {b"C0040405;C0018670", b""}
