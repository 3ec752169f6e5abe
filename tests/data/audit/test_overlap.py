"""Two sources that share pictures are told apart from two that share file names."""

from mmrep.data.audit.overlap import matches, overlap
from mmrep.data.audit.scan import scan
from mmrep.data.audit.source import open_splits, stream_of
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
