"""Validation finds what was put wrong into a table, counts it, and prints nobody's name; real sets have the traps they are known for."""

import json

import numpy as np
import pytest

from mmrep.data import streams
from mmrep.data.audit import describe, report
from mmrep.data.audit.scan import scan
from mmrep.data.audit.source import open_splits, stream_of
from mmrep.data.audit.validate import validate
from mmrep.data.sources import arrays
from tests.data.audit.tables import PICTURES, changed, spec, write


def audited(stream):
    opened, lost = open_splits(stream)
    return validate(scan(opened), opened, lost)


def test_every_trap_is_found_counted_and_no_name_told(tmp_path):
    path = write(tmp_path, rows={
        3: {"report": None}, 5: {"dx": None}, 7: {"report": "The same, in capitals"}, 30: {"report": "the same in CAPITALS!"},
        9: {"patient": "PATIENT-X"}, 35: {"patient": "PATIENT-X"}, 11: {"file": "0010.jpg"}, 12: {"split": "held out"},
        39: {"file": "gone.jpg"}})
    (tmp_path / "0033.jpg").write_bytes(changed(PICTURES[20]))  # of test, as row 20 of train
    (tmp_path / "0015.jpg").write_bytes((tmp_path / "0015.jpg").read_bytes()[:300])
    found = audited(spec(path, columns={"group": "report"}))
    assert found["rows"] == 38 and found["skipped"] == 2 and {p["row"] for p in found["problems"]} == {15, 39}
    assert {s: (v["rows"], v["skipped"]) for s, v in found["splits"].items()} == {
        "train": (22, 1), "val": (8, 0), "test": (7, 1), "none": (1, 0)}
    assert found["missing"]["text"] == {"train": 1, "val": 0, "test": 0, "none": 0} and found["labels"]["dx"]["unknown"]["train"] == 1
    assert found["labels"]["dx"]["counts"]["val"] == {"a": 4, "b": 4}
    assert set(found["leakage"]) == {"case", "image_near", "text_near"}
    assert found["leakage"]["case"] == {"train/test": {"values": 1, "rows": [1, 1], "examples": [[9, 35]]}}
    assert found["leakage"]["image_near"]["train/test"]["examples"] == [[20, 33]]
    assert found["leakage"]["text_near"]["train/val"]["examples"] == [[7, 30]]
    assert found["duplicates"]["image_name"] == found["duplicates"]["image"] == {"values": 1, "rows": 2}
    assert found["duplicates"]["image_near"] == {"values": 2, "rows": 4}
    marks = {(v["mark"], v["what"]) for v in found["verdicts"]}
    assert {("FAIL", "readable"), ("FAIL", "leakage train/test"), ("LOOK", "leakage train/val"), ("LOOK", "text")} <= marks
    page = report.write_html(found, "my set", tmp_path / "page.html").read_text()
    told = json.dumps(found) + page + report.summary(found, "my set")
    assert "PATIENT-" not in told and "capitals" not in told.lower() and "gone.jpg" in told and "0015.jpg" in told
    assert "<script" not in page and "http" not in page
    assert json.loads(json.dumps(found)) == found
    assert describe.describe(*open_splits(spec(path)))["splits"]["train"]["cases"] == 13


def test_what_could_not_be_read_is_not_called_clean_and_findings_are_told_apart(tmp_path):
    path = write(tmp_path / "a", rows={i: {"split": "Test"} for i in range(32, 40)})
    found = audited(spec(path))
    assert any(v["mark"] == "LOOK" and "did you mean 'test'" in v["text"] for v in found["verdicts"])
    for picture in (tmp_path / "a").glob("*.jpg"):
        picture.write_bytes(b"no picture")
    found = audited(spec(path))
    assert found["rows"] == 0 and not {"case", "leakage"} & {v["what"] for v in found["verdicts"]}, found["verdicts"]
    lines = ["a,b,report,split"] + [f"{(1, 0, -1, '')[i % 4]},{i % 2},words {i},train" for i in range(20)]
    (tmp_path / "f.csv").write_text("\n".join(lines))
    stream = {"source": {"name": "manifest", "path": str(tmp_path / "f.csv"), "columns": {"text": "report", "label": {"f": ["a", "b"]}}}}
    found = audited(stream)
    assert [found["labels"]["f"][key]["train"] for key in ("counts", "absent", "open")] == [
        {"a": 5, "b": 10}, {"a": 5, "b": 10}, {"a": 10, "b": 0}]
    page = report.write_html(found, "f", tmp_path / "f.html").read_text()
    assert "5 / 5 / 10" in page and "width:6.00rem" in page
    assert "5 / 5 / 10" in report.summary(found, "f") and "a 5 / 5 / 10" in describe.as_text(describe.describe(*open_splits(stream)), "f")


def test_pictures_of_any_column_are_guessed_and_what_is_not_used_is_told(tmp_path):
    path = write(tmp_path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows = [{"frontal": row["file"], "lateral": row["file"], "report": row["report"], "age": 40 + i} for i, row in enumerate(rows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = []
    assert stream_of(str(path), say=said.append)["source"]["columns"]["image"] == ["frontal", "lateral"]
    assert "image=frontal+lateral; not used: age" in said[0]
    more = {"columns.case": "age", "columns.label.old": "age", "channels": "3"}  # --data, on top of what is guessed or named
    for columns in ("", "image=frontal,text=report"):
        source = stream_of(str(path), columns, more, say=said.append)["source"]
        assert source["columns"]["case"] == "age" and source["columns"]["label"] == {"old": "age"} and source["channels"] == 3
        assert source["columns"]["image"] == ("frontal" if columns else ["frontal", "lateral"]) and source["columns"]["text"] == "report"
    for columns, wrong, told in (("", {"columns.nonsense": "7"}, "columns\\['nonsense'\\] is not one of"),
                                 ("image=frontal", {"columns.image.x": "7"}, "columns.image.x: columns.image is 'frontal', which has"),
                                 ("image=frontal", {"columns": "{'text': 'report'}"}, "--columns names them, too")):
        with pytest.raises(ValueError, match=told):
            open_splits(stream_of(str(path), columns, wrong, say=said.append))


def test_who_somebody_is_is_never_guessed_as_a_label_nor_told(tmp_path):
    lines = [f"note {i},{('DOE^JANE', 'ROE^JIM')[i % 2]},{9912345678 + i % 3},{'ab'[i % 2]},{71000 + i}" for i in range(40)]
    (tmp_path / "t.csv").write_text("report,PatientName,mrn_no,dx,patient\n" + "\n".join(lines))
    stream = stream_of(str(tmp_path / "t.csv"), say=lambda text: None)
    assert list(stream["source"]["columns"]["label"]) == ["dx"] and "DOE" not in json.dumps(audited(stream))
    for columns, told in (("text=report,split=patient", "it has 40 other values"), ("text=report,label=mrn_no", "number beyond int32")):
        with pytest.raises(ValueError, match=told) as error:
            streams.open_source(stream_of(str(tmp_path / "t.csv"), columns), "train" if "split" in columns else "all", "source")
        assert "71001" not in str(error.value) and "99123" not in str(error.value)


def test_rows_without_a_patient_are_none(tmp_path):
    found = audited(spec(write(tmp_path, rows={i: {"patient": None} for i in range(12)})))
    assert found["cases"] == 14 and found["without_case"] == 12 and found["splits"]["train"]["cases"] == 6
    assert any(v["mark"] == "LOOK" and "12 rows name no patient" in v["text"] for v in found["verdicts"])


def test_labels_that_only_reading_tells_and_shapes_that_differ(tmp_path):
    found = describe.describe(*open_splits({"source": {"name": "phantom", "scale": "tiny", "modalities": ("text",)}}))
    assert sum(found["labels_of_read"]["laterality"]["train"].values()) == 64
    assert list(found["labels_of_read"]["age"]) == ["train", "val", "test"]
    assert "label laterality (of the rows read) of train: 0 " in describe.as_text(found, "phantom")
    for i, length in enumerate((5, 5, 7)):
        np.save(tmp_path / f"{i}.npy", np.full((length, 12), i, np.float32))
    (tmp_path / "t.csv").write_text("ecg\n0\n1\n2\n")
    found = audited({"source": {"name": "manifest", "path": str(tmp_path / "t.csv"), "columns": {"signal": "ecg"},
                                "read": {"signal": {"native_rate": 100}}}})
    (tmp_path / "v.csv").write_text("scan\n0.npy\n1.npy\n")
    for i, dtype in enumerate((np.uint8, np.int16)):
        np.save(tmp_path / f"{i}.npy", np.full((4, 4, 4), i + 1, dtype))
    mixed = audited({"source": {"name": "manifest", "path": str(tmp_path / "v.csv"), "columns": {"volume": "scan"}}})
    assert not any(" shapes" in line["text"] for line in mixed["verdicts"])
    (told,) = (line["text"] for line in found["verdicts"] if line["what"] == "signal" and "of 2 shapes" in line["text"])
    assert told.endswith("the most frequent is float32[5, 12]")


def test_reasons_of_bad_rows_are_counted_and_a_wrong_column_of_splits_is_told(tmp_path):
    path = write(tmp_path)
    for i in range(3):
        (tmp_path / f"{i:04d}.jpg").write_bytes(b"no picture")
    (tmp_path / "0007.jpg").unlink()
    (line,) = (v for v in audited(spec(path))["verdicts"] if v["what"] == "readable")
    assert line["mark"] == "FAIL" and "4 of 40 rows are bad: 3 such as (" in line["text"] and "1 such as (" in line["text"]
    opened, lost = open_splits(stream_of(str(path), "text=report,split=patient"))
    assert list(opened) == ["all"] and "has no split 'train'; it has" in lost["train"] and len(lost) == 3


def test_classes_that_could_be_persons_are_not_named(tmp_path):
    rows = [f"note {i},Person {i % 30},{'Jane Doe' if i == 5 else 'FM'[i % 2]}" for i in range(40)]
    (tmp_path / "t.csv").write_text("text,who,sex\n" + "\n".join(rows))
    stream = stream_of(str(tmp_path / "t.csv"), "text=text,label=who,label=sex")
    found, few = audited(stream), describe.describe(*open_splits(stream))
    for told in (json.dumps(found), report.summary(found, "t"), json.dumps(few), describe.as_text(few, "t")):
        assert "Person" not in told and "Jane" not in told and '"F"' in told or "F " in told


def test_a_clean_set_is_ok_and_a_source_without_splits_is_read_whole(tmp_path):
    found = audited(spec(write(tmp_path)))
    assert not found["leakage"] and {v["mark"] for v in found["verdicts"]} == {"ok"}, found["verdicts"]
    bare = tmp_path / "bare.csv"
    bare.write_text("age,sex,score\n" + "".join(f"{40 + i},{'MF'[i % 2]},{i / 3:.2f}\n" for i in range(40)))
    said = []
    stream = stream_of(str(bare), say=said.append)
    assert stream["source"]["columns"] == {"label": {"sex": "sex"}, "tabular": ["age", "score"]} and "guessed label=sex" in said[0]
    found = audited(stream)
    assert found["splits"] == {"all": {"rows": 40, "skipped": 0}} and found["fields"]["tabular"]["max"] == 79


def test_values_that_are_not_finite_and_fields_that_are_constant_are_told():
    signal = np.zeros((4, 8, 2), np.float32)
    signal[2, 3, 1] = np.nan
    found = arrays(signal=signal, features=np.ones((4, 3), np.float32), **{"label/age": np.array([1.0, np.nan, 3, 4], np.float32),
                   "label/findings": np.array([[1, 0], [-1, -1], [1, 1], [0, 0]], np.int8)})
    found = validate(scan({"train": found}), {"train": found})
    assert found["fields"]["signal"]["not_finite"] == [2] and ("FAIL", "signal") in {(v["mark"], v["what"]) for v in found["verdicts"]}
    assert found["labels"]["age"]["range"]["train"] == [1.0, pytest.approx(8 / 3), 4.0] and found["labels"]["age"]["unknown"]["train"] == 1
    assert found["labels"]["findings"]["counts"]["train"] == {"0": 2, "1": 1} and found["labels"]["findings"]["unknown"]["train"] == 1
    assert found["duplicates"]["features"] == {"values": 1, "rows": 4} and found["duplicates"]["signal"] == {"values": 1, "rows": 3}


def test_rows_of_a_mixture_are_named_with_their_component(tmp_path):
    a, b = (spec(write(tmp_path / name, first=first))["source"] for name, first in (("a", 0), ("b", 50)))
    found = audited({"sources": {"ours": a | {"weight": 1.0}, "theirs": b | {"weight": 2.0}}})
    assert found["rows"] == 80 and found["cases"] == 40  # PATIENT-25 of the one is not that of the other
    assert found["leakage"]["image"]["train/val"]["examples"][0][0].startswith(("ours:", "theirs:"))


def test_the_standard_split_of_vqa_rad_shares_203_pictures(shared):
    path = shared / "data" / "vqa_rad" / "qa.jsonl"
    found = audited(stream_of(str(path), "image=image,text=question,split=split"))
    assert found["rows"] == 3515 and found["skipped"] == 0
    for kind in ("image", "image_name", "image_near"):
        assert found["leakage"][kind]["train/test"]["values"] == 203
    clean = audited(stream_of(str(path), "image=image,text=question,split=split_image_disjoint"))
    assert not {"image", "image_name", "image_near"} & set(clean["leakage"]) and list(clean["splits"]) == ["train", "val", "test"]
