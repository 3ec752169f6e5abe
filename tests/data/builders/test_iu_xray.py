import json
from xml.sax.saxutils import escape

import numpy as np
import pytest

from mmrep.data.builders.base import made
from mmrep.data.builders.iu_xray import IU_XRAY, IU_XRAY_R2GEN
from mmrep.data.tfds import tfds
from tests.data.builders.folders import prepared, write_picture, write_table

HEADER = "uid,filename,projection"  # of indiana_projections.csv
REPORTS = "uid,MeSH,Problems,image,indication,comparison,findings,impression"  # of indiana_reports.csv


def report(number, images, mesh=("normal",), **sections):
    """A report as Open-i's archive holds it, without what is not read."""
    texts = "".join(f'<AbstractText Label="{name}">{escape(text)}</AbstractText>' for name, text in sections.items())
    return (f'<?xml version="1.0" encoding="utf-8"?><eCitation><uId id="CXR{number}"/><MedlineCitation><Article><Abstract>{texts}'
            f"</Abstract></Article></MedlineCitation><MeSH>{''.join(f'<major>{escape(one)}</major>' for one in mesh)}</MeSH>"
            + "".join(f'<parentImage id="{image}"><figureId>F1</figureId></parentImage>' for image in images) + "</eCitation>")


def write(folder, n=30):
    (folder / "ecgen-radiology").mkdir(parents=True)
    for k in range(1, n + 1):
        # the release writes the report's number once or twice
        images = [f"CXR{k}_{f'{k}_' if k < 3 else ''}IM-{k:04d}-{view}001" for view in (3, 4)][:1 + k % 2]
        (folder / "ecgen-radiology" / f"{k}.xml").write_text(report(
            k, images, ("normal",) if k % 3 else ("Cardiomegaly/mild", "Opacity"), FINDINGS="Heart\n is <large>.",
            IMPRESSION=f"Number {k}."))
        for place, image in enumerate(images):
            write_picture(folder / "images" / f"{image}.png", 100 * place, "RGB", (4 + place, 4))
    write_table(folder / "indiana_projections.csv", HEADER,
                [[k, f"{k}_IM-{k:04d}-{view}001.dcm.png", name] for k in range(1, n + 1)
                 for view, name in ((3, "Lateral"), (4, "Frontal"))])


def test_iu_xray_holds_studies_with_the_frontal_image_first(tmp_path, capsys):
    write(tmp_path / "raw")
    (tmp_path / "raw" / "images" / "CXR2_2_IM-0002-3001.png").unlink()
    found = prepared(IU_XRAY, tmp_path)
    assert sum(map(len, found.values())) == 29 and all(found.values()) and "left out 1 records" in capsys.readouterr().err
    rows = {int(r["case"]) + 1: r for split in found.values() for r in split}
    assert [image.shape for image in rows[3]["images"]] == [(4, 5, 1), (4, 4, 1)] and list(rows[3]["views"]) == [1, 2]
    assert rows[3]["images"][0].mean() == 100 and rows[3]["mesh"] == b"Cardiomegaly/mild; Opacity" and not rows[3]["normal"]
    assert rows[4]["findings"] == b"Heart is <large>." and rows[4]["normal"] and len(rows[4]["images"]) == 1
    source = tfds("iu_xray", "train", tmp_path / "prepared")
    example = source[0]
    assert isinstance(example["image"], list) and example["text"].startswith("Heart is <large>.\nNumber ")


def write_kaggle(folder, n=30):
    """The same reports and images as Kaggle's set has them."""
    write_table(folder / "indiana_reports.csv", REPORTS, [
        [k, "normal" if k % 3 else "Cardiomegaly/mild;Opacity", "", "Xray Chest PA and Lateral", "", "", "Heart\n is <large>.",
         f"Number {k}."] for k in range(1, n + 1)])
    images = [(k, f"{k}_IM-{k:04d}-{view}001.dcm.png", name) for k in range(1, n + 1)
              for view, name in ((3, "Lateral"), (4, "Frontal"))[:1 + k % 2]]
    for k, name, view in images:
        write_picture(folder / "images" / "images_normalized" / name, 100 * (view == "Frontal"), "RGB", (4 + (view == "Frontal"), 4))
    write_table(folder / "indiana_projections.csv", HEADER, images)


def test_the_tables_of_kaggle_give_the_same_records(tmp_path):
    write(tmp_path / "open_i")
    write_kaggle(tmp_path / "kaggle")
    for split in ("train", "val", "test"):
        assert list(made(IU_XRAY, tmp_path / "open_i", split)) == list(made(IU_XRAY, tmp_path / "kaggle", split))


def test_r2gen_has_splits_of_its_own(tmp_path):
    write_kaggle(tmp_path / "raw", 6)
    entries = {split: [{"id": f"CXR{k}_IM-{k:04d}-0001", "report": "", "image_path": [], "split": split} for k in uids]
               for split, uids in (("train", (6, 2, 3)), ("val", (1,)), ("test", (5,)))}
    (tmp_path / "raw" / "annotation.json").write_text(json.dumps(entries))
    found = prepared(IU_XRAY_R2GEN, tmp_path)
    assert {split: {int(r["case"]) + 1 for r in rows} for split, rows in found.items()} == {"train": {6, 2, 3}, "val": {1}, "test": {5}}
    assert tfds("iu_xray_r2gen", "val", tmp_path / "prepared")[0]["text"] == "Heart is <large>."
    for text, message in (("[1]", "annotation.json is no JSON of train, val, test"),
                          ('{"test": [{"id": "CXR77_IM-1"}]}', "names the report CXR77_IM-1, which .* does not have")):
        (tmp_path / "raw" / "annotation.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            list(made(IU_XRAY_R2GEN, tmp_path / "raw", "test"))


def test_a_damaged_report_is_named(tmp_path):
    write(tmp_path / "raw")
    for text in ("<eCitation>", '<!DOCTYPE x [<!ENTITY a "b">]><eCitation>&a;</eCitation>'):
        (tmp_path / "raw" / "ecgen-radiology" / "2.xml").write_text(text)
        with pytest.raises(ValueError, match="2.xml is (damaged|no report)"):
            [list(made(IU_XRAY, tmp_path / "raw", split)) for split in ("train", "val", "test")]


def test_every_real_report_is_read(shared, tmp_path):
    """The texts of the release, in its layout, with one small image each."""
    (tmp_path / "ecgen-radiology").mkdir()
    rows = [json.loads(line) for line in (shared / "data" / "iu_cxr_reports" / "reports.jsonl").read_text().splitlines()]
    for row in rows:
        sections = {name.upper(): row[name] or "" for name in ("findings", "impression", "indication", "comparison")}
        text = report(row["uid"][3:], row["images"][:1], row["mesh_major"], **sections)
        (tmp_path / "ecgen-radiology" / f"{row['uid'][3:]}.xml").write_text(text)
        if row["images"]:
            write_picture(tmp_path / "images" / f"{row['images'][0]}.png", 1)
    read = {split: list(made(IU_XRAY, tmp_path, split)) for split in ("train", "val", "test")}
    assert sum(map(len, read.values())) == sum(bool(row["images"]) for row in rows)
    texts = {row["uid"][3:]: row for row in rows}
    assert all(record["findings"] == " ".join((texts[key]["findings"] or "").split()) for split in read.values() for key, record in split)
    assert np.isclose(len(read["train"]) / 3955, 0.7, atol=0.03)
