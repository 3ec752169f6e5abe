"""Sources: arrays, subsets, the decoded cache, and TFDS without TensorFlow."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmrep.data.cache import cached
from mmrep.data.manifest import manifest
from mmrep.data.mixture import mixture
from mmrep.data.phantom import phantom
from mmrep.data.pipeline import eval_batches, train_batches
from mmrep.data.reading import read_row, read_rows
from mmrep.data.sources import arrays, fingerprint, fraction, identify, recoded, rows_of, skips, subset
from mmrep.data.transforms import lowercase


class Numbered:
    """A source that knows its rows and has one that is bad."""

    fields, rows = ("text",), np.arange(100, 106)

    def __init__(self, on_error):
        self.on_error = on_error

    def __len__(self):
        return 6

    def __getitem__(self, row):
        if row == 1:
            raise OSError("broken")
        return {"text": f"t{row}"}

    def fingerprint(self):
        return "f" + self.on_error


def test_wrapped_sources_answer_for_the_rows_they_show():
    strict, lenient = Numbered("raise"), Numbered("skip")
    both = mixture({"a": strict, "b": lenient})
    for wrap in (lambda s: s, lambda s: cached(s), lambda s: cached(s, 0, lambda e, rng: e)):
        inner = subset(wrap(lenient), [5, 1])
        assert rows_of(wrap(inner), np.arange(2)).tolist() == [105, 101] and skips(wrap(inner), 1)
        assert fingerprint(wrap(lenient)) == "fskip"
        assert fingerprint(wrap(inner)) == fingerprint(subset(lenient, [5, 1])) != fingerprint(subset(lenient, [1, 5]))
        mixed = wrap(subset(wrap(both), [7, 1, 0]))
        assert rows_of(mixed, np.arange(3)).tolist() == [101, 101, 100]
        assert [skips(mixed, i) for i in range(3)] == [True, False, False] and fingerprint(both) == "fraise+fskip"
        found = read_rows(mixed, np.arange(3))
        assert [str(one).split(",")[0] for one in found[:2]] == ["b: row 1: broken", "a: row 1: broken"]
        assert [one.skip for one in found[:2]] == [True, False] and found[2]["text"] == "t0"
    assert str(read_row(both, 1)).startswith("a: row 1: broken")


def test_numbers_beyond_32_bits_are_refused():
    source = arrays(text=list("abc"), group=np.array([1, 2**32 + 1, 2]))
    with pytest.raises(ValueError, match="group holds 4294967297, which does not fit 32 bits; number its values from 0"):
        next(eval_batches(source, 3))
    rows = type("Rows", (), {"__len__": lambda s: 3, "__getitem__": lambda s, i: source[i], "fields": ("text",)})()
    with pytest.raises(ValueError, match="row 1: group holds 4294967297"):
        next(eval_batches(rows, 3))


def small(n=10):
    return arrays(image=np.arange(n * 4, dtype=np.uint8).reshape(n, 2, 2, 1), text=[f"t{i}" for i in range(n)],
                  group=np.arange(n) // 2, present={"text": np.arange(n) != 3})


def test_arrays():
    source = small()
    assert len(source) == 10 and source.fields == ("image", "text")
    assert source[2]["text"] == "t2" and "text" not in source[3] and source[5]["group"] == 2
    block = source.block(np.array([3, 1]))
    assert block["text"] == ["t3", "t1"] and block["present"]["text"].tolist() == [False, True]
    pet = arrays(image=np.ones((2, 2, 2, 1), np.uint8), pet=np.ones((2, 3), np.float32), soft=np.ones((2, 2), np.float32),
                 present={"pet": [True, False]})  # any input has its presence told, whatever its name
    batch = next(iter(eval_batches(pet, 2)))
    assert pet.fields == ("image", "pet") and set(batch["present"]) == {"image", "pet"}
    assert batch["present"]["pet"].tolist() == [True, False] and not batch["pet"][1].any()
    with pytest.raises(ValueError, match="same number of rows"):
        arrays(image=np.zeros((3, 2, 2, 1)), text=["a"])
    with pytest.raises(ValueError, match=r"present\['txt'\]"):
        arrays(text=["a"], present={"txt": [True]})


def test_subset():
    source = subset(small(), [7, 3, 1])
    assert [source[i].get("text") for i in range(3)] == ["t7", None, "t1"]
    assert source.has["text"].tolist() == [True, False, True]
    assert source.block(np.array([2, 0]))["text"] == ["t1", "t7"]
    assert len(subset(small(), np.arange(10) > 6)) == 3
    nested = subset(source, [2])
    assert nested[0]["text"] == "t1"
    with pytest.raises(ValueError, match="the source has 10 rows"):
        subset(small(), [10])


def test_rows_are_traced_to_their_file(tmp_path):
    rows = [{"text": f"t{i}", "file": "x" if i % 2 else None, "case": f"P-{i // 2:03}", "split": "test" if i % 3 else "train", "n": i}
            for i in range(12)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Image.new("L", (2, 2)).save(tmp_path / "x.png")
    table = manifest(tmp_path / "t.jsonl", "test", shared_cases=True, columns={
        "image": "file", "text": "text", "case": "case", "label": {"n": "n"}})
    chain = subset(cached(subset(table, [7, 0, 3, 5])), [3, 1, 0])
    want, file = [8, 1, 11], "x.png"
    found = identify(chain, [0, 1, 2])
    assert found == {"row": want, "case": [f"P-{row // 2:03}" for row in want], "image": [None, file, file],
                     "images": [None, (file,), (file,)]}
    assert found == chain.identify(np.arange(3)) and chain.where(1).startswith(f"manifest {tmp_path}/t.jsonl row 1 (line 2)")
    both = mixture({"a": small(), "b": chain})
    assert identify(both, [11, 2, 12]) == {"source": ["b", "a", "b"], "row": [1, 2, 11],
                                           "case": ["P-000", None, "P-005"],
                                           "image": [file, None, file], "images": [(file,), None, (file,)]}
    assert both.where(11).startswith("b: manifest")
    # A batch carries the row of the file, whatever the path that reads it; padding has none.
    for source, transform in ((chain, None), (chain, lowercase()), (both, None)):
        for batch in eval_batches(source, 4, transform):
            real = batch["valid"]
            assert batch["row"].dtype == np.int32 and (batch["row"][~real] == -1).all()
            assert batch["row"][real].tolist() == identify(source, batch["index"][real])["row"]
            assert batch["row"][real].tolist() == rows_of(source, batch["index"][real]).tolist()
            if source is chain:
                assert batch["row"][real].tolist() == batch["label/n"][real].tolist()
    subjects = identify(phantom("val", n=4), [3, 1])
    assert subjects["row"] == [3, 1] and subjects["image"] == [None, None]


def test_fractions_nest_and_keep_cases_whole():
    source = small(200)
    rows = {share: set(fraction(source, share).rows) for share in (0.01, 0.1, 0.5, 1.0)}
    assert [len(kept) for kept in rows.values()] == [2, 20, 100, 200]
    assert rows[0.01] < rows[0.1] < rows[0.5] and rows[0.1] != set(range(20))
    source.cases = np.arange(200) // 4
    assert all(len(fraction(source, share)) == 200 * share for share in (0.1, 0.5))
    part = fraction(source, 0.1)
    assert all((part.cases == case).sum() == 4 for case in part.cases) and len(fraction(part, 0.5)) == 12
    source.cases = np.full(200, -1)  # of no case: each row for itself
    assert len(fraction(source, 0.1)) == 20
    with pytest.raises(ValueError, match="share must lie in"):
        fraction(source, 0)


def test_cache_reads_once_until_its_limit():
    reads = []

    class Counting:
        fields, label_names = ("image",), {"x": ["a", "b"]}

        def __len__(self):
            return 6

        def __getitem__(self, row):
            reads.append(row)
            return {"image": np.full((10, 10, 1), row, np.uint8), "label/x": row % 2}

    source = cached(Counting(), limit_bytes=3 * 200)  # 100 bytes of pixels and an allowance for the label a row
    first = [b["image"].copy() for b in eval_batches(source, 3, threads=1)]
    count = len(reads)
    again = [b["image"] for b in eval_batches(source, 3, threads=1)]
    assert len(reads) - count <= 3 and source.bytes <= 600  # three rows did not fit (the probe rereads none)
    assert np.array_equal(first, again) and source.label_names == {"x": ["a", "b"]}
    with pytest.raises(ValueError, match="read-only"):
        source[0]["image"][0] = 1
    halved = cached(Counting(), prepare=lambda example, rng: {**example, "image": example["image"][::2, ::2]})
    assert halved[4]["image"].shape == (5, 5, 1) and halved.bytes == 25 + 64


TFDS = '''
import io, sys
import numpy as np
import tensorflow_datasets as td
from PIL import Image
from mmrep.data.pipeline import eval_batches
from mmrep.data.tfds import tfds

class Tiny(td.core.GeneratorBasedBuilder):
    VERSION = td.core.Version("1.0.0")

    def _info(self):
        return td.core.DatasetInfo(builder=self, features=td.features.FeaturesDict({
            "image": td.features.Image(shape=(8, 8, 1)), "caption": td.features.Text(),
            "label": td.features.ClassLabel(names=["a", "b"]), "age": np.float32}))

    def _split_generators(self, manager):
        return {"train": self._generate_examples(0, 6), "validation": self._generate_examples(6, 9)}

    def _generate_examples(self, first, last):
        for i in range(first, last):
            file = io.BytesIO()
            Image.fromarray(np.full((8, 8), i, np.uint8)).save(file, "PNG")
            file.seek(0)
            yield str(i), {"image": file, "caption": f"text {i}" if i != 7 else "", "label": i % 2,
                           "age": float(i) if i != 2 else float("nan")}

folder = sys.argv[1]
Tiny(data_dir=folder, file_format="array_record").download_and_prepare()
source = tfds("tiny", "val", folder, {"image": "image", "text": "caption", "label": {"x": "label"},
                                      "tabular": ["age"]}, {"val": "validation"})
assert source.label_names == {"x": ["a", "b"]} and source.fields == ("image", "text", "tabular")
batch = next(eval_batches(source, 3))
ages = batch["tabular"][:, 0]
assert sorted(ages) == [6, 7, 8] and batch["image"].dtype == np.uint8
assert (batch["image"][:, 0, 0, 0] == ages).all() and (batch["label/x"] == ages % 2).all()
assert (batch["present"]["text"] == (ages != 7)).all()
for kwargs, message in (({"split": "dev"}, "no split 'dev'; it has train, validation"),
                        ({"split": "val", "splits": {"val": "train[:50%]"}}, "val = 'train[:50%]' and train = 'train', which share rows"),
                        ({"split": "train", "splits": {"train": "train[:90%]", "val": "train[50%:]"}}, "which share rows"),
                        ({"split": "val", "splits": {"val": "train"}}, "splits gives val and train the same rows")):
    try:
        tfds("tiny", data_dir=folder, **kwargs)
        raise SystemExit("no error")
    except ValueError as error:
        assert message in str(error), error
apart = {"train": "train[:50%]", "val": "train[50%:]", "test": "validation"}
assert [len(tfds("tiny", split, folder, splits=apart)) for split in apart] == [3, 3, 3]
ages = tfds("tiny", "train", folder, {"tabular": ["age"]})
try:
    [ages[i] for i in range(6)]
    raise SystemExit("no error")
except ValueError as error:
    assert "tabular feature 'age' is NaN or infinite" in str(error), error
try:
    tfds("absent", "train", folder)
except FileNotFoundError as error:
    assert str(error).startswith("tfds absent: no such dataset"), error
from mmrep.data import streams
stream = {"source": {"name": "tfds", "dataset": "tiny", "data_dir": folder, "columns": {"text": "caption"}}, "batch": 2}
streams.check_streams({"main": stream})
assert sorted(streams.texts(streams.open_source(stream, "train"))) == [f"text {i}" for i in range(6)]
assert "tensorflow" not in sys.modules
print("done")
'''


def test_tfds_without_tensorflow(tmp_path):
    root = Path(__file__).resolve().parents[2]
    out = subprocess.run([sys.executable, "-c", TFDS, str(tmp_path)], cwd=root, timeout=60, capture_output=True,
                         text=True)
    assert out.returncode == 0 and out.stdout.endswith("done\n"), out.stderr[-2000:]


def test_a_cache_of_blocks_reads_only_what_it_lacks():
    source, asked = small(), []
    inner = source.block
    source.block = lambda rows: asked.append(list(rows)) or inner(rows)
    kept = cached(source)
    first = [example.get("text") for example in kept.read(np.array([4, 3]))]
    again = kept.read(np.array([3, 5, 4]))
    assert first == ["t4", None] and asked == [[4, 3], [5]]
    assert [example["image"][0, 0, 0] for example in again] == [12, 20, 16] and not again[0]["image"].flags.writeable
    assert cached(source, limit_bytes=0).read(np.array([1]))[0]["text"] == "t1"


def test_a_subset_of_a_cache_trains():
    source = subset(cached(small()), np.arange(8))
    with train_batches(source, 4, 0) as batches:
        assert set(np.concatenate([next(batches)["index"] for _ in range(2)])) == set(range(8))


def test_categories_count_as_in_training_by_their_names():
    def source(names, codes):
        found = arrays(category=np.array(codes, np.int32), text=[str(row) for row in range(len(codes))])
        found.category_names = names
        return found

    trained = {"sex": ["<null>", "F", "M"], "smoking": ["<null>", "current", "never"]}
    other = source({"Sex": ["<null>", "Aaa", "F", "M"], "smoking": ["<null>", "never"]}, [[2, 1], [3, 0], [1, 1], [0, 1]])
    found = recoded(other, trained)
    wanted = [[1, 2], [2, 0], [3, 2], [0, 2]]
    assert [found[row]["category"].tolist() for row in range(4)] == wanted == found.block(np.arange(4))["category"].tolist()
    assert found.unknown == ["category 'Sex': 1 of its 3 values were not among those of training; they count as unknown"]
    assert len(found) == 4 and found[1]["text"] == "1" and found.fields == other.fields
    assert recoded(other, {}) is other
    same = source(trained, [[1, 1]])
    assert recoded(same, trained) is same
    with pytest.raises(ValueError, match="the model reads 2 columns \\(sex, smoking\\), these data have 1"):
        recoded(source({"sex": ["<null>"]}, [[0]]), trained)
