"""Two sources that share pictures are told apart from two that share file names."""

import json
from argparse import Namespace

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from mmrep.data.audit.commands import run
from mmrep.data.audit.overlap import as_text, matches, overlap
from mmrep.data.audit.scan import _facts, scan
from mmrep.data.audit.source import open_splits, stream_of
from mmrep.data.audit.split import split_rows
from mmrep.data.audit.validate import validate
from mmrep.data.embeddings import KEY
from mmrep.data.sources import arrays
from tests.data.audit.tables import PICTURES, changed, jpeg, spec, write


def read(stream):
    return scan(open_splits(stream)[0])


def test_pictures_texts_and_names(tmp_path):
    a = read(spec(write(tmp_path / "a")))
    path = write(tmp_path / "b", first=40, rows={4: {"report": "REPORT number 2"}})  # rows 20.. hold pictures 0..19 again
    b = read(spec(path))
    found = overlap(a, b)
    assert found["kinds"]["image"] == {"rows": [20, 20], "values": 20, "pairs": [[i, i + 20] for i in range(20)]}
    assert found["kinds"]["image_near"]["rows"] == [20, 20] and found["kinds"]["text_near"]["pairs"] == [[2, 4]]
    assert found["kinds"]["text"]["values"] == 0
    # 40 equal names 0000.jpg ..., none of the same picture: counters, no ids
    assert found["kinds"]["name"]["rows"] == [40, 40] and not found["names_trusted"] and found["same"]["rows"] == [20, 20]


def test_names_are_ids_where_most_that_match_hold_the_same_picture(tmp_path):
    a = read(spec(write(tmp_path / "a", name=lambda i: f"study_pic{i:05d}.jpg")))
    path = write(tmp_path / "b", first=59, name=lambda i: f"pic{i:05d}.jpg")
    for i in range(40):
        (path.parent / f"pic{i:05d}.jpg").write_bytes(jpeg(PICTURES[-1 - i % 20]) if i % 4 == 0 else changed(PICTURES[i]))
    found = overlap(a, read(spec(path)))
    assert found["kinds"]["image"]["values"] == 0 and found["kinds"]["image_near"]["rows"] == [30, 30]
    assert found["names_trusted"] and found["same"] == {"rows": [40, 40], "kinds": ["image", "image_near", "name"]}


def studies(folder, first=0, keys=("frontal", "lateral"), **changes):
    """20 studies of two pictures each, pictures 2 i and 2 i + 1; some keys alone."""
    path = write(folder, first=first)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    pairs = [{"frontal": a["file"], "lateral": b["file"], "report": a["report"], "patient": a["patient"], "split": a["split"]}
             for a, b in zip(rows[::2], rows[1::2])]
    for i, change in changes.get("rows", {}).items():
        pairs[i] |= change
    out = folder / "studies.jsonl"
    out.write_text("".join(json.dumps(row) + "\n" for row in pairs))
    columns = ",".join(f"image={key}" for key in keys)
    return stream_of(str(out), f"{columns},text=report,case=patient,split=split")


def test_every_picture_of_a_row_is_compared(tmp_path):
    both = read(studies(tmp_path / "a"))
    assert len(both) == 20 and len(both.pictures.rows) == 40
    laterals = overlap(both, read(studies(tmp_path / "b", keys=("lateral",))))
    assert laterals["kinds"]["image"]["rows"] == [20, 20] and laterals["kinds"]["image"]["pairs"][3] == [3, 3]
    assert laterals["kinds"]["name"]["rows"] == [20, 20] and laterals["names_trusted"]
    # test study 17 has a train study's lateral; 18 the pictures of study 2 in the other order; 19 a picture of val, stored anew
    rows = {17: {"lateral": "0003.jpg"}, 18: {"frontal": "0005.jpg", "lateral": "0004.jpg"}}
    stream = studies(tmp_path / "c", rows=rows)
    (tmp_path / "c" / "0039.jpg").write_bytes(changed(PICTURES[27]))
    opened, lost = open_splits(stream)
    found = validate(scan(opened), opened, lost)
    assert found["leakage"]["image"] == {"train/test": {"values": 3, "rows": [2, 2], "examples": found["leakage"]["image"]["train/test"][
        "examples"]}} and sorted(found["leakage"]["image"]["train/test"]["examples"]) == [[1, 17], [2, 18], [2, 18]]
    assert found["leakage"]["image_name"]["train/test"]["rows"] == [2, 2]
    assert found["leakage"]["image_near"]["val/test"]["examples"] == [[13, 19]]
    assert ("FAIL", "leakage train/test") in {(v["mark"], v["what"]) for v in found["verdicts"]}
    for seed in range(3):
        where = dict(zip(*split_rows(opened, (0.6, 0.2, 0.2), (), seed, "near")[:2]))
        assert where[17] == where[1] and where[18] == where[2] and where[19] == where[13]


def test_absent_samples_are_not_alike():
    pictures = np.stack([np.stack([PICTURES[i], np.zeros_like(PICTURES[i])])[..., None] for i in range(4)])
    source = arrays(image=pictures, present={"image": np.ones(4, bool)})
    source.block = None
    del source.block
    marked = [dict(source[i], present={"image": np.array([True, False])}) for i in range(4)]
    facts = [_facts(one) for one in marked]
    assert len({one["digest/image"][0] for one in facts}) == 4 and all(len(one["digest/image"]) == 1 for one in facts)


def test_the_same_patients_are_found_where_ids_are_of_a_registry(tmp_path):
    for name, of, trusted in (("counted", "P{:03d}", False), ("registry", "1{:07d}9", True)):
        rows = {i: {"patient": of.format(i // 2 * 7919 % 9973 if trusted else i // 2)} for i in range(80)}
        a = read(spec(write(tmp_path / name / "a", rows=rows)))
        b = read(spec(write(tmp_path / name / "b", first=20, rows={i: rows[i if i < 10 else 40 + i] for i in range(40)})))
        found = overlap(a, b)
        assert found["kinds"]["case"]["rows"] == [10, 10]
        assert found["cases_trusted"] == trusted and ("case" in found["same"]["kinds"]) == trusted
        assert "case" in overlap(a, b, cases="yes")["same"]["kinds"] and "case" not in overlap(a, b, cases="no")["same"]["kinds"]
        told = as_text(found, "a", "b") + json.dumps(found)
        assert ("a side numbers its own in order" in told) != trusted and of.format(0) not in told
    few = read(spec(write(tmp_path / "few", first=20, rows={i: {"patient": f"P{(i % 5) * 400 + 1:03d}"} for i in range(40)})))
    assert not few.counted and "case" not in overlap(read(spec(tmp_path / "counted" / "a" / "metadata.jsonl")), few)["same"]["kinds"]
    plain = read(stream_of(str(tmp_path / "counted" / "a"), "image=file,split=split"))
    assert "case: not compared, B has none" in as_text(overlap(a, plain), "a", "b")


def test_a_patient_is_the_same_as_integer_float_and_text(tmp_path):
    ids = [71023457 + 7919 * (i // 2) for i in range(20)]
    pq.write_table(pa.table({"text": [f"a {i}" for i in range(20)], "patient": pa.array([None, *map(float, ids[1:])])}),
                   tmp_path / "a.parquet")
    (tmp_path / "b.csv").write_text("text,patient\n" + "".join(f'b {i},"{one} "\n' for i, one in enumerate(ids)))
    a, b = (read(stream_of(str(tmp_path / name), "text=text,case=patient")) for name in ("a.parquet", "b.csv"))
    assert overlap(a, b)["kinds"]["case"]["rows"] == [19, 20] and "case" in overlap(a, b)["same"]["kinds"]


def test_embeddings_keep_the_ids_and_names_of_their_rows(tmp_path):
    n, made = 12, {"config_hash": "c", "checkpoint": "k", "step": 1}
    ids = [f"1{i * 7919 % 9973:07d}9" for i in range(n)]
    np.savez(tmp_path / "e.npz", **{"image/embedding": np.eye(n, 4, dtype=np.float32),
                                    "case": np.array(["", *ids[1:]]),
                                    "split": np.full(n, "train"), "image": np.array([f"{i}.jpg" for i in range(n)]),
                                    KEY: np.array(json.dumps(made))})
    (tmp_path / "b.csv").write_text("text,patient\n" + "".join(f"b {i},{one}\n" for i, one in enumerate(ids)))
    a, b = read(stream_of(str(tmp_path / "e.npz"))), read(stream_of(str(tmp_path / "b.csv"), "text=text,case=patient"))
    assert overlap(a, b)["same"]["rows"] == [11, 11] and "name" in a.digest
    prepared = as_text(overlap(read({"source": {"name": "phantom", "n": 8}}), b), "a", "b")
    assert "case: not compared, A keeps no ids, only numbers for them" in prepared


def test_names_in_other_folders_are_no_leakage(tmp_path):
    for n, split in ((0, "train"), (1, "test")):
        (tmp_path / split).mkdir()
        for i in range(12):
            (tmp_path / split / f"{i:04d}.png").write_bytes(jpeg(PICTURES[12 * n + i]))
            (tmp_path / split / f"MPX{1000 + i}.png").write_bytes(jpeg(PICTURES[30 + 12 * n + i]))
    rows = [f"{split}/{name},{split}" for split in ("train", "test") for i in range(12) for name in (f"{i:04d}.png", f"MPX{1000 + i}.png")]
    (tmp_path / "t.csv").write_text("file,split\n" + "\n".join(rows))
    opened, lost = open_splits(stream_of(str(tmp_path / "t.csv"), "image=file,split=split"))
    found = validate(scan(opened), opened, lost)
    assert set(found["leakage"]) == {"image_stem"} and found["leakage"]["image_stem"]["train/test"]["values"] == 12
    assert not any(v["mark"] == "FAIL" for v in found["verdicts"])


def test_texts_alone_are_the_same_by_text(tmp_path):
    path = write(tmp_path / "a")
    texts = stream_of(str(path), "text=report,split=split")
    other = stream_of(str(write(tmp_path / "b", first=30)), "text=report,split=split")
    found = overlap(read(texts), read(other))
    assert found["same"] == {"rows": [10, 10], "kinds": ["text_near"]}


def test_vqa_rad_in_medpix(shared):
    """19 pictures by the id in their names; 17 of them by their content, too, and two more under other ids (looked at)."""
    medpix = read(stream_of(str(shared / "data" / "medpix2"), "image=image,text=caption,split=split,case=case_id", {"splits.val": "dev"}))
    vqa = read(stream_of(str(shared / "data" / "vqa_rad" / "qa.jsonl"), "image=image,text=question,split=split"))
    found = overlap(medpix, vqa)
    assert found["kinds"]["name"]["values"] == 19 and found["kinds"]["image"]["values"] == 10 and found["names_trusted"]
    assert found["kinds"]["image_near"]["rows"][0] == 19 and found["same"] == {"rows": [21, 221], "kinds": ["image", "image_near", "name"]}
    by_name, near = (set(matches(medpix, vqa)[kind][0].tolist()) for kind in ("name", "image_near"))
    assert len(by_name & near) == 17 and len(by_name - near) == 2 and len(near - by_name) == 2


def test_nothing_read_is_no_all_clear(tmp_path):
    path = write(tmp_path)
    args = {"action": "overlap", "a": str(path), "b": str(path), "columns": "image=file", "columns_b": "signal=file", "data": (),
            "data_b": ("read.signal.native_rate=100",), "near": 6, "cases": "auto", "json": False}
    with pytest.raises(ValueError, match="none of its 40 rows could be read, so nothing can be compared; e.g. .*columns are --columns-b"):
        run(Namespace(**args), (), lambda text: None)
