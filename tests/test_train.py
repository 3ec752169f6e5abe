"""The loop's promises, on whole runs: resume, meshes, NaN stop, stages, best-k, traced hyper-parameters, hosts."""

import csv
import json
import os
import random
import shutil
import signal

import jax
import numpy as np
import pytest

import mmrep
from mmrep import check, start
from mmrep import config as cfg
from mmrep import run as parts
from mmrep import train as loop
from mmrep.core import checkpoint, sharding, tree
from mmrep.evals.suite import Suite
from mmrep.metrics.intervals import Interval
from mmrep.run import assemble
from mmrep.train import Stopped, train
from tests import runs, tiny


def go(config, workdir, log=None):
    return train(config, workdir, shared=runs.SHARED, say=(log if log is not None else []).append)


def signal_at(monkeypatch, step, number=signal.SIGTERM):
    """Send this process a signal once a step's metrics are read."""
    real, sent = loop._read, []

    def read(at, *rest):
        out = real(at, *rest)
        if at == step and not sent:
            sent.append(at)
            os.kill(os.getpid(), number)
        return out

    monkeypatch.setattr(loop, "_read", read)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One uninterrupted run on the 8 devices: the reference of several tests."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    return workdir, go(runs.config(), workdir)


def test_killed_and_stopped_runs_end_bitwise_like_an_uninterrupted_one(tmp_path):
    file, ref, cut = tmp_path / "config.py", tmp_path / "ref", tmp_path / "cut"
    file.write_text(runs.CONFIG)
    runs.finish(runs.start("train", file, "--workdir", ref))
    died = random.SystemRandom().randint(1, 5)
    runs.finish(runs.start("train", file, "--workdir", cut, MMREP_TEST_SIGNAL=f"9 {died}"), -signal.SIGKILL)
    assert not (cut / "results.json").exists()
    half = cut / "checkpoints" / "7.orbax-checkpoint-tmp"
    shutil.copytree(ref / "checkpoints" / "8", half)
    (half / "default" / "_METADATA").unlink()
    _, err = runs.finish(runs.start("train", file, "--workdir", cut, MMREP_TEST_SIGNAL="15 5"))
    assert "stopped by SIGTERM after step 6" in err and "Traceback" not in err and "resumed at step 7" not in err
    _, err = runs.finish(runs.start("train", file, "--workdir", cut))
    assert "resumed at step 6" in err
    runs.assert_equal(runs.params(ref, 8), runs.params(cut, 8))
    assert runs.rows(ref) == runs.rows(cut), f"killed at {died}"
    assert checkpoint.steps_of(ref) == checkpoint.steps_of(cut)
    assert not [p for p in (cut / "checkpoints").iterdir() if "tmp" in p.name]
    tables = [[{k: v for k, v in r.items() if k != "time"} for r in csv.DictReader((d / "metrics.csv").open())]
              for d in (ref, cut)]
    assert tables[0] == tables[1] and len(tables[0]) == len(runs.rows(ref)) == 10
    results = [json.loads((d / "results.json").read_text()) for d in (ref, cut)]
    for r in results:
        assert r.keys() == {"metrics", "controls", "paired", "left_out", "skipped", "split", "test_reads", "config_hash",
                            "seconds", "step", "rows"}
        assert all(m.keys() == {"value", "low", "high", "n"} for m in r["metrics"].values())
        assert r["seconds"].keys() >= {"start", "evaluate"} and r["test_reads"] == 1
        del r["seconds"]
    assert results[0] == results[1]


@pytest.mark.parametrize("stop_at", [4, 8])
def test_a_signal_while_judging_saves_at_once_and_the_resume_judges_what_was_not(tmp_path, monkeypatch, stop_at):
    asked, interrupted = [], []

    def evaluate(self, params, on, *rest, **more):
        if on == "val":
            asked.append(1)
            if interrupted and len(asked) == interrupted[0]:
                os.kill(os.getpid(), signal.SIGTERM)
                pytest.fail("the signal had to wait for the evaluators")
        score = float(np.abs(np.asarray(params["encoders"]["image"]["head"]["kernel"])).sum())
        return {"score": Interval(score, score, score, 5)}

    monkeypatch.setattr(Suite, "evaluate", evaluate)
    monkeypatch.setattr(Suite, "names", lambda self, on: {"score": "config.evals.r"})
    config = runs.config(total="8 steps", **{"save.every": "0 steps", "save.metric": "val/score", "save.mode": "min",
                         "eval.every": "4 steps", "evals": {"r": {"name": "retrieval"}}})
    whole = go(config, tmp_path / "whole")
    asked.clear()
    interrupted.append(stop_at // 4)
    with pytest.raises(Stopped, match=f"by SIGTERM after step {stop_at}, which is saved"):
        go(config, tmp_path / "cut")
    assert checkpoint.steps_of(tmp_path / "cut")[-1] == stop_at
    assert not [r for r in runs.rows(tmp_path / "cut") if r["step"] == stop_at and "val/score" in r]
    interrupted.clear()
    cut = go(config, tmp_path / "cut")
    assert runs.rows(tmp_path / "whole") == runs.rows(tmp_path / "cut")
    assert checkpoint.steps_of(tmp_path / "whole") == checkpoint.steps_of(tmp_path / "cut") == [4, 8]
    assert cut["step"] == whole["step"] and cut["metrics"] == whole["metrics"]


def test_run_json_keeps_every_start(tmp_path, monkeypatch):
    with monkeypatch.context() as m:
        signal_at(m, 1)
        with pytest.raises(Stopped):
            go(runs.config(), tmp_path)
    first = json.loads((tmp_path / "run.json").read_text())
    monkeypatch.setattr("mmrep.workdir.describe", lambda config: {"commit": "another", "versions": {}})
    go(runs.config(**{"loader.threads": 0}), tmp_path)
    again = json.loads((tmp_path / "run.json").read_text())
    assert first["commit"] == again["commit"] and first["versions"]["jax"] == again["versions"]["jax"] and again["devices"]
    assert [s["commit"] for s in again["starts"]] == [first["commit"], "another"] and again["starts"][1]["step"] == 2
    assert again["starts"][1]["changed"] == {"loader.threads": [2, 0]} and "changed" not in again["starts"][0]
    assert json.loads((tmp_path / "config.json").read_text())["loader"]["threads"] == 2


def test_checkpoint_of_eight_devices_goes_on_with_four_and_with_one(tmp_path, monkeypatch):
    config = runs.config(**{"optim.name": "sgd", "optim.lr": 0.1, "mesh.data": 4, "mesh.fsdp": 2})
    go(config, tmp_path / "8")
    with monkeypatch.context() as m:
        signal_at(m, 2)
        with pytest.raises(Stopped, match="after step 2"):
            go(config, tmp_path / "4")
    shutil.copytree(tmp_path / "4", tmp_path / "1")
    saved, whole = runs.params(tmp_path / "4", 2), runs.params(tmp_path / "8")
    real = sharding.make_mesh
    for name, shape in (("4", (2, 2, 1)), ("1", (1, 1, 1))):
        n = int(np.prod(shape))
        c = runs.config(**{"optim.name": "sgd", "mesh.data": shape[0], "mesh.fsdp": shape[1]})
        run = assemble(c, devices=jax.devices()[:n])
        manager = checkpoint.open_folder(tmp_path / name / "checkpoints", 9)
        state = checkpoint.restore(manager, 2, run.shapes, run.placed)
        checkpoint.close(manager)
        values = dict(zip(tree.paths(state.params), map(np.asarray, jax.tree.leaves(state.params))))
        runs.assert_equal(values, saved)
        assert {len(x.sharding.device_set) for x in jax.tree.leaves(state.params)} == {n}
        with monkeypatch.context() as m:
            m.setattr(sharding, "make_mesh", lambda *a, **k: real(*shape, devices=jax.devices()[:n]))
            log = []
            train(runs.config(**{"optim.name": "sgd", "optim.lr": 0.1, "mesh.data": shape[0], "mesh.fsdp": shape[1]}),
                  tmp_path / name, say=log.append)
        assert any("resumed at step 2" in line for line in log)
        tiny.assert_close(runs.params(tmp_path / name), whole)


def test_not_finite_stops_with_the_state_before_it(tmp_path, monkeypatch, whole):
    real, calls = loop.streams.without_text, []

    def poisoned(batch):
        calls.append(1)
        out = real(batch)
        if len(calls) == 4:
            out = out | {"soft": np.full((16, 3), np.nan, np.float32)}
        return out | ({"soft": np.zeros((16, 3), np.float32)} if len(calls) != 4 else {})

    config = runs.config(objectives={"clip": {"name": "contrastive", "soft": True}}, **{"save.every": "0 steps"})
    like = parts.batch_like  # the poison is a field that the data does not have
    monkeypatch.setattr(parts, "batch_like", lambda spec, n: like(spec, n) | {"soft": jax.ShapeDtypeStruct((n, 3), np.float32)})
    monkeypatch.setattr(loop.streams, "without_text", poisoned)
    with pytest.raises(FloatingPointError, match="step 4: the loss is not finite; the state after step 3 is saved"):
        go(config, tmp_path / "nan")
    assert checkpoint.steps_of(tmp_path / "nan") == [3]
    assert [r["step"] for r in runs.rows(tmp_path / "nan")] == [1, 2, 3]
    calls[:] = [1] * 10  # the clean run
    go(config, tmp_path / "clean")
    with monkeypatch.context() as m:
        signal_at(m, 2)
        with pytest.raises(Stopped):
            go(config, tmp_path / "three")
    runs.assert_equal(runs.params(tmp_path / "nan", 3), runs.params(tmp_path / "three", 3))
    calls[:] = [1] * 10
    go(config, tmp_path / "nan")  # with good data it goes on, bitwise
    runs.assert_equal(runs.params(tmp_path / "nan"), runs.params(tmp_path / "clean"))


def test_hyperparameters_are_traced(tmp_path, monkeypatch, whole):
    workdir, _ = whole
    real, traced = loop.with_stop, []

    def counted(step):
        run = real(step)
        return lambda *args: traced.append(1) or run(*args)

    monkeypatch.setattr(loop, "with_stop", counted)
    shared: dict = {}
    train(runs.config(), tmp_path / "one", shared=shared, say=lambda text: None)
    step = shared["step", next(k[1] for k in shared if k[0] == "step")]
    data = [value for key, value in shared.items() if key[0] == "source"]
    config = runs.config(objectives={"clip": {"name": "contrastive", "weight": 0.5}}, seed=3, total="3 steps",
                         **{"optim.lr": 3e-3, "optim.warmup": "0 steps", "log.tensorboard": True})
    train(config, tmp_path / "other", shared=shared, say=lambda text: None)
    assert sorted(key[0] for key in shared if key[0] != "source") == ["embed", "init", "step", "texts"] and len(traced) == 1
    assert shared["step", next(k[1] for k in shared if k[0] == "step")] is step  # a compiled program cannot compile again
    assert [value for key, value in shared.items() if key[0] == "source"] == data and data  # nor are the data opened again
    windowed = runs.config(objectives={"clip": {"name": "contrastive", "from": "1 steps"}})  # its terms are conditional: another program
    assert assemble(windowed).program != assemble(runs.config()).program
    assert runs.rows(tmp_path / "one") == runs.rows(workdir)
    assert runs.rows(tmp_path / "other")[0]["lr"] != runs.rows(workdir)[0]["lr"]
    assert runs.rows(tmp_path / "other")[-1]["loss"] != runs.rows(workdir)[2]["loss"]
    assert list((tmp_path / "other" / "tensorboard").glob("events*"))
    log = []
    again = go(config, tmp_path / "other", log)  # a finished run is not run again
    assert "finished" in log[0] and again["seconds"] == json.loads((tmp_path / "other/results.json").read_text())["seconds"]


def test_a_start_that_failed_leaves_no_tokenizer_behind(tmp_path):
    change = {"total": "1 steps", "evals": {"r": {"name": "probe", "label": "clas"}}}
    with pytest.raises(ValueError, match="no label 'clas'"):
        go(runs.config(tokenizer={"name": "wordpiece", "vocab_size": 100, "length": 24}, **change), tmp_path / "a")
    wanted = {"tokenizer": {"name": "wordpiece", "vocab_size": 150, "length": 24}, "total": "1 steps"}
    go(runs.config(**wanted), tmp_path / "a")
    go(runs.config(**wanted), tmp_path / "b")
    assert (tmp_path / "a" / "tokenizer.json").read_bytes() == (tmp_path / "b" / "tokenizer.json").read_bytes()


def test_a_pair_of_any_order_is_drawn_and_judged(tmp_path):
    results = go(runs.config(total="1 steps", evals={"r": {"name": "retrieval", "pair": ("text", "image")}}), tmp_path)
    assert (tmp_path / "figure.png").is_file() and "retrieval/ceiling:text-image/R@1/instance" in results["metrics"]


def test_stages_start_from_the_last_and_resume(tmp_path, monkeypatch):
    config = runs.config(objectives={"mim": {"name": "masked", "width": 16, "depth": 1, "heads": 2}},
                         stages=({"total": "3 steps"},
                                 {"total": "4 steps", "objectives": {"mim": None, "clip": {"name": "contrastive"}}}))
    log = []
    with monkeypatch.context() as m:
        real = loop._read

        def stop(step, metrics, *rest):
            if step == 2 and "clip/loss" in metrics:
                os.kill(os.getpid(), signal.SIGTERM)
            return real(step, metrics, *rest)

        m.setattr(loop, "_read", stop)
        with pytest.raises(Stopped):
            go(config, tmp_path, log)
    text = "\n".join(log)
    assert "leaves loaded" in text and "missing: objectives/clip/logit_scale" in text
    assert "unexpected: objectives/mim" in text
    first = (tmp_path / "stage0" / "metrics.jsonl").read_bytes()
    log.clear()
    results = go(config, tmp_path, log)
    text = "\n".join(log)
    assert "stage0: this run is finished" in text and "resumed at step 2" in text and "leaves loaded" not in text
    assert (tmp_path / "stage0" / "metrics.jsonl").read_bytes() == first
    assert [r["step"] for r in runs.rows(tmp_path / "stage1")] == [1, 2, 3, 4]
    assert results["step"] == 4
    model, params, c = mmrep.load(tmp_path)
    assert set(c.objectives) == {"clip"} and set(params["encoders"]) == {"image", "text"}


def test_a_mistake_in_the_last_stage_costs_no_training(tmp_path):
    for change, said in (({"rules": ({"match": "nothing", "freeze": True},)}, "config.rules"),
                         ({"encoders": {"image": {"widht": 3}}}, "config.encoders.image.widht: vit takes no 'widht'"),
                         ({"save": {"mode": "best"}}, "config.save.mode: 'best'"),
                         ({"eval": {"every": "5 parsecs"}}, "config.eval.every: '5 parsecs'"),
                         ({"init": {"only": "encoders/nothing.*"}}, "config.init.only")):
        config = runs.config(stages=({"total": "1 steps"}, change))
        with pytest.raises(ValueError, match=r"^config.stages\[1\]: " + said):
            go(config, tmp_path)
        assert not (tmp_path / "stage0").exists()
        with pytest.raises(ValueError, match=r"^config.stages\[1\]: " + said):
            check.check(config, 2, lambda text: None)


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    from mmrep.workdir import locked

    with locked(tmp_path):
        (tmp_path / "config.json").write_text("{}")  # of a run that has no checkpoint yet
        with pytest.raises(ValueError, match=r"--workdir .*: another process trains there \(process \d+ on "):
            go(runs.config(total="1 steps"), tmp_path)
        assert (tmp_path / "config.json").read_text() == "{}"
    assert go(runs.config(total="1 steps"), tmp_path)["step"] == 1


def test_a_resume_on_other_data_is_refused(tmp_path, monkeypatch):
    def table(rows, word="report"):
        (tmp_path / "t.jsonl").write_text("".join(json.dumps(
            {"text": f"{word} {i}", "age": i, "split": "train"}) + "\n" for i in range(rows)))

    columns = {"text": "text", "label": {"age": "age"}}
    config = runs.config(objectives={"cls": {"name": "supervised", "view": "text", "heads": {"age": {"kind": "ce", "classes": 40}}}},
                         encoders={"text": runs.TOWERS["text"]}, data={"main": {"batch": 8, "source": {
                             "name": "manifest", "path": str(tmp_path / "t.jsonl"), "columns": columns}}})
    table(20)
    with monkeypatch.context() as m:
        signal_at(m, 1)
        with pytest.raises(Stopped):
            go(config, tmp_path / "w")
    for rows, word, said in ((19, "report", r"other rows \(20 then, 19 now\)"), (20, "other", "other content;")):
        table(rows, word)
        with pytest.raises(ValueError, match="^config.data.main: the training data are not those .*" + said):
            go(config, tmp_path / "w")
    table(20)
    assert go(config, tmp_path / "w")["step"] == 4


def test_init_takes_over_only_what_is_asked(tmp_path, whole):
    source, _ = whole
    log = []
    config = runs.config(total="1 steps", seed=9, **{"optim.lr": 0.0, "init.path": str(source),
                                                    "init.only": "encoders/(image|text/head)/.*"})
    go(config, tmp_path / "a", log)
    fresh = start.start(run := assemble(config), jax.jit(run.init), None, log.append).params
    fresh = dict(zip(tree.paths(fresh), map(np.asarray, jax.tree.leaves(fresh))))
    mine, theirs = runs.params(tmp_path / "a"), runs.params(source)
    for path in mine:
        taken = path.startswith(("encoders/image/", "encoders/text/head/"))
        np.testing.assert_allclose(mine[path], (theirs if taken else fresh)[path], rtol=1e-6, atol=1e-7, err_msg=path)
    learned = [p for p in mine if not np.allclose(theirs[p], fresh[p])]
    assert len(learned) > len(mine) / 2  # so that the two could be told apart
    assert any("leaves loaded, 0 leaves missing" in line for line in log)
    rename = runs.config(total="1 steps", seed=9, **{"optim.lr": 0.0, "init.path": str(source), "init.rename": {
        "encoders/image": "encoders/other"}})
    log.clear()
    go(rename, tmp_path / "b", log)
    text = "\n".join(log)
    assert "missing: encoders/image/head/kernel" in text and "unexpected: encoders/other/head/kernel" in text
    wide = runs.config(**{"head.dim": 8, "init.path": str(source)})
    with pytest.raises(ValueError, match=r"config.init.path: leaf encoders/image/head/\w+ is .* there and .* here"):
        go(wide, tmp_path / "c")
    with pytest.raises(FileNotFoundError, match="config.init.path: .*nowhere.* no finished or stopped run"):
        go(runs.config(**{"init.path": str(tmp_path / "nowhere")}), tmp_path / "d")
    with pytest.raises(ValueError, match="holds a run of another config: config.init.only was"):
        go(runs.config(), tmp_path / "a")
    shutil.rmtree(tmp_path / "a" / "checkpoints")  # to save room: the results are still a run's
    with pytest.raises(ValueError, match="holds a run of another config: config.init.only was"):
        go(runs.config(), tmp_path / "a")
    assert (tmp_path / "a" / "results.json").is_file()


def test_a_run_starts_from_the_params_that_were_judged(tmp_path):
    go(runs.config(total="2 steps", ema={"eval": {"decay": 0.5}}, **{"optim.lr": 1e-2}), tmp_path / "a")
    saved = checkpoint.read_params(tmp_path / "a")
    taken = start.open_source(runs.config(**{"init.path": str(tmp_path / "a")}), tmp_path / "b").params
    same = [all(map(np.array_equal, jax.tree.leaves(taken), jax.tree.leaves(other))) for other in (saved["ema"]["eval"], saved["params"])]
    assert same == [True, False]


@pytest.mark.parametrize("mode", ["max", "min"])
def test_best_checkpoints_are_kept_and_used(tmp_path, monkeypatch, mode):
    scores = {2: 0.5, 4: 0.7, 6: 0.7, 8: 0.6, 10: 0.1}
    if mode == "min":
        scores = {k: -v for k, v in scores.items()}
    steps = iter(scores)

    def evaluate(self, params, on, *rest, **more):
        at = next(steps) if on == "val" else 0
        return {"score": Interval(scores.get(at, 0.0), 0.0, 1.0, 5)}

    monkeypatch.setattr(Suite, "evaluate", evaluate)
    monkeypatch.setattr(Suite, "names", lambda self, on: {"score": "config.evals.r"})
    config = runs.config(total="10 steps", **{"save.every": "5 steps", "save.metric": "val/score", "save.mode": mode,
                         "eval.every": "2 steps", "evals": {"r": {"name": "retrieval"}}})
    results = go(config, tmp_path)
    assert checkpoint.steps_of(tmp_path) == [4, 6, 10]  # the two best and the newest
    assert results["step"] == 4  # of equals the earlier
    best = checkpoint.read_params(tmp_path, metric="val/score", mode=mode)
    assert best["step"] == 4
    _, params, _ = mmrep.load(tmp_path)
    np.testing.assert_array_equal(params["encoders"]["image"]["head"]["kernel"],
                                  best["params"]["encoders"]["image"]["head"]["kernel"])
    with pytest.raises(ValueError, match="config.save.metric: .*set config.eval.every"):
        go(runs.config(**{"save.metric": "val/score"}), tmp_path / "x")


def test_two_streams_train_and_resume(tmp_path, monkeypatch):
    config = runs.config(objectives=runs.CLIP | {"mim": {"name": "masked", "width": 16, "depth": 1, "heads": 2, "stream": "masks"}})
    with config.unlocked():
        config.data.masks = {"source": {"name": "phantom", "n": 40, "size": 32, "modalities": ("image",)}, "batch": 8}
        config.evals = {"r": {"name": "retrieval"},
                        "p": {"name": "probe", "label": "class", "fractions": (1.0,), "stream": "masks"}}
        config.eval.controls = ("untrained", "raw_pca")
    results = go(config, tmp_path / "whole")
    assert results["metrics"]["masks/probe/class/accuracy"]["n"] == 40 and "masks/probe/class/accuracy" in results["controls"]["raw_pca"]
    assert {"retrieval/image_to_text/R@1/instance", "masks/knn/class/accuracy"} <= set(results["metrics"])
    assert results["skipped"] == {"test": 0, "masks/train": 0, "masks/val": 0, "masks/test": 0}
    with pytest.raises(ValueError, match="config.evals.p.stream: unknown stream 'mask'; did you mean 'masks'"):
        go(cfg.override_with(config, {"evals": {"p": {"stream": "mask"}}}, "test"), tmp_path / "bad")
    with monkeypatch.context() as m:
        signal_at(m, 1)
        with pytest.raises(Stopped, match="after step 2"):
            go(config, tmp_path / "cut")
    go(config, tmp_path / "cut")
    assert runs.rows(tmp_path / "whole") == runs.rows(tmp_path / "cut")
    assert all(np.isfinite([r["mim/loss"], r["clip/loss"]]).all() for r in runs.rows(tmp_path / "cut"))
    runs.assert_equal(runs.params(tmp_path / "whole"), runs.params(tmp_path / "cut"))
