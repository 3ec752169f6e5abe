"""Evaluators on features whose right answers are known."""

import numpy as np
import pytest

from mmrep.evals import EVALS
from mmrep.evals.alignment import one_a_case
from mmrep.evals.controls import pca
from mmrep.evals.named import area, cases
from mmrep.evals.probe import fitted, knn_scores, paired, task


def features(n=240, seed=0, signal=3.0, noise=1.0):
    """Three classes and two findings readable from both modalities' embeddings; two images a case."""
    rng = np.random.Generator(np.random.Philox(seed))
    y = rng.integers(0, 3, n)
    findings = rng.integers(0, 2, (n, 2)).astype(np.uint8)
    code = np.concatenate([np.eye(3)[y], 2.0 * findings - 1], 1) * signal
    z = {m: np.concatenate([code + noise * rng.normal(size=code.shape), rng.normal(size=(n, 3))], 1).astype(np.float32)
         for m in ("image", "text")}
    z = {m: x / np.linalg.norm(x, axis=1, keepdims=True) for m, x in z.items()}
    index = np.arange(n, dtype=np.int32)
    return {"index": index, "case": index // 2, "group": index, "label/class": y.astype(np.int32),
            "label/findings": findings, "present/image": np.ones(n, bool), "present/text": np.ones(n, bool),
            **{f"{m}/{k}": x for m, x in z.items() for k in ("embedding", "pooled")}}


@pytest.fixture(scope="module")
def split():
    return {"train": features(seed=1), "val": features(seed=2), "test": features(seed=3)}.get


def run(name, split, texts=None, **kwargs):
    return dict(EVALS[name](split, texts, **kwargs))


def test_zeroshot_reads_classes_and_findings_from_prompt_ensembles(split):
    def texts(prompts):  # "class k" and "has k" / "no k" point along the axes of the code
        out = np.zeros((len(prompts), 8), np.float32)
        for i, p in enumerate(prompts):
            kind, k = p.split()[-2:]
            out[i, int(k) if kind == "class" else 3 + int(k)] = -1.0 if kind == "no" else 1.0
        return out

    got = run("zeroshot", split, texts, label="class", classes=("0", "1", "2"), templates=("a class {}", "class {}"))
    data = split("test")
    expected = (data["image/embedding"][:, :3].argmax(1) == data["label/class"]).mean()
    assert np.isclose(got["zeroshot/class/top1"].value, expected)
    assert got["zeroshot/class/top1"].low < expected < got["zeroshot/class/top1"].high
    got = run("zeroshot", split, texts, label="findings", classes=("0", "1"), templates=("has {}",), negative=("no {}",))
    assert got["zeroshot/findings/auroc"].value > 0.95
    with pytest.raises(ValueError, match="negative"):
        run("zeroshot", split, texts, label="findings", classes=("0", "1"), templates=("has {}",))
    with pytest.raises(ValueError, match="label/stage"):
        run("zeroshot", split, texts, label="stage")


def test_rows_of_no_case_are_cases_of_their_own():
    case = np.array([4, -1, 4, -1])
    assert len(set(cases({"case": case, "index": np.arange(4)}).tolist())) == 3
    assert cases({"index": np.arange(4)}).tolist() == [0, 1, 2, 3]


def test_prompts_that_are_one_to_the_encoder_give_a_reason(split):
    got = run("zeroshot", split, lambda prompts: np.eye(8, dtype=np.float32)[[0, 1, 0]], label="class", classes=("a", "b", "c"),
              templates=("the {}",))
    assert set(got) == {"zeroshot/class/top1", "zeroshot/class/top1/chance", "zeroshot/class/balanced_accuracy"}
    assert all("'the a' and 'the c' are one prompt" in why for why in got.values())


def test_retrieval_counts_duplicates_and_leaves_absent_rows_out(split):
    data = dict(split("test"))
    data["text/embedding"] = data["image/embedding"].copy()  # perfect
    data["text/embedding"][1::2] = data["text/embedding"][::2]  # each report twice
    data["image/embedding"] = data["text/embedding"].copy()
    data["group"] = data["index"] // 2
    data["present/text"] = data["index"] < 200
    got = run("retrieval", {"test": data}.get, ks=(1, 2))
    for way in ("image_to_text", "text_to_image"):
        assert np.isclose(got[f"retrieval/{way}/R@1/instance"].value, 0.5)  # ties are averaged
        assert np.isclose(got[f"retrieval/{way}/R@1/group"].value, 1.0)
        assert np.isclose(got[f"retrieval/{way}/R@2/instance"].value, 1.0)
    assert np.isclose(got["retrieval/ceiling/R@1/instance"].value, 0.5)
    assert got["retrieval/image_to_text/R@1/instance"].n == 200
    assert np.isclose(got["retrieval/chance/R@1/instance"].value, 1 / 200)
    data["image/embedding"] = np.ones_like(data["image/embedding"])  # a constant encoder scores exactly chance
    got = run("retrieval", {"test": data}.get, ks=(1,))
    assert np.isclose(got["retrieval/image_to_text/R@1/instance"].value, 1 / 200)
    assert got["retrieval/chance/R@1/group"].value == pytest.approx(got["retrieval/image_to_text/R@1/group"].value)
    assert got["retrieval/chance/R@1/group"].value == pytest.approx(2 / 200)


def test_probe_equals_sklearn_and_is_nested_and_knn_is_a_weighted_vote(split):
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    got = run("probe", split, label="class", fractions=(1.0, 0.1))
    assert {"probe/class/accuracy", "probe/class/auroc", "probe/class@10%/auroc", "knn/class/accuracy"} <= set(got)
    t = task(split, "class", "image", "pooled", "test")
    scores = fitted(t, "test", strengths=(1.0,))[0]
    mean, std = t.x["train"].mean(0), t.x["train"].std(0) + 1e-6
    model = LogisticRegression(C=1.0, max_iter=200).fit((t.x["train"] - mean) / std, t.y["train"])
    assert np.allclose(np.exp(scores), model.predict_proba((t.x["test"] - mean) / std), atol=1e-3)
    ovr = roc_auc_score(t.y["test"], np.exp(scores), multi_class="ovr")
    assert np.isclose(area(t.y["test"], scores), ovr, atol=1e-3)  # logits would rank the rows by their unknown constants, too
    got = run("probe", split, label="findings", fractions=(1.0,), knn=False)
    assert got["probe/findings/auroc"].value > 0.9

    x, y, z = t.x["train"], t.y["train"], t.x["test"][:3]
    votes = knn_scores(x, y, z, k=5)
    cos = z @ x.T / np.linalg.norm(z, axis=1)[:, None] / np.linalg.norm(x, axis=1)
    for i in range(3):
        near = np.argsort(-cos[i])[:5]
        w = np.exp(cos[i][near] / 0.07)
        assert np.allclose(votes[i], [w[y[near] == k].sum() / w.sum() for k in range(3)], rtol=1e-4)
    assert roc_auc_score(t.y["test"] == 0, knn_scores(x, y, t.x["test"])[:, 0]) > 0.9


def test_unknown_labels_do_not_count(split):
    part = {}
    for name in ("train", "val", "test"):
        data = dict(split(name))
        data["label/class"] = np.where(data["index"] % 3 == 0, -1, data["label/class"])
        part[name] = data
    got = run("probe", part.get, label="class", fractions=(1.0,), knn=False)
    assert got["probe/class/accuracy"].n == 160


def test_paired_difference_of_a_method_with_itself_is_zero_and_of_a_worse_one_positive(split):
    same = dict(paired(split, split, label="class"))
    assert same["probe/class/auroc"].value == 0
    worse = {n: features(seed=s, signal=0.5) for n, s in (("train", 1), ("val", 2), ("test", 3))}
    got = dict(paired(split, worse.get, label="class"))
    assert got["probe/class/auroc"].low > 0 and got["probe/class/accuracy"].low > 0


def test_alignment_of_a_rotation_is_perfect_and_of_noise_null(split):
    data = dict(split("test"))
    rotation = np.linalg.qr(np.random.Generator(np.random.Philox(5)).normal(size=(8, 8)))[0].astype(np.float32)
    data["text/embedding"] = data["image/embedding"] @ rotation
    got = run("alignment", {"test": data}.get)
    assert np.isclose(got["alignment/cka_debiased_linear"].value, 1.0, atol=1e-6)
    assert got["alignment/mutual_knn@10"].value > 0.999
    assert got["alignment/mutual_knn@10/null"].value < 0.1
    data["text/embedding"] = data["text/embedding"] + 0.02 * rotation[np.arange(len(data["index"])) % 8]
    near = run("alignment", {"test": data}.get)["alignment/mutual_knn@10"]
    assert 0.9 < near.low < near.value < near.high <= 1
    data["text/embedding"] = -data["image/embedding"]
    assert "alignment/separability" not in got
    told = run("alignment", {"test": data}.get, separability=True)["alignment/separability"]
    assert told.n == 120 and told.low < told.value  # a pair a case


def test_raw_pca_control_chooses_its_width_on_validation():
    rng = np.random.Generator(np.random.Philox(7))
    parts = {}
    for name in ("train", "val", "test"):
        y = rng.integers(0, 2, 300)
        x = rng.normal(size=(300, 20)) * np.linspace(10, 1, 20)  # the label hides in a small direction
        x[:, 12] += 8 * (2 * y - 1)
        parts[name] = {"image/input": x, "present/image": np.ones(300, bool), "label/y": y, "index": np.arange(300)}
    of = pca(parts.get, ("image",), widths=(2, 20))
    assert list(of("train")["image/widths"]) == [2, 20]
    got = dict(EVALS["probe"](of, None, label="y", fractions=(1.0,)))
    assert got["probe/y/auroc"].value > 0.9


def test_shares_are_of_the_labelled_cases_and_say_how_many_labels_they_hold(split):
    rows = dict(split("train"))
    rows["label/class"] = np.where(rows["index"] % 4 == 0, -1, rows["label/class"])
    got = run("probe", {"train": rows, "val": split("val"), "test": split("test")}.get, label="class", fractions=(1.0, 0.1))
    assert got["probe/class/n_labels"].value == 180
    assert 12 <= got["probe/class@10%/n_labels"].value == got["probe/class@10%/n_labels"].n <= 24  # 12 of 120 cases
    assert got["knn/class@10%/accuracy"].value <= got["knn/class/accuracy"].value
    with pytest.raises(ValueError, match="write 10 % as 0.1"):
        run("probe", split, label="class", fractions=(10,))


def test_an_unknown_finding_costs_only_itself(split):
    from sklearn.metrics import roc_auc_score

    parts = {}
    for name in ("train", "val", "test"):
        parts[name] = dict(split(name))
        hidden = np.random.Generator(np.random.Philox(9)).random((240, 2)) < 0.4
        parts[name]["label/findings"] = np.where(hidden, -1, parts[name]["label/findings"].astype(int))
    got = run("probe", parts.get, label="findings", fractions=(1.0,))
    y = parts["test"]["label/findings"]
    assert got["probe/findings/auroc"].n == (y >= 0).any(1).sum() and got["probe/findings/auroc"].value > 0.9
    t = task(parts.get, "findings", "image", "pooled", "test")
    s = fitted(t, "test")[0]
    areas = [roc_auc_score(t.y["test"][m, k], s[m, k]) for k, m in enumerate((t.y["test"] >= 0).T)]
    assert np.isclose(got["probe/findings/auroc"].value, np.mean(areas))
    votes = knn_scores(t.x["train"], t.y["train"], t.x["test"][:4], k=5)
    assert ((votes >= 0) & (votes <= 1 + 1e-6)).all()
    assert got["knn/findings/auroc"].value > 0.9


def test_a_class_that_the_labels_lack_scores_and_is_not_lost(split):
    parts = {n: dict(split(n)) for n in ("train", "val", "test")}
    parts["train"]["label/class"] = np.where(parts["train"]["label/class"] == 2, -1, parts["train"]["label/class"])
    got = run("probe", parts.get, label="class", fractions=(1.0,))
    y = parts["test"]["label/class"]
    assert got["probe/class/accuracy/chance"].value == np.bincount(y).max() / 240  # always the same answer
    assert got["probe/class/auroc"].n == 240 and 0.4 < got["probe/class/accuracy"].value <= (y != 2).mean()
    assert "probe/class/auroc" in dict(paired(split, parts.get, label="class"))


def test_thin_data_gives_reasons_by_the_same_names(split):
    whole, few = {}, {n: {k: v[:3] for k, v in split(n).items()} for n in ("train", "val", "test")}
    for data in few.values():
        data["label/class"], data["label/findings"] = np.zeros(3, int), np.zeros((3, 2), int)
    none = few | {"val": few["val"] | {"label/class": np.full(3, -1), "label/findings": np.full((3, 2), -1)},
                  "test": few["test"] | {"present/text": np.zeros(3, bool)}}
    for name, kwargs in (("probe", {"label": "class"}), ("probe", {"label": "findings"}), ("alignment", {}),
                         ("retrieval", {}), ("zeroshot", {"classes": ("0", "1", "2"), "templates": ("{}",)})):
        whole = run(name, split, lambda t: np.eye(3, 8)[: len(t)], **kwargs)
        for thin in (few, none):
            got = run(name, thin.get, lambda t: np.eye(3, 8)[: len(t)], **kwargs)
            assert list(got) == list(whole), name
            assert all(isinstance(v, str) and v or np.isfinite(v).all() for v in got.values())
    assert "validation" in run("probe", {**{n: split(n) for n in ("train", "test")}, "val": none["val"]}.get,
                               label="class", fractions=(1.0,))["probe/class/auroc"]


def test_what_differs_from_the_default_is_in_the_name(split):
    got = run("probe", split, label="class", modality="text", feature="embedding", fractions=(0.1,))
    assert "probe/class:text:embedding@10%/auroc" in got and "knn/class:text:embedding@10%/accuracy" in got
    data = dict(split("test"))
    data |= {k.replace("text", "signal"): v for k, v in data.items() if "text" in k}
    pair = ("image", "signal")
    assert "alignment:image-signal/gap" in run("alignment", {"test": data}.get, pair=pair)
    names = run("retrieval", {"test": data}.get, pair=pair, ks=(1,))
    assert {"retrieval/ceiling:image-signal/R@1/instance", "retrieval/image_to_signal/R@1/group"} <= set(names)
    for name, kwargs, message in (("retrieval", {"pair": ("image", "txt")}, "did you mean"),
                                  ("alignment", {"pair": ("image",)}, "needs two"),
                                  ("probe", {"label": "class", "modality": "volume"}, "present/volume"),
                                  ("probe", {"label": "class", "feature": "tokens"}, "valid: pooled, embedding"),
                                  ("zeroshot", {"classes": ("0", "1", "2"), "templates": ("{}",)}, "needs a text encoder")):
        with pytest.raises(ValueError, match=message):
            run(name, split, None, **kwargs)
    data["label/class"] = data["label/class"] + 0.5
    with pytest.raises(ValueError, match="holds real numbers"):
        run("probe", lambda _: data, label="class")


def test_zeroshot_classes_are_those_of_the_source_in_any_order(split):
    def texts(prompts):
        return np.eye(8, dtype=np.float32)[[("CT", "MR", "US").index(p[-2:]) for p in prompts]]

    def accuracy(**kwargs):
        return run("zeroshot", split, texts, templates=("a {}",), names={"class": ["CT", "MR", "US"]}, **kwargs)[
            "zeroshot/class/top1"].value

    assert accuracy() == accuracy(classes=("US", "MR", "CT")) > 0.9
    assert accuracy(classes={"MR": "scan MR", "US": "an US", "CT": "x CT"}) == accuracy()
    for classes, message in ((("CT", "MRI", "US"), "no class 'MRI'; did you mean 'MR'"), (("CT", "MR"), "also has .*'US'")):
        with pytest.raises(ValueError, match=message):
            accuracy(classes=classes)


def test_alignment_reads_one_row_a_case_spread_over_sorted_data(split):
    data = {k: np.repeat(v, 3, 0) for k, v in split("test").items()}
    data["index"] = np.arange(720)
    data["case"] = np.arange(720) // 3
    assert run("alignment", {"test": data}.get)["alignment/gap"].n == 240
    rows = one_a_case(np.arange(720), data["case"], 24)
    assert len(rows) == len(set(rows // 3)) == 24 and rows[0] == 0 and rows[-1] > 700
    got = run("alignment", {"test": data}.get, limit=100)
    null = got["alignment/mutual_knn@10/null"]
    assert got["alignment/gap"].n == null.n == 100 and null.low < null.value < null.high
    assert null.low < 10 / 99 < null.high and got["alignment/mutual_knn@10"].value > null.high
