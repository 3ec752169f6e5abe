"""Two runs compared on the same rows, and one run's checkpoints."""

import json

import numpy as np
import pytest

from mmrep import compare as comparison
from mmrep.cli import main
from mmrep.compare import compare
from mmrep.evaluate import evaluate, trajectory
from mmrep.metrics import similarity
from mmrep.train import train
from tests import runs

EVALS = {"zeroshot": {"name": "zeroshot", "label": "class", "prompts": "phantom"},
         "retrieval": {"name": "retrieval"}, "probe": {"name": "probe", "label": "class", "fractions": (1.0,), "knn": False}}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    out = tmp_path_factory.mktemp("two")
    for seed in (0, 1):
        config = runs.config(evals=EVALS, seed=seed, **{"save.every": "1 steps", "save.keep": 9})
        train(config, out / f"s{seed}", shared=runs.SHARED, say=lambda text: None, figure=False)
    return out


def test_a_run_is_like_itself_and_flips_nothing(two):
    found = compare(two / "s0", two / "s0", "val", by=("class",))
    for of in [*found["layers"].values(), found["embeddings"]]:
        assert np.allclose(np.diag(of["cka"]), 1) and np.allclose(np.diag(of["mutual_knn"]), 1) and of["a"] == of["b"]
    assert all(f["a_only"]["n"] == f["b_only"]["n"] == 0 for f in found["flips"].values()) and found["differences"] == {}
    assert "alike" in found["left_out"]["probe/class"] and found["subgroups"]["probe/class"]["class"]["0"]["value"] == 0


def test_differences_are_those_of_the_evaluations(two, capsys, tmp_path):
    reads = [json.loads((two / s / "test_reads.json").read_text())["reads"] for s in ("s0", "s1")]
    found = compare(two / "s0", two / "s1")
    assert [json.loads((two / s / "test_reads.json").read_text())["reads"] for s in ("s0", "s1")] == [r + 1 for r in reads]
    results = [json.loads((two / s / "results.json").read_text())["metrics"] for s in ("s0", "s1")]
    for ours, theirs in (("probe/class", "probe/class/accuracy"), ("zeroshot/class", "zeroshot/class/top1"),
                         ("retrieval/image_to_text/R@1", "retrieval/image_to_text/R@1/instance")):
        if ours in found["differences"]:  # where tied ranks share a hit, it is a fraction in both
            d = found["differences"][ours]
            assert np.isclose(d["value"], results[1][theirs]["value"] - results[0][theirs]["value"]) and d["low"] <= d["value"] <= d["high"]
    flips = found["flips"]["probe/class"]
    assert flips["both"] + flips["neither"] + flips["a_only"]["n"] + flips["b_only"]["n"] == 64
    assert found["layers"]["image"]["a"][0] == "patches" and found["layers"]["image"]["a"][-1] == "embedding"
    cka = np.array(found["layers"]["image"]["cka"])
    assert cka[-1, -1] < 0.999 and (cka <= 1 + 1e-9).all()
    assert main(["compare", str(two / "s0"), str(two / "s1"), "--split", "val", "--by", "class", "--out", str(tmp_path / "c")]) == 0
    text = capsys.readouterr().out
    assert "CKA (debiased, linear)" in text and "by subgroup" in text and (tmp_path / "c" / "compare.png").stat().st_size > 5000
    assert "image: mutual kNN@10 of a's layers (rows) and b's" in text and "of shuffled rows: mean" in text
    written = json.loads((tmp_path / "c" / "compare.json").read_text())
    null, interval = written["embeddings"]["null"]["cka"], written["embeddings"]["interval"]["cka"]
    assert f"({null['high'][0][0]:.3f})" in text and f"[{interval['low'][0][0]:.3f}, {interval['high'][0][0]:.3f}]" in text
    assert np.shape(written["layers"]["image"]["null"]["mutual_knn"]["high"]) == cka.shape


def test_shuffled_rows_read_what_permutations_of_them_do():
    rng = np.random.Generator(np.random.Philox(0))
    shared = rng.normal(size=(60, 4))
    a, b = ({name: shared @ rng.normal(size=(4, 6)) + rng.normal(size=(60, 6)) for name in names} for names in ("pq", "r"))
    b["flat"] = np.ones((60, 3))
    order = rng.permutation(60)
    found = comparison._shuffled_cka(a, b)(order)
    assert np.allclose(found, [[similarity.cka_debiased_linear(x, y[order]) for y in b.values()] for x in a.values()], atol=1e-6)
    near = [{name: similarity.knn(z, 5) for name, z in of.items()} for of in (a, b)]
    assert np.allclose(comparison._shuffled_knn(*near, 60)(order)[:, 0], [similarity.mutual_knn(x, b["r"][order], 5) for x in a.values()])
    of = comparison._similar(a, b) | {"interval": comparison._intervals(a, b)}
    for key, chance in (("cka", 0.0), ("mutual_knn", 10 / 59)):
        mean, high, low = (np.array(x)[:, 0] for x in (of["null"][key]["mean"], of["null"][key]["high"], of["interval"][key]["low"]))
        value = np.array(of[key])[:, 0]
        assert np.allclose(mean, chance, atol=0.03) and (mean < high).all() and (high < value).all() and (low < value).all()
    assert of["interval"]["cka"]["low"][0][1] == of["interval"]["cka"]["high"][0][1] == 0  # a collapsed encoder is like nothing


def test_flips_are_counted_by_subgroup():
    scored = np.array([[1, 1, 0, 0, 1, np.nan], [1, 0, 1, 0, 1, 1]], float)
    data = {"index": np.arange(6), "label/site": np.array([0, 0, 0, 1, 1, 1])}
    found = comparison._subgroups(scored, data, ("site",))["site"]
    assert [found[v][key] for v in "01" for key in ("n", "both", "a_only", "b_only", "neither")] == [3, 1, 1, 1, 0, 2, 1, 0, 0, 1]


def test_other_rows_and_other_labels_are_refused(two, tmp_path):
    other = runs.config(evals=EVALS)
    other.data.main.source.n = 48
    train(other, tmp_path / "other", shared=runs.SHARED, say=lambda text: None, figure=False)
    with pytest.raises(ValueError, match="do not read the same rows of val"):
        compare(two / "s0", tmp_path / "other", "val")
    with pytest.raises(ValueError, match="--by clas: no label of classes is called so; did you mean 'class'"):
        compare(two / "s0", two / "s1", "val", by=("clas",))
    with pytest.raises(FileNotFoundError):
        compare(two / "s0", tmp_path / "none", "val")


def test_all_checkpoints_are_a_trajectory_that_ends_with_the_run(two, capsys):
    found = trajectory(two / "s0", split="val", say=print)
    assert found["steps"] == [1, 2, 3, 4] and "step 3" in capsys.readouterr().out
    last = evaluate(two / "s0", split="val", say=lambda text: None)["metrics"]
    for name, of in found["metrics"].items():
        assert of["value"][-1] == last[name]["value"]


def test_pooled_layers_are_the_means_of_their_tokens(two):
    import mmrep
    from mmrep.opened import open_run

    o = open_run(two / "s0")
    source = o.suite.source("val")
    model, params, _ = mmrep.load(two / "s0")
    pixels = np.stack([source[i]["image"] for i in range(len(source))])
    out = model["encode"](params, "image", pixels).out["block00"]
    texts = [source[i].get("text") for i in range(len(source))]
    here = [i for i, t in enumerate(texts) if t is not None]
    want = similarity.cka_debiased_linear(np.asarray(out).mean(1), np.asarray(out).mean(1)[:, ::-1])
    assert np.isclose(want, 1) and len(here) > 10
    found = compare(two / "s0", two / "s0", "val")["layers"]["image"]
    ours = found["cka"][found["a"].index("block00")][found["a"].index("embedding")]
    z = np.asarray(model["encode"](params, "image", pixels).embedding)
    assert np.isclose(ours, similarity.cka_debiased_linear(np.asarray(out).mean(1), z), atol=1e-3)
