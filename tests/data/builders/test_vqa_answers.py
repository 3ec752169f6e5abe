import io
import json
import zipfile

import pyarrow
from PIL import Image
from pyarrow import parquet

from mmrep.data.builders.vqa_answers import PATH_VQA, PMC_VQA, SLAKE
from tests.data.builders.folders import prepared, write_picture, write_table

# a row of train.json as released
ROW = {"img_id": 1, "img_name": "xmlab1/source.jpg", "question": "What modality is used to take this image?", "answer": "MRI",
       "q_lang": "en", "location": "Abdomen", "modality": "MRI", "answer_type": "OPEN", "base_type": "vqa", "content_type": "Modality",
       "triple": ["vhead", "_", "_"], "qid": 0}


def test_slake_reads_its_three_files_and_both_languages(tmp_path):
    for n, name in enumerate(("train.json", "validation.json", "test.json")):
        rows = [ROW | {"img_id": n, "img_name": f"xmlab{n}/source.jpg", "qid": 2 * n},
                ROW | {"img_id": n, "img_name": f"xmlab{n}/source.jpg", "qid": 2 * n + 1, "q_lang": "zh", "answer": "\u662f",
                       "answer_type": "CLOSED"}]
        write_picture(tmp_path / "raw" / "imgs" / f"xmlab{n}" / "source.jpg", 50 * n, "L")  # some are gray
        (tmp_path / "raw" / name).write_text(json.dumps(rows), "utf-8")
    found = prepared(SLAKE, tmp_path)
    for n, name in enumerate(("train", "val", "test")):
        english, chinese = sorted(found[name], key=lambda r: r["language"])
        assert english["case"] == n and english["answer"].decode() == "MRI" and english["answer_type"] == 0
        assert chinese["answer"].decode() == "\u662f" and chinese["answer_type"] == 1
        assert english["image"].shape == (4, 5, 3) and abs(int(english["image"].max()) - 50 * n) <= 2


def test_path_vqa_gives_equal_pictures_one_case_across_splits(tmp_path):
    def jpeg(value: int, mode: str = "RGB") -> bytes:
        out = io.BytesIO()
        Image.new("L", (5, 4), value).convert(mode).save(out, "JPEG")
        return out.getvalue()

    (tmp_path / "raw" / "data").mkdir(parents=True)
    for name, values in {"train": (0, 0, 90), "validation": (120,), "test": (0,)}.items():
        image = [{"bytes": jpeg(v, "CMYK" if v == 90 else "RGB"), "path": None} for v in values]
        table = {"image": image, "question": ["is it?"] * len(values), "answer": ["yes", "in the canals", "no"][:len(values)]}
        parquet.write_table(pyarrow.table(table), tmp_path / "raw" / "data" / f"{name}-00000-of-00001-ab.parquet")
    found = prepared(PATH_VQA, tmp_path)
    assert [sorted(int(r["case"]) for r in found[name]) for name in ("train", "val", "test")] == [[0, 0, 1], [2], [0]]
    assert sorted(int(r["answer_type"]) for r in found["train"]) == [0, 1, 1]
    assert all(r["image"].shape == (4, 5, 3) for split in found.values() for r in split)


def test_pmc_vqa_reads_pictures_out_of_the_zip_and_keeps_papers_together(tmp_path):
    header = "index,Figure_path,Caption,Question,Choice A,Choice B,Choice C,Choice D,Answer,split"
    names = [f"PMC10{n // 2:02d}_F{n % 2}.jpg" for n in range(40)]
    for part, here in (("train", names), ("test", ["PMC9_F1.jpg"])):
        rows = [[n, name, "A figure.", "Which?", " A:CT", " B:MR", " C:US", " D:PET", "B", part] for n, name in enumerate(here)]
        write_table(tmp_path / "raw" / f"{part}_2.csv", header, rows)
    write_picture(tmp_path / "one.jpg", 77)
    with zipfile.ZipFile(tmp_path / "raw" / "images_2.zip", "w") as archive:
        for name in [*names, "PMC9_F1.jpg"]:
            archive.write(tmp_path / "one.jpg", f"figures/{name}")
    found = prepared(PMC_VQA, tmp_path)
    papers = [{int(r["case"]) for r in found[name]} for name in ("train", "val", "test")]
    assert len(found["train"]) + len(found["val"]) == 40 and len(papers[0]) + len(papers[1]) == 20 and papers[2] == {9} and papers[1]
    assert found["test"][0]["answer"] == 1 and found["test"][0]["choice_b"].decode() == "B:MR"
