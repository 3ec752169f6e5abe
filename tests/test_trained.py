"""Other data that hold rows of the training: left out, refused or allowed, and counted; embeddings that say what made them."""

import json

import ml_collections
import numpy as np
import pytest

from mmrep import evaluate, facts, trained
from mmrep import train as loop
from mmrep.data.audit.source import open_splits, stream_of
from mmrep.data.embeddings import embeddings
from mmrep.data.prepare import prepare
from mmrep.data.streams import open_source
from mmrep.opened import open_run, rooted
from tests import runs
from tests.data.audit.tables import PICTURES, changed, write


def quiet(text):
    pass


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run on a table of 24 training rows, and a table of other pictures, 8 of whose 16 test rows were trained on."""
    folder = tmp_path_factory.mktemp("trained")
    columns = {"image": "file", "text": "report", "label": {"dx": "dx"}, "case": "patient"}
    source = {"name": "manifest", "path": str(write(folder / "a")), "columns": columns}
    c = runs.config(total="2 steps", evals={"retrieval": {"name": "retrieval"}})
    with c.unlocked():
        c.data.main = {"source": source, "batch": 16, "prepare": ({"name": "resize", "size": 32},)}
    loop.train(c, folder / "w", say=quiet, shared=runs.SHARED)
    other = write(folder / "b", first=40, rows={i: {"split": "test"} for i in range(24, 40)})
    for i in range(24, 32):  # of the test rows 24..39, which hold pictures 4..19: 8 stored anew, 8 never seen
        (other.parent / f"{i:04d}.jpg").write_bytes(changed(PICTURES[i - 20]))
    for i in range(32, 40):
        (other.parent / f"{i:04d}.jpg").write_bytes(changed(PICTURES[i + 12]))
    return folder, other


def test_rows_that_were_trained_on_are_left_out_and_counted(run, tmp_path):
    folder, other = run
    said = []
    results = evaluate.evaluate(folder / "w", {"path": str(other)}, say=said.append)
    assert results["overlap"]["rows"] == 16 and results["overlap"]["trained"] == results["overlap"]["excluded"] == 8
    assert results["overlap"]["kinds"]["image_near"] == 8 and results["overlap"]["kinds"]["image"] == 0
    assert results["metrics"]["retrieval/image_to_text/R@1/instance"]["n"] == 8
    assert any("left out 8 of 16 rows that were trained on" in line for line in said)
    with pytest.raises(ValueError, match="--overlap refuse: 8 of 16 rows of test were trained on"):
        evaluate.evaluate(folder / "w", {"path": str(other)}, say=quiet, overlap="refuse")
    allowed = evaluate.evaluate(folder / "w", {"path": str(other)}, say=quiet, overlap="allow")
    assert allowed["overlap"] == {"way": "allow", "rows": 16, "unchecked": "--overlap allow"}
    assert allowed["metrics"]["retrieval/image_to_text/R@1/instance"]["n"] == 16
    assert "overlap" not in evaluate.evaluate(folder / "w", say=quiet)
    with pytest.raises(ValueError, match="all 24 rows of train were trained on"):
        evaluate.evaluate(folder / "w", {"channels": 1}, "train", quiet)


def test_rows_of_the_run_that_params_came_from_are_left_out_too(run, tmp_path):
    folder, other = run
    config = open_run(folder / "w").config
    with config.unlocked():
        config.init.path = str(folder / "w")
        config.data.main.source.path = str(write(tmp_path / "c", first=20))
    loop.train(config, tmp_path / "w", say=quiet, shared=runs.SHARED)
    results = evaluate.evaluate(tmp_path / "w", {"path": str(other)}, say=quiet)
    assert "unchecked" not in results["overlap"]
    assert results["overlap"]["excluded"] == 8 and results["metrics"]["retrieval/image_to_text/R@1/instance"]["n"] == 8
    (folder / "w").rename(folder / "gone")
    try:
        told = evaluate.evaluate(tmp_path / "w", {"path": str(other)}, say=quiet)["overlap"]["unchecked"]
    finally:
        (folder / "gone").rename(folder / "w")
    assert "not all of the run's training data" in told and "config.init.path" in told and "no longer there" in told
    with pytest.raises(ValueError, match="--overlap refuse: not all of the run's"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(trained, "source_folder", lambda path, folder: tmp_path / "nowhere")
        evaluate.evaluate(tmp_path / "w", {"path": str(other)}, say=quiet, overlap="refuse")


def test_a_run_on_prepared_rows_is_the_run_on_the_table(run, tmp_path):
    folder, _ = run
    config = open_run(folder / "w").config
    prepared = prepare(config.data.main.to_dict(), tmp_path / "p", 1, 10, quiet)
    c = config.copy_and_resolve_references()
    with c.unlocked():
        c.data.main = {"source": {"name": "records", "path": str(prepared)}, "batch": 16}
    results = loop.train(c, tmp_path / "w", say=quiet, shared=runs.SHARED)
    runs.assert_equal(runs.params(tmp_path / "w"), runs.params(folder / "w"))
    assert results["metrics"] == json.loads((folder / "w" / "results.json").read_text())["metrics"]
    with c.unlocked():  # a run on the table, and one that prepares, are evaluated on prepared rows, too
        c.data.main = config.data.main.to_dict() | {"prepare": ({"name": "center_crop", "size": 32},)}
    again = prepare(c.data.main.to_dict(), tmp_path / "again", 1, 10, quiet)
    loop.train(c, tmp_path / "v", say=quiet, shared=runs.SHARED)
    found = evaluate.evaluate(tmp_path / "v", {"name": "records", "path": str(again)}, say=quiet, overlap="allow")
    assert found["metrics"] == json.loads((tmp_path / "v" / "results.json").read_text())["metrics"]
    assert not open_run(tmp_path / "v", {"name": "records", "path": str(again)}).suite.streams["main"].data.prepare
    with pytest.raises(ValueError, match="its rows were prepared by .*resize.*, the run's by .*center_crop"):
        open_run(tmp_path / "v", {"name": "records", "path": str(prepared)})


def test_categories_of_other_data_are_read_by_their_names(tmp_path):
    rng = np.random.default_rng(0)

    def table(name, odd=()):
        splits = ("train", "train", "val", "test")
        rows = [f"{rng.normal():.3f},{'Aaa' if i in odd else 'FM'[i // 4 % 2]},report {i},{splits[i % 4]}" for i in range(64)]
        (tmp_path / name).write_text("age,sex,text,split\n" + "\n".join(rows) + "\n")
        return str(tmp_path / name)

    columns = {"tabular": ["age"], "category": ["sex"], "text": "text"}
    towers = {"tabular": {"name": "table", "width": 16, "depth": 1, "heads": 2}, "text": runs.TOWERS["text"]}
    c = runs.config(total="1 steps", encoders=towers, objectives={"clip": {"name": "contrastive", "a": "tabular", "b": "text"}})
    with c.unlocked():
        c.data.main = {"source": {"name": "manifest", "path": table("a.csv"), "columns": columns}, "batch": 16}
    loop.train(c, tmp_path / "w", say=quiet, shared=runs.SHARED)
    rng = np.random.default_rng(0)
    path, said = table("b.csv", odd=(3, 7)), []  # two rows of test alone, of a value that comes first in the alphabet
    embed = {name: evaluate.export(tmp_path / "w", tmp_path / f"{name}.npz", data, "val", said.append)
             for name, data in (("own", None), ("other", {"path": path}))}
    own, other = (np.load(file) for file in embed.values())
    np.testing.assert_array_equal(own["tabular/embedding"], other["tabular/embedding"])
    assert any("1 of its 3 values were not among those of training" in line for line in said)


def test_a_run_finds_its_data_from_another_folder(run, tmp_path, monkeypatch):
    folder, other = run
    config = open_run(folder / "w").config
    with config.unlocked():
        config.data.main.source.path = "a/metadata.jsonl"
    monkeypatch.chdir(folder)
    loop.train(config, tmp_path / "w", say=quiet, shared=runs.SHARED)
    before = evaluate.evaluate(tmp_path / "w", say=quiet)
    write(tmp_path / "elsewhere" / "a", first=50)  # another table of the same name lies there
    monkeypatch.chdir(tmp_path / "elsewhere")
    after = evaluate.evaluate(tmp_path / "w", say=quiet)
    assert after["metrics"] == before["metrics"] and after["config_hash"] == before["config_hash"]
    assert evaluate.evaluate(tmp_path / "w", {"path": str(other)}, say=quiet)["overlap"]["excluded"] == 8


def test_files_beside_a_table_come_before_those_of_where_a_run_was_started(tmp_path, monkeypatch):
    for name in ("data/images", "images", "masks", "elsewhere", "run"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a.npz").touch()
    (tmp_path / "run" / "run.json").write_text(json.dumps({"folder": str(tmp_path)}))
    source = {"name": "manifest", "path": "data/t.csv", "images": "images",
              "files": {"mask/a": "masks", "signal": "a.npz/x", "volume": "no"}}
    (tmp_path / "data" / "t.csv").touch()
    config = ml_collections.ConfigDict({"data": {"main": {"source": source}}})
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = rooted(config, tmp_path / "run").data.main.source
    assert found.path == str(tmp_path / "data/t.csv") and found.images == "images"
    assert found.files.to_dict() == {"mask/a": str(tmp_path / "masks"), "signal": str(tmp_path / "a.npz/x"), "volume": "no"}


def test_training_data_that_are_gone_are_told(run, tmp_path):
    folder, other = run
    (folder / "a").rename(folder / "away")
    said = []
    try:
        with pytest.raises(ValueError, match="--overlap refuse: the run's training data cannot be opened .*metadata.jsonl"):
            evaluate.evaluate(folder / "w", {"path": str(other)}, say=quiet, overlap="refuse")
        results = evaluate.evaluate(folder / "w", {"path": str(other)}, say=said.append)
    finally:
        (folder / "away").rename(folder / "a")
    assert results["metrics"] and "training data cannot be opened" in results["overlap"]["unchecked"]
    assert "rows that were trained on may be among them: the run's training data cannot be opened" in said[0]


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_embeddings_are_a_source_that_knows_its_encoder(run, tmp_path, kind):
    folder, _ = run
    for split in ("train", "test"):
        evaluate.export(folder / "w", tmp_path / f"{split}.{kind}", split=split, say=quiet)
    opened = open_run(folder / "w")
    paths = tuple(str(tmp_path / f"{split}.{kind}") for split in ("train", "test"))
    train, test = (embeddings(paths, split, modality="image") for split in ("train", "test"))
    assert (len(train), len(test)) == (24, 8) and train.fields == ("features",)
    assert train[0]["features"].shape == (16,) and train[0]["features"].dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(train.block(np.arange(24))["features"], axis=1), 1, atol=1e-5)
    table = open_source({"source": dict(opened.config.data.main.source.to_dict())}, "test")
    np.testing.assert_array_equal(test.labels["dx"], table.labels["dx"])
    assert test.label_names == table.label_names and test.rows.tolist() == table.rows.tolist() and len(np.unique(test.cases)) == 4
    assert embeddings(paths, "test").fields == ("image_features", "text_features")
    made = json.loads((folder / "w" / "results.json").read_text())["config_hash"]
    assert train.encoder == {"config_hash": made, "checkpoint": trained.digest(opened.params), "step": 2}
    assert trained.digest(opened.params) in train.fingerprint() and made in train.notes[0]
    assert stream_of(paths[0])["source"] == {"name": "embeddings", "path": paths[0]}
    splits, _ = open_splits(stream_of(paths[0]))
    assert list(splits) == ["train"]
    with pytest.raises(ValueError, match="no rows of split 'val'; it has test, train: embed it, too"):
        embeddings(paths, "val")
    with pytest.raises(ValueError, match="no vectors of 'volume'; it has image, text"):
        embeddings(paths, "test", modality="volume")
    write(tmp_path / "t")
    with pytest.raises(ValueError, match="not what `mmrep embed` writes|has no column MODALITY/embedding"):
        embeddings(tmp_path / "t" / "metadata.jsonl", "test")


def test_a_run_on_embeddings_records_their_encoder(run, tmp_path):
    folder, _ = run
    evaluate.export(folder / "w", tmp_path / "e.npz", split="train", say=quiet)
    source = embeddings(tmp_path / "e.npz", "train", modality="text")

    class Nothing:
        specs, sources, measured = {}, {"main": source}, {}
        config, tokenizer = open_run(folder / "w").config, open_run(folder / "w").run.tokenizer

    class Suite:
        streams, entries = {}, staticmethod(lambda: ())

    facts.record(tmp_path, Nothing, Suite, False)
    assert json.loads((tmp_path / "data.json").read_text())["encoders"] == {"main": source.encoder}
