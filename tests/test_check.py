"""`mmrep check` and `mmrep bench step`: references of chance, the shuffle, and one whole run of each."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from mmrep import bench, check
from mmrep.core import profiling
from mmrep.data import survey
from mmrep.data.manifest import manifest
from mmrep.data.transforms import compose
from mmrep.objectives import OBJECTIVES
from mmrep.run import assemble, batch_like
from tests import runs

TRIO = ("image", "tabular", "text")


class Spec(dict):
    __getattr__ = dict.get


def test_chance_is_the_loss_of_outputs_that_know_nothing():
    import jax
    import jax.numpy as jnp

    n, d, rng = 32, 4096, np.random.Generator(np.random.Philox(0))
    u, v = (jnp.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), jnp.float32) for x in rng.normal(size=(2, n, d)))
    batch = {"index": jnp.arange(n), "valid": jnp.ones(n, bool)}
    from mmrep.core.types import Encoded

    for name, tolerance in (("contrastive", 0.02), ("sigmoid", 0.02)):
        o = OBJECTIVES[name]()
        hp = jax.tree.map(jnp.float32, dict(o.hp))
        params, _ = o.init(jax.random.key(0), {"batch": batch}, hp)
        value, _ = o.loss(params, {}, {"a": Encoded(embedding=u), "b": Encoded(embedding=v)}, batch, None, hp, {})
        assert math.isclose(float(value), check.chance(Spec(name=name), o, n, 9), rel_tol=tolerance), name
    group = jnp.asarray(rng.integers(-1, 8, n).astype(np.int32))  # rows of a group are positives of each other, -1 of none
    value, _ = o.loss(params, {}, {"a": Encoded(embedding=u), "b": Encoded(embedding=v)}, batch | {"group": group}, None, hp, {})
    alike = check._positives(batch | {"group": group}, o)
    assert 3 < alike < 6 and math.isclose(float(value), check.chance(Spec(name="sigmoid"), o, n, 9, None, alike), rel_tol=0.02)
    assert check._positives(batch, o) == 1.0 and check.chance(Spec(name="sigmoid", soft=True), o, n, 9) is None
    assert check.chance(Spec(name="caption"), None, n, 100) == math.log(100)
    assert check.chance(Spec(name="moco"), None, n, 100) is None

    def binary(logit):  # a row's loss where every pair has the same logit
        return np.logaddexp(0, -logit) + (n - 1) * np.logaddexp(0, logit)

    assert math.isclose(check._chance("sigmoid", n), min(map(binary, np.linspace(-8, 2, 2001))), rel_tol=1e-6)
    assert check._chance("contrastive", n) == math.log(n) and check._chance("sigmoid", 1) == 0
    heads = {"a": {"kind": "ce", "classes": 4, "weight": 2.0}, "b": {"kind": "bce", "classes": 3}}
    assert math.isclose(check.chance(Spec(name="supervised", heads=heads), None, n, 9), 5 * math.log(2))


def test_shuffle_moves_the_named_modality_and_nothing_else():
    rng = np.random.Generator(np.random.Philox(0))
    rows = {m: rng.normal(size=(20, 3)) for m in TRIO} | {
        "image/small": np.arange(20.0), "index": np.arange(5, 25), "group": np.zeros(20, np.int32),
        "present": {m: rng.random(20) < 0.7 for m in TRIO}}
    new = check.shuffle(rows, {"image"}, (3, 1))
    order = new["image/small"].astype(int)
    assert sorted(order) == list(range(20)) and not np.array_equal(order, np.arange(20))
    assert np.array_equal(new["image"], rows["image"][order])
    assert np.array_equal(new["present"]["image"], rows["present"]["image"][order])
    for m in ("text", "tabular"):
        assert np.array_equal(new[m], rows[m]) and np.array_equal(new["present"][m], rows["present"][m])
    assert np.array_equal(new["group"], rows["index"])
    both = check.shuffle(rows, {"image", "text"}, (3, 1))  # pairs of the two are parted, too
    found = [[int(np.flatnonzero((rows[m] == x).all(1))[0]) for x in both[m]] for m in ("image", "text")]
    assert sorted(found[0]) == sorted(found[1]) == list(range(20)) and np.equal(*found).mean() < 0.3


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_check_passes_a_sound_config(missing):
    """Also with absent texts, where chance is lower."""
    source = {"name": "phantom", "n": 64, "size": 32, "modalities": ("image", "text"), "missing": {"text": missing}}
    said = []
    config = runs.config(**{"data": {"main": {"source": source, "batch": 32}}, "optim.lr": 3e-3, "evals": {"r": {"name": "retrieval"}}})
    ok = check.check(config, 24, said.append)
    text = "\n".join(said)
    assert ok and "FAIL" not in text, text
    for line in ("rows of train (main)", "64 of 64 read, none is bad", "rows of test (main)", "time on this machine",
                 "mean -0.", "parameters", "bytes a device", "accelerator hours", "truncated tokens (main)", "gradient norms",
                 "overfit one batch", "first loss of clip", "shuffled pairs at chance"):
        assert line in text, text
    with pytest.raises(ValueError, match="--steps 0"):
        check.check(config, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["contrastive", "sigmoid"])
def test_check_fails_where_something_besides_the_pairs_leaks(monkeypatch, name):
    """The batch's own shuffle is undone: pairs stay paired, and their loss falls below chance."""
    real = check.shuffle
    monkeypatch.setattr(check, "shuffle", lambda rows, m, key: real(rows, set(), key))
    said = []
    config = runs.config(**{"data": {"main": {"source": {"name": "phantom", "n": 64, "modalities": ("image", "text")}, "batch": 32}},
                            "optim.lr": 3e-3}, objectives={"clip": {"name": name}})
    assert not check.check(config, 150, said.append) and any(s.startswith("FAIL") and "shuffled" in s for s in said), said


@pytest.mark.slow
def test_first_losses_of_the_small_objectives_are_near_chance():
    objectives = {"clip": {"name": "contrastive"}, "match": {"name": "matching", "after": "clip"}, "cap": {"name": "caption"},
                  "mae": {"name": "masked", "width": 64, "depth": 1, "heads": 2},
                  "byol": {"name": "distill", "teacher_view": "image", "hidden": 64},
                  "cls": {"name": "supervised", "heads": {"class": {"kind": "ce", "classes": 10}}}}
    c = runs.config(objectives=objectives, nets={"fusion": {"name": "cross_attention", "width": 16, "depth": 1, "heads": 2}},
                    **{"ema": {"teacher": {"decay": 0.9}}, "head.dim": 64})
    run, state, batches, hp = bench.prepare(c)
    with check.jax.set_mesh(run.mesh):
        _, (metrics, _) = check.jax.jit(run.loss)(state.params, state.ema, state.aux, batches, state.rng, state.step, hp)
    lines = []
    check._first_losses(run, {k: float(v) for k, v in metrics.items()}, batches, lambda *parts: lines.append(parts))
    assert [mark for mark, *_ in lines] == ["ok"] * 6, lines


def test_truncation_is_a_share_of_tokens():
    lines = []

    class Tokens:
        @staticmethod
        def lengths(texts):
            return np.array([len(t) for t in texts])

    class Source:
        fields = ("text",)

        def __len__(self):
            return 4

        def texts(self, rows):
            return ["a" * 10] * 3 + ["b" * 70]

    class Run:
        sources, tokenizer = {"main": Source()}, Tokens
        config = Spec(tokenizer=Spec(length=20))

    check._tokens(Run, lambda *parts: lines.append(parts))
    assert lines[0][0] == "LOOK" and lines[0][2].startswith("50.0% of the tokens; 25.0% of 4 texts")


def test_bench_gives_medians_over_warm_steps(monkeypatch):
    growth = iter([0, 5000] + [5000, 5003] * 8)  # the heap grows in one of the steps
    monkeypatch.setattr(bench.profiling, "minor_faults", lambda: next(growth))
    monkeypatch.setattr(bench.profiling, "gemm_peak", lambda dtype: 1e9)
    found = bench.bench_step(runs.config(), steps=5)
    assert found["minor_faults_per_step"] == 3 and found["step_s"] > 0 and found["compile_s"] > 0
    assert np.isclose(found["examples_per_s"], 16 / found["step_s"], rtol=1e-2) and math.isfinite(found["loss"])
    # two attention blocks' products alone are more FLOPs than this; remat and micro-batches do not count
    assert found["model_flops_per_s"] * found["step_s"] > 1e6
    with pytest.raises(ValueError, match="--steps 0"):
        bench.bench_step(runs.config(), steps=0)




def test_flops_of_a_frozen_tower_are_those_of_its_forward_pass():
    def flops(**changes):
        run = assemble(runs.config(**changes))
        return profiling.model_flops(run, {"main": batch_like(run.specs["main"], 16)})

    whole, remat = flops(), flops(**{"encoders": {m: t | {"remat": True} for m, t in runs.TOWERS.items()}})
    text = flops(rules=({"match": "encoders/image/.*", "freeze": True},))
    image = flops(rules=({"match": "encoders/text/.*", "freeze": True},))
    # each tower: forward + twice that backward, but for the first layer, which needs no gradient of its input
    assert whole <= remat <= 1.1 * whole
    assert abs((whole - text) + (whole - image) - 2 / 3 * whole) < 0.1 * whole


def test_what_check_tells_of_classes_pictures_and_texts():
    train = SimpleNamespace(labels={"dx": np.array([0, 1, 1], np.int32)})
    other = SimpleNamespace(labels={"dx": np.array([0, 2, -1], np.int32)}, label_names={"dx": ["a", "b", "rare"]}, notes=["a note"])
    assert survey.of_split(train, other, "test") == ["a note", "label 'dx' of test: no training row has 'rare'"]
    assert survey.of_split(train, train, "train") == [] == survey.of_split(train, SimpleNamespace(), "val")
    assert survey.class_counts(train) == ["dx: 2 classes, 1 2, 0 1"] and survey.class_counts(other) == ["dx: 2 classes, rare 1, a 1"]

    class Named(list):
        fields = ("image", "text")

        def identify(self, rows):
            return {"images": [self[i] and (self[i], f"{self[0]}+{i}") for i in rows]}

        def texts(self, rows):
            return [self[0]] * len(rows)

    splits = {"train": Named(["1.png", "2.png", None]), "val": Named(["3.png", None]), "test": Named(["2.png", "2.png"])}
    assert survey.repeated(splits) == ["1 pictures are in train and in test, e.g. 2.png"]
    assert survey.one_text(survey.some_texts(splits["train"])) == ["all 3 texts are the same, '1.png'"]
    assert survey.one_text(["a", "b"]) == [] == survey.one_text(["a"])


def test_equal_texts_are_told_where_no_group_says_so(tmp_path):
    texts = ["normal chest" if i % 2 else f"finding {i}" for i in range(10)]
    (tmp_path / "t.csv").write_text("text,age\n" + "".join(f"{text},4\n" for text in texts))
    for more, told in (({"tabular": ["age"]}, True), ({"tabular": ["age"], "group": "text"}, False), ({}, False)):
        source = manifest(tmp_path / "t.csv", "all", columns={"text": "text"} | more)
        lines = [line for line in survey.of_split(source, source, "val") if "equal to another's" in line]
        assert bool(lines) is told and all(line.startswith("5 of 10 texts of val are equal") for line in lines)


def test_transforms_of_what_no_row_has_are_told():
    source = SimpleNamespace(fields=("image", "text"))
    views = {"name": "views", "count": 2, "transforms": ({"name": "rotate90"},), "to": "crops"}
    stream = {"prepare": ({"name": "resize", "size": 8}, {"name": "normalize", "key": "volume"}),
              "augment": (views, {"name": "noise", "key": "crops"},
                          {"name": "flip"}, {"name": "drop_leads"}, {"name": "scarf"}, {"name": "drop_modalities"})}
    assert survey.idle("main", stream, source) == [
        f"config.data.main.{at} changes {what}, which no row has; it does nothing" for at, what in (
            ("prepare[1]: normalize", "volume"), ("augment[0]: rotate90", "volume"),
            ("augment[3]: drop_leads", "signal"), ("augment[4]: scarf", "tabular or category"))]
    with pytest.raises(ValueError, match=r"a\[0\]: views needs count, transforms: {'name': 'views', 'count': \.\.\., 'transforms'"):
        compose(({"name": "views"},), "a")


def test_every_bad_row_is_told_whatever_the_source_says_of_them():
    c = runs.config(data={"main": {"batch": 8, "source": {"name": "manifest", "path": "x.csv", "on_error": "raise"}},
                          "mix": {"batch": 8, "sources": {"a": {"name": "phantom", "on_error": "skip"}, "b": {"name": "phantom"}}}})
    skipping = check._skipping(c)
    assert skipping.data.main.on_error == "skip" == skipping.data.mix.on_error
    assert "on_error" not in skipping.data.main.source and "on_error" not in skipping.data.mix.sources.a
    assert c.data.main.source.on_error == "raise" and not check._skips(c.data.main)
    assert not check._skips(c.data.mix) and check._skips({"on_error": "skip", "sources": {"a": {}, "b": {}}})
