"""The order contract: batches are a pure function of (seed, step), whatever the hosts, threads or interruptions."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from mmrep.data import tokenizers
from mmrep.data.batches import probe
from mmrep.data.cache import cached
from mmrep.data.manifest import manifest
from mmrep.data.mixture import largest_remainder, mixture
from mmrep.data.pipeline import eval_batches, plan, train_batches
from mmrep.data.rng import AUGMENT as AUGMENTED
from mmrep.data.rng import Later, philox
from mmrep.data.sources import BadRow, arrays, subset
from mmrep.data.streams import stream_transform
from mmrep.data.transforms import center_crop, compose, drop_modalities, flip, intensity, lowercase, random_crop, resize, tokenize

SHARED = Path(os.environ.get("MMREP_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
AUGMENT = compose([random_crop(size=8), flip(p=0.5), intensity(), tokenize(length=12)])


def tiny(n, seed=0, **more):
    rng = np.random.default_rng(seed)
    return arrays(image=rng.integers(0, 256, (n, 12, 12, 1), np.uint8), text=[f"row {i}" for i in range(n)],
                  present={"text": np.arange(n) % 3 > 0}, **{"label/x": np.arange(n)}, **more)


class Breaking:
    """Rows 3 and 7 cannot be read."""
    fields = ("image",)

    def __init__(self, skip):
        self.skip = skip

    def __len__(self):
        return 10

    def __getitem__(self, row):
        if row in (3, 7):
            raise BadRow(f"row {row} is corrupt", self.skip)
        return {"image": np.full((4, 4, 1), row, np.uint8)}


def take(iterator, count):
    with iterator:
        return [next(iterator) for _ in range(count)]


def same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        if isinstance(a[key], dict):
            same(a[key], b[key])
        elif isinstance(a[key], list):
            assert a[key] == b[key], key
        else:
            assert a[key].dtype == b[key].dtype and np.array_equal(a[key], b[key]), key


def joined(parts):
    first = parts[0]
    return {key: joined([p[key] for p in parts]) if isinstance(first[key], dict) else
            np.concatenate([p[key] for p in parts]) for key in first}


def test_plan_epochs_are_permutations():
    rows = plan(23, 5, seed=1)
    epochs = [np.concatenate([rows(4 * e + s)[0] for s in range(4)]) for e in range(3)]
    assert all(len(set(epoch)) == 20 for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1])
    assert [rows(s)[1] for s in (0, 3, 4, 11)] == [0, 0, 1, 2]
    assert np.array_equal(plan(23, 5, seed=1)(7)[0], rows(7)[0])  # no history
    assert not np.array_equal(plan(23, 5, seed=2)(7)[0], rows(7)[0])
    left_out = [set(range(23)) - set(epoch) for epoch in epochs]
    assert left_out[0] != left_out[1] or left_out[1] != left_out[2]
    with pytest.raises(ValueError, match="batch of 24 from 23 rows"):
        plan(23, 24, 0)


def test_rows_are_transformed_each_by_its_own_generator():
    source, seed = tiny(12), 5
    tokens = stream_transform({}, tokenizers.byte(), 12, True, "data.main")
    both = stream_transform({"augment": ({"name": "random_crop", "size": 8}, {"name": "intensity"})}, tokenizers.byte(), 12, True, "main")
    plain = compose([random_crop(size=8), intensity(), tokenize(length=12)])
    for transform, reference in ((both, plain), (tokens, tokenize(length=12))):  # tokens of many rows at once are those of each
        slow = type("Rows", (), {"__len__": lambda s: 12, "__getitem__": lambda s, i: source[i], "fields": source.fields})()
        for read in (source, slow, cached(slow)):
            for step, batch in enumerate(take(train_batches(read, 6, seed, transform), 6)):
                for place, row in enumerate(batch["index"]):
                    want = reference(dict(source[int(row)]), philox(seed, AUGMENTED, int(row), step // 2))
                    assert np.array_equal(batch["image"][place], want["image"])
                    assert np.array_equal(batch["text"][place], want.get("text", np.zeros(12)))
    later = Later(lambda: philox(1, 2, 3, 4))
    draws = philox(1, 2, 3, 4)
    assert [later.uniform() for _ in range(3)] == [draws.uniform() for _ in range(3)] and later.permutation(9)[0] == draws.permutation(9)[0]


def test_a_text_that_cannot_be_tokenized_is_named():
    source = arrays(image=np.zeros((4, 2, 2, 1), np.uint8), text=["a", "b", "c", "d"])
    odd = type("Rows", (), {"__len__": lambda s: 4, "__getitem__": lambda s, i: source[i] | ({"text": "\ud800"} if i == 2 else {}),
                            "fields": source.fields, "on_error": "skip", "where": lambda s, i: f"table row {i}"})()
    transform = stream_transform({}, tokenizers.byte(), 12, True, "data.main")
    reader = eval_batches(odd, 4, transform)
    assert next(reader)["valid"].tolist() == [True, True, False, True] and reader.bad[2].startswith("table row 2: ")


@pytest.mark.parametrize("mixed", [False, True])
def test_same_batches_on_any_host_and_thread_count(mixed):
    source = mixture({"a": tiny(40), "b": tiny(30, 1)}, {"a": 3, "b": 1}) if mixed else tiny(40)
    whole = take(train_batches(source, 8, 3, AUGMENT, threads=2), 12)
    for hosts in (2, 4):
        local = [take(train_batches(source, 8, 3, AUGMENT, host=h, hosts=hosts, threads=1), 12) for h in range(hosts)]
        for step in range(12):
            same(whole[step], joined([host[step] for host in local]))
    for a, b in zip(whole, take(train_batches(source, 8, 3, AUGMENT, threads=0), 12)):
        same(a, b)
    # The same row is augmented anew in another epoch.
    seen = {}
    for batch in whole:
        for index, image in zip(batch["index"], batch["image"]):
            seen.setdefault(int(index), []).append(image)
    repeats = [images for images in seen.values() if len(images) > 1]
    assert repeats and not any(np.array_equal(images[0], images[1]) for images in repeats)


def test_resume_equals_uninterrupted():
    source = mixture({"a": tiny(20), "b": tiny(9, 1)}, {"a": 1, "b": 1})
    whole = take(train_batches(source, 6, 0, AUGMENT), 15)
    for start in (1, 5, 14):
        for a, b in zip(whole[start:], take(train_batches(source, 6, 0, AUGMENT, start=start), 15 - start)):
            same(a, b)
    assert len(list(train_batches(source, 6, 0, AUGMENT, start=12, steps=15))) == 3


def test_no_duplicates_and_contents():
    source = tiny(21)
    for batch in take(train_batches(source, 10, 0), 9):
        assert len(set(batch["index"])) == 10 and batch["valid"].all() and batch["index"].dtype == np.int32
        assert np.array_equal(batch["label/x"], batch["index"])
        assert np.array_equal(batch["present"]["text"], batch["index"] % 3 > 0)
        assert batch["text"] == [f"row {i}" if i % 3 else "" for i in batch["index"]]
        for row, image in zip(batch["index"], batch["image"]):
            assert np.array_equal(image, source[int(row)]["image"])


def test_block_and_row_reads_agree():
    fast = tiny(20)
    slow = tiny(20)
    slow = type("Rows", (), {"__len__": lambda s: 20, "__getitem__": lambda s, i: fast[i], "fields": fast.fields})()
    for a, b in zip(take(train_batches(fast, 6, 0), 5), take(train_batches(slow, 6, 0), 5)):
        same(a, b)
    table = {"tabular": np.ones((8, 2)), "category": np.ones((8, 3), int), "present": {"tabular": np.arange(8) > 2}}
    lone = arrays(**table)
    lone.block = lambda rows, block=lone.block: {**block(rows), "present": {"tabular": rows > 2}}
    for transform in (None, lowercase()):  # categories come and go with their table
        batch = next(eval_batches(lone, 8, transform))
        assert np.array_equal(batch["present"]["category"], np.arange(8) > 2) and not batch["category"][:3].any()
    for a, b in zip(eval_batches(fast, 6, AUGMENT), eval_batches(slow, 6, AUGMENT)):
        same(a, b)


def test_several_samples_keep_their_own_flags():
    flags = np.array([[True, False], [True, True], [False, True]])
    source = arrays(image=np.ones((3, 2, 4, 4, 1), np.uint8))
    source.block = lambda rows, block=source.block: {**block(rows), "present": {"image": flags[rows]}}
    batch = next(eval_batches(source, 4))
    assert batch["present"]["image"].tolist() == [*flags.tolist(), [False, False]] and batch["image"].shape[1] == 2


@pytest.mark.parametrize("seed", range(4))
def test_modalities_that_a_draw_drops_are_in_the_spec(seed):
    source = arrays(image=np.zeros((4, 2, 2, 1), np.uint8), features=np.ones((4, 3), np.float32))
    spec = probe(source, drop_modalities(0.9), seed)
    assert spec["image"][0] == (2, 2, 1) and spec["features"][0] == (3,)


def test_mixture_counts_index_and_groups():
    assert largest_remainder({"a": 0.6, "b": 0.3, "c": 0.1}, 8) == {"a": 5, "b": 2, "c": 1}
    assert sum(largest_remainder({"a": 1, "b": 1, "c": 1}, 8).values()) == 8
    with pytest.raises(ValueError, match="'b' has weight 0.01"):
        largest_remainder({"a": 1, "b": 0.01}, 8)
    groups = {"group": np.arange(40) // 2}
    source = mixture({"a": tiny(40, **groups), "b": tiny(40, 1), "c": tiny(40, 2, **groups)}, {"a": 2, "b": 1, "c": 1})
    assert source.counts(8) == {"a": 4, "b": 2, "c": 2}
    for batch in take(train_batches(source, 8, 0), 12):
        component = batch["index"] // 40
        assert np.array_equal(np.bincount(component), [4, 2, 2])
        assert len(set(batch["index"])) == 8
        known = batch["group"][component != 1]
        assert set(known % 3) == {0, 2} and len(set(batch["group"][component == 1])) == 2
        assert batch["group"][component == 1].max() < 0  # no group: an id that matches nothing
    with pytest.raises(ValueError, match="'b' has 3 rows and gives 4"):
        train_batches(mixture({"a": tiny(40), "b": tiny(3)}, {"a": 1, "b": 1}), 8, 0)


def test_mixture_fills_what_a_component_lacks():
    ecg = arrays(signal=np.ones((10, 5, 2)), **{"label/y": np.arange(10.0)})
    for batch in take(train_batches(mixture({"x": tiny(10), "ecg": ecg}, {"x": 1, "ecg": 1}), 4, 0), 6):
        second = batch["index"] >= 10
        assert np.array_equal(batch["present"]["signal"], second) and np.array_equal(batch["present"]["image"], ~second)
        assert not batch["signal"][~second].any() and batch["signal"].dtype == np.float32
        assert (batch["label/x"][second] == -1).all() and np.isnan(batch["label/y"][~second]).all()


def test_eval_sees_each_example_once_on_any_host_count():
    source = tiny(21)
    for hosts in (1, 2, 4):
        parts = [list(eval_batches(source, 8, AUGMENT, host=h, hosts=hosts)) for h in range(hosts)]
        assert {len(part) for part in parts} == {3}
        index = np.concatenate([b["index"][b["valid"]] for part in parts for b in part])
        assert sorted(index) == list(range(21))
        assert all(b["image"].shape == (8 // hosts, 8, 8, 1) for part in parts for b in part)
        padded = np.concatenate([b["index"] for part in parts for b in part])
        assert len(set(padded)) == 24


def test_bad_rows_are_masked_and_the_stream_keeps_its_length():
    clean = take(train_batches(arrays(image=np.broadcast_to(np.arange(10, dtype=np.uint8)[:, None, None, None],
                                                            (10, 4, 4, 1))), 5, 0), 4)
    with train_batches(Breaking(skip=True), 5, 0) as iterator:
        for want in clean:
            batch = next(iterator)
            assert np.array_equal(batch["index"], want["index"])
            bad = np.isin(batch["index"], (3, 7))
            assert np.array_equal(batch["valid"], ~bad) and np.array_equal(batch["present"]["image"], ~bad)
            assert np.array_equal(batch["image"][~bad], want["image"][~bad]) and not batch["image"][bad].any()
        assert iterator.skipped == 4 and sorted(iterator.bad) == [3, 7]
    assert sum(b["valid"].sum() for b in eval_batches(Breaking(False), 4, on_error="skip")) == 8
    with pytest.raises(BadRow, match="corrupt"):
        list(eval_batches(Breaking(skip=False), 4))


def test_unequal_shapes_and_absent_fields_say_what_to_do():
    class Ragged:
        fields = ("image",)
        __len__ = lambda self: 4  # noqa: E731
        __getitem__ = lambda self, i: {"image": np.zeros((8, 8 + (i == 2), 1), np.uint8)}  # noqa: E731

    with pytest.raises(ValueError, match=r"row 2: image is \(8, 9, 1\) where the batch has \(8, 8, 1\); add resize"):
        list(eval_batches(Ragged(), 2))
    Ragged.__getitem__ = lambda self, i: {"image": np.full((4, 4, 1), 255, np.uint16 if i < 2 else np.uint8)}
    with pytest.raises(ValueError, match="row 2: image is uint8 where the batch has uint16"):
        list(eval_batches(Ragged(), 4))
    empty = arrays(image=np.zeros((4, 2, 2, 1), np.uint8), text=[""] * 4, present={"text": np.zeros(4, bool)})
    with pytest.raises(ValueError, match="no row of 4 has modality 'text'"):
        eval_batches(empty, 2)
    spec = {"image": ((2, 2, 1), np.dtype("u1")), "text": ((5,), np.dtype("i4"))}
    batch = next(eval_batches(empty, 2, tokenize(length=5), spec=spec))
    assert batch["text"].shape == (2, 5) and not batch["present"]["text"].any()
    with pytest.raises(ValueError, match="hosts must divide"):
        train_batches(tiny(9), 8, 0, hosts=3)


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_streams_in_a_step(count):
    """Each stream reads on its own, as alone; an offset keeps the examples of a step apart."""
    given = {"pairs": (tiny(20), 4, 0), "more": (tiny(9), 2, 20)}
    chosen = list(given.items())[:count]
    readers = {name: train_batches(source, batch, 0, AUGMENT, index_offset=offset, steps=3)
               for name, (source, batch, offset) in chosen}
    steps = [{name: next(reader) for name, reader in readers.items()} for _ in range(3)]
    for name, (source, batch, offset) in chosen:
        alone = take(train_batches(source, batch, 0, AUGMENT), 3)
        for step, one in zip(steps, alone):
            same(step[name], {**one, "index": one["index"] + offset})
    for step in steps:
        index = np.concatenate([batch["index"] for batch in step.values()])
        assert len(set(index)) == len(index) == (4, 6)[count - 1]
    for reader in readers.values():
        assert reader.skipped == 0 and reader.waited > 0
        with pytest.raises(StopIteration):
            next(reader)


class Odd:
    """Row 2 has a smaller picture, which the crop refuses."""
    fields = ("image",)

    def __init__(self, on_error="raise"):
        self.on_error = on_error

    def __len__(self):
        return 6

    def __getitem__(self, row):
        return {"image": np.full((3, 3, 1) if row == 2 else (8, 8, 1), row, np.uint8)}

    def where(self, row):
        return f"table t row {row + 10}"


def test_a_transform_that_refuses_a_row_names_it_or_masks_it():
    crop, message = center_crop(size=4), r"table t row 12: center_crop: .* resize first, or pass on_error"
    with pytest.raises(BadRow, match=message):
        list(eval_batches(Odd(), 3, crop))
    with pytest.raises(BadRow, match="b: " + message):
        list(eval_batches(mixture({"a": Odd("skip"), "b": Odd()}), 3, crop, threads=0))
    with pytest.raises(BadRow, match=message):  # found while a cache prepares it
        list(eval_batches(cached(Odd(), prepare=crop), 3))
    parts = [eval_batches(Odd("skip"), 3, crop), eval_batches(Odd(), 3, crop, on_error="skip"),
             eval_batches(cached(Odd("skip"), prepare=crop), 3),
             eval_batches(subset(Odd("skip"), [0, 1, 2, 3, 4, 5]), 3, crop)]
    for reader in parts:
        batches = list(reader)
        assert np.concatenate([b["valid"] for b in batches]).tolist() == [True, True, False, True, True, True]
        assert reader.skipped == 1 and list(reader.bad) == [2] and "row 12: center_crop" in reader.bad[2]
    with pytest.raises(BadRow, match=r"table t row 12: image is \(3, 3, 1\) where the batch has \(8, 8, 1\); add resize, or pass on_error"):
        list(eval_batches(Odd(), 3))
    reader = eval_batches(Odd("skip"), 3)  # of another shape: as bad as one that cannot be read
    assert np.concatenate([b["valid"] for b in reader]).tolist() == [True, True, False, True, True, True] and list(reader.bad) == [2]
    with pytest.raises(ValueError, match="no row of 6 with modality 'image' can be used: .* row 10: .* 8x8, the crop 9x9"):
        eval_batches(Odd("skip"), 3, center_crop(size=9))
    rows = subset(Odd("skip"), [2, 3])  # a first row that is bad does not hide the shapes
    assert next(eval_batches(rows, 2, crop))["valid"].tolist() == [False, True]


def test_a_row_is_named_only_for_an_error():
    source = tiny(9)  # texts are absent in every third row
    source.where = lambda row: pytest.fail("to name a row may read a whole file")
    assert len(list(eval_batches(source, 4, lowercase()))) == 3


def test_labels_of_small_integers_can_be_unknown():
    findings = arrays(image=np.zeros((4, 2, 2, 1), np.uint8), **{"label/f": np.ones((4, 3), np.uint8),
                                                                  "label/yes": np.ones(4, bool)})
    both = mixture({"labeled": findings, "bare": arrays(image=np.zeros((4, 2, 2, 1), np.uint8))})
    batch = next(eval_batches(both, 9))  # the last row is padding
    for key in ("label/f", "label/yes"):
        assert batch[key].dtype == np.int32 and batch["image"].dtype == np.uint8
        assert (batch[key][:4] == 1).all() and (batch[key][4:] == -1).all()


def test_threads_end():
    iterator = train_batches(tiny(20), 4, 0, AUGMENT, threads=2)
    next(iterator)
    iterator.close()
    iterator.close()
    with pytest.raises(StopIteration):
        next(iterator)
    for thread in threading.enumerate():
        if thread.name.startswith("grain-prefetch"):
            thread.join(timeout=5)
            assert not thread.is_alive()


def test_exits_cleanly_and_without_tensorflow():
    code = ("import sys, numpy as np\n"
            "from mmrep.data import manifest, mixture, pipeline, sources, tokenizers, transforms\n"
            "assert not {'grain', 'PIL', 'pyarrow', 'jax'} & set(sys.modules), 'start-up imports'\n"
            "source = sources.arrays(image=np.zeros((8, 4, 4, 1), np.uint8))\n"
            "batches = pipeline.train_batches(source, 4, 0, transforms.resize(2))\n"
            "next(batches)\n"
            "assert 'tensorflow' not in sys.modules and 'torch' not in sys.modules\n"
            "print('done')\n")
    root = Path(__file__).resolve().parents[2]
    out = subprocess.run([sys.executable, "-c", code], cwd=root, timeout=60, capture_output=True, text=True)
    assert out.returncode == 0 and out.stdout == "done\n", out.stderr


REAL = {
    "medpix2": dict(columns={"image": "image", "text": "caption", "label": {"organ": "location_category"},
                             "case": "case_id", "group": "caption"}, filter={"caption_ok": True}, splits={"val": "dev"},
                    size_hint=64),
    "covid_cxr": dict(columns={"image": "image", "text": "clinical_notes", "tabular": ["age"], "category": ["sex"],
                               "mask": {"lung": "lung_mask"}, "label": {"finding": "finding"}, "case": "patient_id"},
                      filter={"modality": "X-ray"}, missing="absent"),
    "odir_96": dict(images="images.zip", channels=3, columns={
        "image": "image", "text": "diagnostic_keywords", "tabular": ["age"], "category": ["sex", "eye"],
        "label": {"disease": "eye_label", "patient": "patient_labels"}, "case": "patient_id"}),
}
ROWS = {"medpix2": 1578, "covid_cxr": 304, "odir_96": 4474}


@pytest.mark.parametrize("name", REAL)
def test_real_data_by_keywords_alone(name):
    if not (SHARED / "data" / name).is_dir():
        pytest.skip(f"{name} is not under {SHARED}; set MMREP_SHARED")
    parts = {split: manifest(SHARED / "data" / name, split, **REAL[name]) for split in ("train", "val", "test")}
    assert len(parts["train"]) == ROWS[name]
    cases = {split: {int(source._cells["case"][row]) for row in source.rows} for split, source in parts.items()}
    assert not cases["train"] & cases["test"] and not cases["train"] & cases["val"]
    transform = compose([resize(64, fit="pad"), tokenize(length=32)])
    batch = next(train_batches(parts["train"], 32, 0, transform))
    assert batch["image"].shape == (32, 64, 64, REAL[name].get("channels", 1)) and batch["text"].shape == (32, 32)
    assert batch["image"].std() > 10 and batch["valid"].all()
    assert sum(b["valid"].sum() for b in eval_batches(parts["val"], 32, transform)) == len(parts["val"])
    if name == "covid_cxr":
        drawn = batch["mask/lung"].reshape(32, -1).any(1)  # some of the set's masks are present but empty
        assert drawn.any() and not drawn[~batch["present"]["mask/lung"]].any() and batch["mask/lung"].max() == 1
        assert not batch["tabular"][~batch["present"]["tabular"]].any()
