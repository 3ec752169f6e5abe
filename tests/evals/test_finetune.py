"""Supervised heads: read by name, scored by a loaded model, and fine-tuned from another run on a share of its labels."""

import json

import jax
import numpy as np
import pytest

import mmrep
from mmrep import config as cfg
from mmrep.evals import EVALS
from mmrep.evals.supervised import Head, matched, of_term
from mmrep.metrics.classification import macro_auroc
from mmrep.train import train
from tests import runs


def test_heads_are_read_by_class_name_and_refused_where_they_do_not_fit():
    rng = np.random.Generator(np.random.Philox(0))
    x, y = rng.normal(size=(60, 4)).astype(np.float32), rng.integers(0, 2, 60)
    params = {"kernel": rng.normal(size=(4, 3)), "bias": rng.normal(size=3)}
    heads = {("t", "kind"): Head("t", "image", "pooled", "ce", params)}
    rows = {"index": np.arange(60), "present/image": np.ones(60, bool), "image/pooled": x, "label/kind": y}

    def run(**kwargs):
        return dict(EVALS["supervised"](lambda _: rows, None, heads=heads, **kwargs))

    got = run(names={"kind": ["CT", "US"]}, trained={"kind": ["CT", "MR", "US"]})
    logits = x @ params["kernel"] + params["bias"]
    assert np.isclose(got["supervised/kind/accuracy"].value, (logits.argmax(1) == np.array([0, 2])[y]).mean())
    assert run()["supervised/kind/accuracy"].value == (logits.argmax(1) == y).mean()
    assert set(run(term="t")) == {"supervised/kind:t/accuracy", "supervised/kind:t/accuracy/chance", "supervised/kind:t/auroc"}
    for kwargs, message in (({"names": {"kind": ["CT", "XR"]}, "trained": {"kind": ["CT", "MR"]}}, "'XR' was not trained"),
                            ({"term": "tt"}, "did you mean 't'")):
        with pytest.raises(ValueError, match=message):
            run(**kwargs)
    with pytest.raises(ValueError, match="0 supervised terms"):
        of_term({}, "")
    rows["label/kind"] = y + 2
    with pytest.raises(ValueError, match="a ce head of 3 classes"):
        run()
    wide = matched(np.array([[1, 0], [-1, 1]]), "f", ["b", "a"], ["a", "b", "c"])
    assert wide.tolist() == [[0, 1, -1], [1, -1, -1]]


def test_pretrain_then_finetune_a_tenth_of_the_labels(tmp_path):
    other = tmp_path / "pretrained"
    train(runs.config(total="2 steps"), other, shared=runs.SHARED, say=lambda text: None)
    c = cfg.load("configs/finetune.py:smoke,fraction=0.1,frozen=1", [f"init.path={other}"])
    with c.unlocked():
        c.encoders = {"image": runs.TOWERS["image"]}
        c.total, c.ema = "2 steps", {"eval": {"decay": 0.5}}
    log = []
    results = train(c, tmp_path / "w", say=log.append)
    assert "2 steps, 13 training examples" in "\n".join(log) and "0 leaves missing" in "\n".join(log)
    names = {"supervised/findings/auroc", "supervised/class/auroc", "supervised/class/accuracy", "supervised/class/accuracy/chance"}
    assert set(results["metrics"]) == names == set(results["controls"]["untrained"]) and not results["left_out"]
    assert results["skipped"] == {"test": 0}
    mine, theirs = runs.params(tmp_path / "w"), runs.params(other)
    for path in mine:
        if path.startswith("encoders/"):  # one block of one: frozen but for the last norm
            assert np.array_equal(mine[path], theirs[path]) == ("norm/" not in path or "/block" in path), path

    model, params, config = mmrep.load(tmp_path / "w")  # what `score` says is what the evaluator read
    from mmrep.data import streams

    source = streams.open_source(config.data.main, "test")
    block = source.block(np.arange(len(source))) if hasattr(source, "block") else None
    rows = [source[i] for i in range(len(source))] if block is None else None
    image = np.stack([r["image"] for r in rows]) if rows else block["image"]
    y = np.stack([r["label/findings"] for r in rows]) if rows else block["label/findings"]
    logits = jax.jit(lambda p, x: model["score"](p, "findings", x))(params, image)
    assert np.isclose(macro_auroc(y, np.asarray(logits)), results["metrics"]["supervised/findings/auroc"]["value"], atol=1e-4)
    with pytest.raises(ValueError, match="no head 'finding'; did you mean 'findings'"):
        model["score"](params, "finding", image)
    assert json.loads((tmp_path / "w" / "results.json").read_text())["metrics"] == results["metrics"]
