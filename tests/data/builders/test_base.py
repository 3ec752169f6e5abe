"""Preparing: what is lazy, what is left out, what stops; the same records on Beam."""

import importlib.util
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mmrep.cli import main
from mmrep.data.builders.base import BEAM_PARTS, Dataset, made, prepare
from mmrep.data.builders.layout import picture
from mmrep.data.builders.rsna_pneumonia import RSNA_PNEUMONIA
from mmrep.data.sources import BadRow
from tests.data.builders.folders import write_picture
from tests.data.builders.test_rsna_pneumonia import write_folder

ROWS = {"train": 150, "val": 3, "test": 1}


def _features(f):
    return {"image": f.Image(shape=(None, None, 1)), "number": np.int32, "report": f.Text()}


def _record(folder: Path, number: int):
    if number % 10 == 7:
        raise BadRow("an image that cannot be used")
    (folder / f"read{number}").touch()
    return {"image": picture((folder / f"{number % 4}.png").read_bytes(), "a picture", 1), "number": number, "report": f"no. {number}\n"}


def _examples(folder: Path, split: str):
    first = sum(ROWS[name] for name in list(ROWS)[:list(ROWS).index(split)])
    for number in range(first, first + ROWS[split]):
        yield f"key{number}", partial(_record, folder, number)


SET = Dataset(name="numbers", description="", homepage="", license="", citation="", manual="pictures", layout="", features=_features,
              examples=_examples)


@pytest.fixture
def folder(tmp_path):
    for value in range(4):
        write_picture(tmp_path / "raw" / f"{value}.png", 60 * value, "L")
    return tmp_path / "raw"


def test_a_record_that_cannot_be_used_is_left_out_and_counted(folder, capsys):
    found = [record["number"] for _, record in made(SET, folder, "train")]
    assert found == [n for n in range(150) if n % 10 != 7]
    assert "numbers: train: left out 15 records that cannot be used" in capsys.readouterr().err


def test_a_split_that_would_be_empty_is_told(folder):
    empty = SET._replace(examples=lambda folder, split: iter(()))
    with pytest.raises(ValueError, match="builder numbers: val would be empty: left out 0 records.*are all files there"):
        list(made(empty, folder, "val"))


def test_parts_share_the_records_and_make_only_their_own(folder):
    parts = [[key for key, _ in made(SET, folder, "train", part, BEAM_PARTS)] for part in range(BEAM_PARTS)]
    assert sorted(sum(parts, [])) == sorted(key for key, _ in made(SET, folder, "train")) and max(map(len, parts)) == 3
    for path in folder.glob("read*"):
        path.unlink()
    list(made(SET, folder, "train", 5, BEAM_PARTS))
    assert sorted(path.name for path in folder.glob("read*")) == ["read133", "read5", "read69"]


@pytest.mark.parametrize("error, kind", [(BadRow("no good"), ValueError), (KeyError("age"), ValueError), (ImportError("x"), ValueError),
                                         (FileNotFoundError("no file"), FileNotFoundError)])
def test_what_examples_itself_raises_stops_and_is_told_by_number(folder, error, kind):
    def examples(folder, split):
        yield "a", {"number": 0}
        yield "b", lambda: {"number": 1}
        raise error
        yield "c", {"number": 2}

    records = made(SET._replace(examples=examples), folder, "val")
    assert [next(records)[0], next(records)[0]] == ["a", "b"]
    with pytest.raises(kind, match="builder numbers: val record 3: ") as told:
        next(records)
    assert not isinstance(told.value, BadRow)


@pytest.mark.parametrize("wrong, told", [({"number": "one"}, "number"), ({"image": b"no picture", "kind": "worse"}, "kind.*'worse'"),
                                         ({"number": 2**40}, "number"), ({"report": ...}, "report")])
def test_a_record_that_does_not_fit_is_told_by_its_feature_without_its_report(folder, tmp_path, wrong, told):
    def examples(folder, split):
        record = {"image": (folder / "0.png").read_bytes(), "number": 0, "report": "Doe, Jane, is ill", "kind": "ill"} | wrong
        yield "a", {key: value for key, value in record.items() if value is not ...}

    with pytest.raises(ValueError, match=f"builder numbers: a record does not fit the set's features: .*{told}") as error:
        prepare(SET._replace(features=lambda f: {**_features(f), "kind": f.ClassLabel(names=("well", "ill"))}, examples=examples), folder,
                tmp_path / "data")
    assert "Doe" not in str(error.value) and "\n" not in str(error.value) and error.value.__cause__ is None


BEAM = importlib.util.find_spec("apache_beam") is not None


@pytest.mark.skipif(BEAM, reason="Beam is installed")
def test_beam_that_is_not_installed_is_told(folder, tmp_path, capsys):
    command = ["data", "build", "ham10000", "--manual-dir", str(folder), "--data-dir", str(tmp_path / "data"), "--beam"]
    assert main(command) != 0 and 'Beam is not installed: pip install "mmrep[beam]"' in capsys.readouterr().err


needs_beam = pytest.mark.skipif(not BEAM, reason="needs the extra `beam`, which wants other versions than constraints.txt: make test-beam")


@needs_beam
def test_beam_prepares_a_set_of_the_list_alike(tmp_path):
    def read(builder):
        rows = [{k: np.asarray(v) for k, v in r.items()} for split in RSNA_PNEUMONIA.splits for r in builder.as_data_source(split=split)]
        return sorted(([(k, r[k].shape, r[k].tobytes()) for k in sorted(r)] for r in rows), key=str)

    write_folder(tmp_path / "raw")
    plain, beam = (prepare(RSNA_PNEUMONIA, tmp_path / "raw", tmp_path / name, beam=name == "beam") for name in ("plain", "beam"))
    assert read(plain) == read(beam) and len(read(beam)) == 9
    assert {name: info.num_examples for name, info in beam.info.splits.items()} == {
        "train": 4, "train_10": 2, "train_1": 1, "val": 1, "test": 1}


@needs_beam
def test_beam_prepares_the_same_records(folder, tmp_path):
    def read(builder):
        return {split: sorted((int(r["number"]), r["report"], r["image"].tobytes()) for r in builder.as_data_source(split=split))
                for split in ROWS}

    plain, beam = (prepare(SET, folder, tmp_path / name, beam=name == "beam") for name in ("plain", "beam"))
    assert read(plain) == read(beam) and len(read(beam)["train"]) == 135
    assert beam.info.features.keys() == plain.info.features.keys()
    (folder / "0.png").write_bytes(b"no picture")
    several = ("--runner=DirectRunner", "--direct_num_workers=2", "--direct_running_mode=multi_processing")
    for name, flags in (("again", ()), ("apart", several)):
        found = read(prepare(SET, folder, tmp_path / name, beam=True, flags=flags))
        assert {n for n, *_ in found["train"]} == {n for n in range(150) if n % 10 != 7 and n % 4}  # as without Beam
