"""The suite around the evaluators: what is refused before training, what is judged, and what a run's folder can do alone."""

import csv
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import mmrep
from mmrep import evaluate, opened
from mmrep.core import checkpoint
from mmrep.core.tree import averaged
from mmrep.core.types import View
from mmrep.evals import EVALS
from mmrep.evals.controls import controls
from mmrep.evals.suite import Suite, as_json
from mmrep.metrics.intervals import mean_interval
from mmrep.run import assemble
from mmrep.train import train
from tests import runs

RETRIEVAL = {"retrieval": {"name": "retrieval", "ks": (1,)}}


def go(config, workdir):
    return train(config, workdir, shared=runs.SHARED, say=lambda text: None)


def test_every_mistake_in_an_evaluator_is_named_before_training():
    probe = {"name": "probe", "label": "class"}
    image = {"image": runs.TOWERS["image"]}
    mim = {"mim": {"name": "masked", "width": 16, "depth": 1, "heads": 2}}
    for evals, more, message in (
            ({"z": {"name": "zeroshot", "prompts": "phantom"}}, {"encoders": image, "objectives": mim}, "evals.z: .*text encoder"),
            ({"z": {"name": "zeroshot"}}, {}, "config.evals.z: .*needs templates"),
            ({"z": {"name": "zeroshot", "templates": ("a picture",), "classes": tuple("abcdefghij")}}, {},
             "config.evals.z: .*has no {} where"),
            ({"z": {"name": "zeroshot", "prompts": "fantom"}}, {}, "config.evals.z: prompts: unknown 'fantom'"),
            ({"z": {"name": "zeroshot", "label": "findings", "templates": ("{}",), "classes": tuple("abcdef")}}, {},
             "config.evals.z: .*`negative` prompts"),
            ({"r": {"name": "retrieval", "pair": ("image", "txt")}}, {}, "config.evals.r: .*'present/txt'; did you mean"),
            ({"a": {"name": "alignment", "pair": ("image", "signal")}}, {}, "config.evals.a: .*'present/signal'"),
            ({"p": probe | {"modality": "volume"}}, {}, "config.evals.p: .*'present/volume'"),
            ({"p": probe | {"feature": "tokens"}}, {}, "config.evals.p: feature: 'tokens'; valid: pooled, embedding"),
            ({"p": probe | {"label": "severity"}}, {}, "config.evals.p: label 'severity' holds real numbers"),
            ({"p": probe, "q": probe | {"fractions": (1.0,)}}, {}, "config.evals.q: gives 'probe/class/n_labels', which config.evals.p"),
            ({"s": {"name": "supervised"}}, {}, "config.evals.s: supervised: the config has 0 supervised terms"),
            (RETRIEVAL, {"save.metric": "val/retrieval/image_to_text/MRR/instanc"}, "config.save.metric: .*did you mean"),
            (RETRIEVAL, {"data.main.source": {"name": "phantom", "n": 64, "size": 36, "modalities": ("image", "text")},
                         "data.main.augment": ({"name": "random_crop", "size": 32},)}, "config.data.main: rows without augm")):
        with pytest.raises(ValueError, match=message):
            Suite(assemble(runs.config(evals=evals, **more))).check()
    both = {"p": probe, "q": probe | {"modality": "text"}, "r": RETRIEVAL["retrieval"]}
    suite = Suite(assemble(runs.config(evals=both, **{"save.metric": "val/probe/class:text@1%/auroc"})))
    suite.check()
    assert {"probe/class/auroc", "probe/class:text/auroc", "retrieval/ceiling/R@1/instance"} <= set(suite.names())


def test_names_foretold_are_those_found_and_raw_pixels_control_only_image_probes():
    evals = {"p": {"name": "probe", "label": "findings", "fractions": (1.0, 0.01)},
             "t": {"name": "probe", "label": "class", "modality": "text", "fractions": (1.0,)},
             "z": {"name": "zeroshot", "prompts": "phantom"}, "a": {"name": "alignment"}} | RETRIEVAL
    run = assemble(runs.config(evals=evals))
    suite = Suite(run)
    with jax.set_mesh(run.mesh):
        params = jax.jit(run.init, out_shardings=run.placed)(np.int32(0), run.hp).params
        features = suite.features(params)
        found = suite.evaluate(params, "val", features)
        beside, differences = controls(suite, "val", ("untrained", "raw_pca"), 0, features)
    assert set(found) == set(suite.names())
    assert as_json(found).keys() < found.keys() and isinstance(found["probe/findings@1%/auroc"], str)  # 64 rows: no 1 %
    assert set(beside["raw_pca"]) >= {"probe/findings/n_labels", "probe/findings/auroc", "probe/findings@1%/n_labels",
                                      "probe/findings@1%/auroc", "probe/findings/strength", "probe/findings/width"}
    assert all(name.startswith("probe/findings") for name in beside["raw_pca"])
    assert set(differences["raw_pca"]) == {"probe/findings/auroc"}
    assert {"probe/findings/auroc", "probe/class:text/auroc"} <= set(differences["untrained"])  # raw text is no control, untrained is
    own = evaluate.judged(run, suite, params, features, "train")
    assert "fitted on train" in own["left_out"]["probe/findings/auroc"] and "retrieval/image_to_text/R@1/instance" in own["metrics"]


def test_an_evaluator_can_read_tokens_and_params_and_two_runs_share_its_program(monkeypatch):
    def tokens(batches, encode, params, *, modality, on):
        """Mean length of a row's tokens: of every row once, on whatever mesh."""
        lengths, kernel = [], params["encoders"][modality]["head"]["kernel"]
        for batch in batches(on):
            encoded, rows = encode(View(modality), batch)
            assert encoded.tokens.shape[:2] == encoded.mask.shape and kernel.shape[0] == encoded.tokens.shape[-1]
            lengths += encoded.mask.sum(1)[rows["valid"]].tolist()
        yield "tokens/length", mean_interval(np.array(lengths, float), np.arange(len(lengths)), bounds=None)

    monkeypatch.setitem(EVALS, "tokens", tokens)
    shared = {}
    for seed in (0, 1):
        run = assemble(runs.config(evals={"t": {"name": "tokens", "modality": "text"}}, seed=seed))
        suite = Suite(run, shared=shared)
        suite.check()
        with jax.set_mesh(run.mesh):
            params = jax.jit(run.init, out_shardings=run.placed)(np.int32(0), run.hp).params
            found = suite.evaluate(params, "val")["tokens/length"]
            programs = [value for key, value in shared.items() if key[0] != "source"]
        want = [0 if text is None else len(run.tokenizer.encode([text], 10**4)[0].nonzero()[0]) for text in suite.source("val").texts()]
        assert found.n == len(want) and np.isclose(found.value, np.minimum(want, run.config.tokenizer.length).mean())
    assert len(programs) == 3 and all(program._cache_size() <= 1 for program in programs)  # embed, texts and this view, once


def test_rows_are_judged_without_augmentation_whatever_it_does_to_their_shape(tmp_path):
    towers = runs.TOWERS | {"image": runs.TOWERS["image"] | {"positions": "sincos"}}
    results = go(runs.config(encoders=towers, evals=RETRIEVAL, total="1 steps",
                             **{"data.main.augment": ({"name": "random_crop", "size": 16},)}), tmp_path)
    assert 0 < results["metrics"]["retrieval/image_to_text/R@1/instance"]["n"] <= 64


def test_the_average_is_what_is_judged_loaded_and_embedded(tmp_path):
    results = go(runs.config(evals=RETRIEVAL, **{"ema": {"eval": {"decay": 0.5}}, "optim.lr": 0.1}), tmp_path / "w")
    saved = checkpoint.read_params(tmp_path / "w")
    again = opened.open_run(tmp_path / "w")
    _, params, _ = mmrep.load(tmp_path / "w")
    kernel = np.asarray(params["encoders"]["image"]["head"]["kernel"])
    np.testing.assert_array_equal(kernel, saved["ema"]["eval"]["encoders"]["image"]["head"]["kernel"])
    scale = np.asarray(params["objectives"]["clip"]["logit_scale"])
    assert scale == saved["ema"]["eval"]["objectives"]["clip"]["logit_scale"] != saved["params"]["objectives"]["clip"]["logit_scale"]
    assert not np.allclose(kernel, saved["params"]["encoders"]["image"]["head"]["kernel"])
    with jax.set_mesh(again.run.mesh):
        average = as_json(again.suite.evaluate(again.params, "test"))
        raw = as_json(again.suite.evaluate(opened.place(again.run, saved["params"], {}), "test"))
    assert average == results["metrics"] != raw
    evaluate.export(tmp_path / "w", tmp_path / "x.npz", say=lambda text: None)
    with jax.set_mesh(again.run.mesh):
        rows = again.suite.features(again.params)("test")
    np.testing.assert_array_equal(np.load(tmp_path / "x.npz")["image/embedding"], rows["image/embedding"])
    assert averaged(saved["params"], {}) is saved["params"]


def table(folder, splits):
    """A CSV of pictures and reports, two pictures a patient, with rows of the splits in turn."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = [{"file": f"{i}.png", "report": f"report {i % 5}", "who": f"patient {i // 2}", "kind": "ab"[i % 2], "part": part}
            for i, part in enumerate(splits)]
    for row in rows:
        Image.fromarray(rng.integers(0, 255, (32, 32), np.uint8)).save(folder / row["file"])
    with (folder / "t.csv").open("w", newline="") as f:
        writer = csv.DictWriter(f, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(folder / "t.csv")


def test_a_run_opens_without_its_data_and_reads_other_data_with_a_test_split_only(tmp_path):
    first = tmp_path / "first"
    path = table(first, ["train"] * 16 + ["val"] * 4 + ["test"] * 8)
    (first / "21.png").write_bytes((first / "21.png").read_bytes()[:60])
    columns = {"image": "file", "text": "report", "case": "who", "label": {"kind": "kind"}, "split": "part"}
    c = runs.config(total="1 steps", evals=RETRIEVAL | {"p": {"name": "probe", "label": "kind", "fractions": (1.0,)}},
                    tokenizer={"name": "wordpiece", "vocab_size": 200, "length": 24},
                    data={"main": {"batch": 8, "on_error": "skip", "source": {"name": "manifest", "path": path,
                                                                              "columns": columns}}})
    results = go(c, tmp_path / "w")
    assert results["skipped"] == {"train": 0, "val": 0, "test": 1} and results["test_reads"] == 1
    assert results["metrics"]["retrieval/image_to_text/R@1/instance"]["n"] == 7
    evaluate.export(tmp_path / "w", tmp_path / "own.npz", say=lambda text: None)
    own = np.load(tmp_path / "own.npz")
    assert set(own["split"]) == {"test"} and set(own["label/kind/name"]) == {"a", "b"}
    assert own["row"].tolist() == [20, 22, 23, 24, 25, 26, 27]
    assert own["case"].tolist()[:3] == ["patient 10", "patient 11", "patient 11"]
    assert own["image"][0].endswith("20.png")

    rows = Path(path).read_text()
    Path(path).write_text(rows.replace("21.png,report 1", "21.png,report 2"))
    said = []
    evaluate.export(tmp_path / "w", tmp_path / "own.npz", say=said.append)
    assert "the rows of test are not those that the run was started with" in said[0] and "of step 1 to" in said[1]
    evaluate.export(tmp_path / "w", tmp_path / "own.npz", split="val", say=said.append)
    assert len(said) == 3

    first.rename(tmp_path / "gone")
    model, params, config = mmrep.load(tmp_path / "w")
    assert model["texts"](params, ["report 3"]).shape == (1, 16) and config.tokenizer.name == "wordpiece"
    with pytest.raises((ValueError, FileNotFoundError), match="t.csv"):
        evaluate.evaluate(tmp_path / "w")
    assert json.loads((tmp_path / "w" / "test_reads.json").read_text())["reads"] == 3  # what cannot be opened is not read
    other = {"path": table(tmp_path / "other", ["test"] * 6)}
    said = []
    again = evaluate.evaluate(tmp_path / "w", other, say=said.append)
    assert again["test_reads"] == 4 and again["config_hash"] == results["config_hash"] and again["data"] == other
    assert again["metrics"]["retrieval/image_to_text/R@1/instance"]["n"] == 6
    assert "no split 'train'" in again["left_out"]["evals.p"] and "left out: evals.p: " in said[0]
    evaluate.export(tmp_path / "w", tmp_path / "other.parquet", other, say=said.append)
    assert "test has been read 4 times" in said[1] and "wrote 6 rows" in said[2]
    for counts, *args in ((True, "test", {}), (True, "all", {}), (True, "val", {"splits": "{'val': 'test'}"}), (False, "train", None),
                          (False, "val", {"path": "x"}), (True, "val", {"columns.split": "fold"}), (True, "val", {"ours.splits": "x"})):
        assert evaluate.may_be_test(*args) == counts, args
    with pytest.raises(ValueError, match="source.split: 'test' would be train, val and test alike"):
        evaluate.evaluate(tmp_path / "w", other | {"split": "test"}, "val", say=said.append)


def test_only_the_last_stage_reads_test(tmp_path):
    results = go(runs.config(evals=RETRIEVAL, stages=({"total": "1 steps"}, {"total": "1 steps", "optim": {"lr": 0.0}})), tmp_path)
    assert results["split"] == "test" and results["test_reads"] == 1
    first = json.loads((tmp_path / "stage0" / "results.json").read_text())
    assert first["split"] == "val" and first["test_reads"] == 0
    assert not (tmp_path / "stage0" / "test_reads.json").exists()
    evaluate.count_read(tmp_path / "stage0")
    assert evaluate.count_read(tmp_path / "stage1") == 3
