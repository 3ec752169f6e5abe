"""A config's streams: their keys, the texts a tokenizer learns from, and tokens made for whole blocks."""

import numpy as np
import pytest

from mmrep.data import streams, tokenizers
from mmrep.data.cache import cached
from mmrep.data.mixture import mixture
from mmrep.data.phantom import phantom
from mmrep.data.pipeline import eval_batches, train_batches
from mmrep.data.sources import arrays

SOURCE = {"name": "phantom", "n": 40, "size": 16}


@pytest.mark.parametrize("key,value,message", [
    ("fraction", 10, r"fraction: 10 is not in \(0, 1\]; write 10 % as 0.1"), ("fraction", 0, "fraction: 0 "),
    ("fraction", float("nan"), "fraction: nan"), ("fraction", "10%", "fraction: '10%'"), ("fraction", True, "fraction"),
    ("on_error", "ignore", "on_error: 'ignore'; valid: raise, skip")])
def test_a_wrong_value_names_its_path(key, value, message):
    stream = {"source": SOURCE, "batch": 4, key: value}
    with pytest.raises(ValueError, match=f"config.data.main.{message}"):
        streams.check_streams({"main": stream})
    if key == "fraction":
        with pytest.raises(ValueError, match=f"config.data.x.{message}"):
            streams.open_source(stream, "val", "config.data.x")


def test_streams_over_one_source_read_other_rows():
    source = arrays(image=np.zeros((64, 2, 2, 1), np.uint8))
    seeds = {n: streams.stream_seed(3, n) for n in ("main", "images", "pairs")}
    first = {n: next(iter(train_batches(source, 16, seed, index_offset=0)))["row"].tolist() for n, seed in seeds.items()}
    assert seeds["main"] == 3 and len({tuple(rows) for rows in first.values()}) == 3


def test_fractions_of_the_training_rows_alone():
    for share, split, want in [(0.25, "train", 10), (1, "train", 40), (1.0, "train", 40), (0.25, "val", 40)]:
        stream = {"source": SOURCE, "batch": 4, "fraction": share, "on_error": None}
        streams.check_streams({"main": stream})
        assert len(streams.open_source(stream, split)) == want


def sentences(n, word, **more):
    return arrays(text=[f"{word}{i}" for i in range(n)], **more)


def test_texts_are_spread_over_rows_and_components():
    source = sentences(1000, "a")
    assert [*streams.texts(source, 5)] == ["a0", "a249", "a499", "a749", "a999"]
    assert [*streams.texts(source, 5000)] == [f"a{i}" for i in range(1000)]
    lone = arrays(image=np.zeros((9, 2, 2, 1), np.uint8))
    mixed = mixture({"big": source, "small": sentences(8, "b"), "mute": lone}, {"big": 2, "small": 1, "mute": 1})
    found = [*streams.texts(mixed, 8)]
    assert found == ["a0", "a333", "a666", "a999", "b0", "b7"]
    assert len([*streams.texts(mixed, 4000)]) == 1000 + 8
    several = arrays(text=[["x", "y"], ["z"]], present={"text": np.array([True, True])})
    several.texts = lambda rows: [["x", "y"], None]
    assert [*streams.texts(several)] == ["x", "y"]


def test_texts_are_those_that_are_trained_on():
    source = arrays(text=["CT of the chest", "no word", "a CT"])
    specs = ({"name": "resize", "size": 16}, {"name": "remove_words", "words": ("ct",)})
    prepare = streams.transform_of({"prepare": specs}, "prepare", "config.data.main")
    want = [example["text"] for example in cached(source, 0, prepare).read(np.arange(3))]
    assert [*streams.texts(cached(source, 0, prepare))] == want and "CT" not in " ".join(want)
    source.texts = lambda rows: [["CT of the chest", "no word", "a CT"][row] for row in rows]  # as a table gives them alone
    assert [*streams.texts(cached(source, 0, prepare))] == want == cached(source, 0, prepare).texts()


def same(a, b):
    for x, y in zip(a, b, strict=True):
        assert x.keys() == y.keys()
        for key in x:
            same([x[key]], [y[key]]) if isinstance(x[key], dict) else np.testing.assert_array_equal(x[key], y[key])
            assert isinstance(x[key], dict) or x[key].dtype == y[key].dtype


@pytest.mark.parametrize("name", ["byte", "wordpiece"])
def test_tokens_of_a_block_are_those_of_its_rows(name):
    source = phantom("train", n=64, size=16, missing={"text": 0.3, "tabular": 0.3})
    tokenizer = tokenizers.byte() if name == "byte" else tokenizers.wordpiece(streams.texts(source), 300)
    transform = streams.stream_transform({}, tokenizer, 24, True, "config.data.main")
    asked, inner = [], source.block
    source.block = lambda rows: asked.append(len(rows)) or inner(rows)
    rows = lambda example, rng: transform(example, rng)  # noqa: E731  the same, without its form for blocks
    whole = [*train_batches(source, 16, 0, transform, steps=3, threads=0)]
    assert asked.count(16) == 3
    same(whole, [*train_batches(source, 16, 0, rows, steps=3, threads=0)])
    same(whole, [*train_batches(cached(source), 16, 0, transform, steps=3, threads=0)])
    same([*eval_batches(source, 24, transform)], [*eval_batches(source, 24, rows)])
    assert whole[0]["text"].shape == (16, 24) and not whole[0]["text"][~whole[0]["present"]["text"]].any()


def test_blocks_are_not_read_by_row_unless_something_needs_it(monkeypatch):
    from mmrep.data import pipeline

    source, tokenizer = phantom("train", n=32, size=16), tokenizers.byte()
    calls = []
    real = pipeline.read_rows
    monkeypatch.setattr(pipeline, "read_rows", lambda *a: calls.append(1) or real(*a))
    for stream, train, by_row in [({}, True, 0), ({"augment": ({"name": "flip"},)}, True, 2),
                                  ({"augment": ({"name": "flip"},)}, False, 0)]:
        calls.clear()
        transform = streams.stream_transform(stream, tokenizer, 8, train, "config.data.main")
        list(train_batches(source, 16, 0, transform, steps=2, threads=0))
        assert len(calls) == by_row


def test_skipped_rows_of_a_table_are_counted_through_every_wrapper(tmp_path):
    (tmp_path / "t.csv").write_text('text,age,split\na,1,train\nb,,train\nc,3,train\nd,x,train\ne,5,train\n')
    table = {"name": "manifest", "path": str(tmp_path / "t.csv"), "columns": {"text": "text", "tabular": ["age"]}}
    skip = {"on_error": "skip", "batch": 2}
    one = streams.open_source({"source": table, "fraction": 0.5, "cache_mib": 1, **skip}, "train")
    two = streams.open_source({"sources": {"a": table | {"on_error": "skip"}, "b": table}, **skip}, "train")
    assert one.skipped == 2 and two.skipped == 4 and sorted(two.problems) == [(n, r) for n in "ab" for r in (1, 3)]
    assert len(streams.open_source({"source": SOURCE, **skip}, "train")) == 40  # a source that takes no on_error
    for wrong in ({"source": table, "batch": 2}, {"source": table | {"on_error": "raise"}, **skip}):
        with pytest.raises(ValueError, match=r"t.csv row 1 \(line 3\): tabular column 'age' is null"):
            streams.open_source(wrong, "train")
