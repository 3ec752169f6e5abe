"""Prepared rows are the source's; whatever is killed whenever, the files end the same, byte for byte."""

import hashlib
import json
import os
import random
import signal
import time

import numpy as np
import pytest
from PIL import Image

from mmrep.data import prepare as module
from mmrep.data.prepare import prepare
from mmrep.data.reading import read_rows
from mmrep.data.records import decode, encode, records
from mmrep.data.streams import open_source
from tests import runs
from tests.data.audit.tables import spec, write

SOURCE = "{'name': 'phantom', 'n': 1200, 'missing': {'text': 0.2}}"


def files(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def quiet(text):
    pass


def test_a_record_holds_every_kind_of_value():
    rng = np.random.default_rng(0)
    example = {"image": rng.integers(0, 255, (5, 4, 3), np.uint8), "volume": rng.integers(0, 9, (2, 3, 4, 1)).astype(np.uint16),
               "features": rng.normal(size=7).astype(np.float32), "text": "naïve \"quoted\"\n", "reports": ["a", ""],
               "case": np.int32(4), "label/dx": np.int32(-1), "label/x": np.float32(np.nan), "mask/a": np.ones((2, 2, 1), bool),
               "empty": np.zeros((0, 3), np.int64),
               "present": {"image": np.array([True, False]), "text": True}}
    back = decode(encode(example))
    assert back.keys() == example.keys() and back["text"] == example["text"] and back["reports"] == example["reports"]
    np.testing.assert_equal({k: v for k, v in back.items() if k != "present"}, {k: v for k, v in example.items() if k != "present"})
    assert all(back[k].dtype == v.dtype for k, v in example.items() if isinstance(v, np.ndarray))
    assert back["present"]["image"].tolist() == [True, False] and back["present"]["text"]
    assert encode(back) == encode(example)
    study = {"image": [rng.integers(0, 255, (4, 3 + i, 1), np.uint8) for i in range(12)]}  # of different sizes
    assert [one.tolist() for one in decode(encode(study))["image"]] == [one.tolist() for one in study["image"]]
    with pytest.raises(ValueError, match="'x' is object"):
        encode({"x": np.array([None])})


def test_rows_are_those_of_the_source(tmp_path):
    path = write(tmp_path / "t", rows={3: {"report": None}, 7: {"file": "gone.jpg"}})
    (tmp_path / "t" / "0009.jpg").write_bytes(b"no picture")
    stream = spec(path, on_error="skip") | {"prepare": ({"name": "resize", "size": 32},)}
    folder = prepare(stream, tmp_path / "p", 1, 5, quiet)
    for split, rows in (("train", 22), ("val", 8), ("test", 8)):
        source, back = open_source(stream, split), records(folder, split)
        kept = [i for i, e in enumerate(read_rows(source, np.arange(len(source)))) if isinstance(e, dict)]
        assert len(back) == len(kept) == rows and back.rows.tolist() == source.rows[kept].tolist()
        for i, j in enumerate(kept):
            np.testing.assert_equal(back[i], dict(source[j]))
        assert back.texts(np.array([2])) == source.texts(np.array([kept[2]])) and back.label_names == source.label_names
        np.testing.assert_array_equal(back.cases, source.cases[kept])
        np.testing.assert_array_equal(back.has["text"], source.has["text"][kept])
        assert back.fields == source.fields and "PATIENT" not in b"".join(f.read_bytes() for f in folder.iterdir()).decode("latin-1")
    with pytest.raises(FileNotFoundError, match="t/metadata.jsonl row 7 .*gone.jpg"):
        prepare(spec(path), tmp_path / "q", 1, 5, quiet)
    with pytest.raises(ValueError, match="row 9 .*not a picture"):
        prepare(spec(path, filter={"file": {"not": "gone.jpg"}}), tmp_path / "r", 2, 5, quiet)
    with pytest.raises(FileNotFoundError, match="not finished; run the same `mmrep data prepare` again"):
        records(tmp_path / "r", "train")


def test_another_source_or_process_is_refused(tmp_path):
    path = write(tmp_path / "t")
    prepare(spec(path), tmp_path / "p", 1, 16, quiet)
    before = files(tmp_path / "p")
    for other, shard in ((spec(path, channels=3), 16), (spec(path), 8), (spec(path) | {"prepare": ({"name": "resize", "size": 8},)}, 16)):
        with pytest.raises(ValueError, match="holds rows of another source, transform, version or shard size"):
            prepare(other, tmp_path / "p", 1, shard, quiet)
    fast = spec(path, decode="fast")
    prepare(fast, tmp_path / "f", 1, 16, quiet)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ValueError, match="holds rows of another source"):
        patch.setattr(module.fast, "packages", lambda: None)  # the same command where the fast decoders are gone
        prepare(fast, tmp_path / "f", 1, 16, quiet)
    moved = write(tmp_path / "elsewhere")
    said = []
    prepare(spec(moved), tmp_path / "p", 1, 16, said.append)  # where the data lie does not matter
    assert "4 of 4 shards are there" in said[0] and files(tmp_path / "p").keys() == before.keys()
    picture = moved.parent / "0003.jpg"
    picture.write_bytes(picture.read_bytes() + b"\0")
    with pytest.raises(ValueError, match="or of files that have changed"):
        prepare(spec(moved), tmp_path / "p", 1, 16, quiet)
    with module._locked(tmp_path / "p"), pytest.raises(ValueError, match="another process prepares it"):
        prepare(spec(path), tmp_path / "p", 1, 16, quiet)
    with pytest.raises(ValueError, match="holds something else"):
        prepare(spec(path), tmp_path / "t", 1, 16, quiet)
    with pytest.raises(ValueError, match="no split 'dev'; it has test, train, val"):
        records(tmp_path / "p", "dev")


def test_a_mixture_whose_parts_have_other_labels_is_refused_before_a_row_is_written(tmp_path):
    parts = {name: {"name": "manifest", "path": str(write(tmp_path / name)), "columns": columns} for name, columns in (
        ("a", {"image": "file", "label": "dx"}), ("b", {"image": "file"}))}
    for order in (("a", "b"), ("b", "a")):
        with pytest.raises(ValueError, match="not every source of the mixture gives label/dx; prepare each by itself"):
            prepare({"sources": {name: parts[name] for name in order}}, tmp_path / "out", 1, 8, quiet)
    assert not (tmp_path / "out").exists()


def test_pictures_of_several_sizes_in_a_row_come_back(tmp_path):
    path = write(tmp_path / "t")
    for i in range(0, 40, 3):
        Image.new("L", (9 + i, 7), i).save(tmp_path / "t" / f"{i:04d}l.png")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    rows = [line | {"file": [line["file"]] + ([f"{i:04d}l.png"] if i % 3 == 0 else [])} for i, line in enumerate(lines)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = prepare(spec(path), tmp_path / "p", 1, 16, quiet)
    source, back = open_source(spec(path), "train"), records(folder, "train")
    assert {len(source[i]["image"]) for i in range(24)} == {1, 2}
    for i in range(24):
        np.testing.assert_equal(back[i], dict(source[i]))


def test_killed_at_any_moment_the_files_end_the_same(tmp_path):
    whole, folder, rng = tmp_path / "whole", tmp_path / "killed", random.Random(0)
    out, _ = runs.finish(runs.start("data", "prepare", SOURCE, "--out", whole, "--processes", 1, "--shard", 100))
    killed = 0
    for attempt in range(5):
        process = runs.start("data", "prepare", SOURCE, "--out", folder, "--processes", 1 + attempt % 3, "--shard", 100)
        done = len(list(folder.glob("*.array_record"))) if folder.is_dir() else 0
        until = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < until:  # until it writes, then a little longer
            if list(folder.glob("*.part*")) and len(list(folder.glob("*.array_record"))) > done:
                break
            time.sleep(0.002)
        time.sleep(rng.random() * 0.05)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)  # the main process alone: the others have to see it themselves
            killed += 1
        process.communicate()
        assert not (folder / "index.json").exists() or process.returncode == 0
        if process.returncode == 0:
            break
    assert killed
    runs.finish(runs.start("data", "prepare", SOURCE, "--out", folder, "--processes", 2, "--shard", 100))
    assert files(folder) == files(whole)
    assert len(records(folder, "train")) == 1200


def test_damaged_files_raise_only_what_is_documented_and_are_mended(tmp_path):
    path = write(tmp_path / "t")
    folder = prepare(spec(path), tmp_path / "p", 1, 16, quiet)
    before, rng, told = files(folder), random.Random(0), set()
    names = sorted(name for name in before if name != ".lock")
    for _ in range(60):
        file = folder / rng.choice(names)
        whole = file.read_bytes()
        data = bytearray(whole[:rng.randrange(len(whole))] if rng.random() < 0.4 else whole)
        for _ in range(rng.randrange(1, 9) if len(data) == len(whole) else 0):
            data[rng.randrange(len(data))] = rng.randrange(256)
        file.write_bytes(bytes(data))
        try:
            for split in ("train", "val", "test"):
                source = records(folder, split)
                told |= {str(one).partition(":")[0][:7] for one in read_rows(source, np.arange(len(source))) if not isinstance(one, dict)}
        except (ValueError, OSError) as error:
            told.add(str(error)[:7])
            assert "records" in str(error) and str(folder) in str(error)
        file.write_bytes(whole)
    assert told == {"records"}
    shard = folder / "train-00001-of-00002.array_record"
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(ValueError, match="a shard of train is damaged or missing .*delete that shard's .array_record and run the same"):
        records(folder, "train")
    shard.unlink()
    prepare(spec(path), folder, 1, 16, quiet)
    assert files(folder) == before
