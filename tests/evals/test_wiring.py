"""What the evaluators hand to the metrics: which split, which rows, which cases, which params."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import t as student
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

from mmrep.evals import EVALS
from mmrep.evals.controls import controls, pca
from mmrep.evals.probe import STRENGTHS, paired
from mmrep.evals.suite import Suite
from mmrep.evals.supervised import Head
from mmrep.metrics.intervals import Interval
from mmrep.run import assemble
from mmrep.stop import Stop
from mmrep.train import _judge
from tests import runs


def generator(seed):
    return np.random.Generator(np.random.Philox(seed))


def rows(image, text, y, findings):
    """Features of both modalities, every row a case of its own."""
    return {"index": np.arange(len(y)), "label/y": y, "label/f": findings,
            **{f"present/{m}": np.ones(len(y), bool) for m in ("image", "text")},
            **{f"{m}/{k}": z for m, z in (("image", image), ("text", text)) for k in ("pooled", "embedding")}}


def noisy(seed, n=60, signal=1.0):
    """Two modalities that tell more or less of three classes and two findings."""
    rng = generator(seed)
    y, findings = rng.integers(0, 3, n), rng.integers(0, 2, (n, 2))
    image = signal * np.concatenate([np.eye(3)[y], findings, np.zeros((n, 2))], 1) + rng.normal(size=(n, 7))
    return rows(image, image + 2 * rng.normal(size=(n, 7)), y, findings)


def by_hand(parts, strength, on="test", label="y"):
    """Scores on a split of a logistic regression (of findings: of one for each), on features standardized by train's own."""
    x, y = parts["train"]["image/pooled"], parts["train"][f"label/{label}"]
    here, x = ((z - x.mean(0)) / x.std(0) for z in (parts[on]["image/pooled"], x))
    one = lambda target: LogisticRegression(C=strength, max_iter=200).fit(x, target)  # noqa: E731
    return one(y).predict_proba(here) if y.ndim == 1 else np.stack([one(c).decision_function(here) for c in y.T], 1)


def hits(parts, strength, on="test"):
    return accuracy_score(parts[on]["label/y"], by_hand(parts, strength, on).argmax(1))


def area(parts, strength, on="test"):
    return np.mean([roc_auc_score(y, s) for y, s in zip(parts[on]["label/f"].T, by_hand(parts, strength, on, "f").T)])


def best(parts, value, on):
    """The strength, the weakest of equals, whose scores on `on` have the highest value."""
    return max(STRENGTHS, key=lambda c: value(parts, c, on))


def test_the_strength_is_chosen_on_validation_and_features_are_standardized_by_train():
    def part(seed, n, sign):  # a weak penalty lets the second feature take the first one's noise away; on validation that adds to it
        rng = generator(seed)
        y, noise = np.arange(n) % 2, 1.5 * rng.normal(size=n)
        x = np.stack([2 * y - 1 + noise + 0.3 * rng.normal(size=n), sign * noise, *rng.normal(size=(2, n))], 1)
        x = x * [0.1, 100, 1, 5] + [3, -200, 0, 40]  # which a penalty would feel
        return rows(x, x, y, np.stack([y, (x[:, 3] > 40).astype(int)], 1))

    parts = {"train": part(1, 200, 1), "val": part(2, 200, -1), "test": part(3, 200, 1)}
    assert hits(parts, best(parts, hits, "val")) < 0.85 and hits(parts, best(parts, hits, "test")) > 0.95
    for label, metric, value in (("y", "accuracy", hits), ("f", "auroc", area)):
        chosen = best(parts, value, "val")
        assert chosen != best(parts, value, "test")
        for on in ("test", "val"):
            got = dict(EVALS["probe"](parts.get, label=label, fractions=(1.0,), knn=False, on=on))
            assert got[f"probe/{label}/strength"].value == chosen and got[f"probe/{label}/strength"].n == 200
            assert np.isclose(got[f"probe/{label}/{metric}"].value, value(parts, chosen, on), rtol=0, atol=1e-3)


def test_the_components_of_the_raw_inputs_are_those_of_train():
    rng, data = generator(0), {}
    for stream in ("", "other"):
        for k, name in enumerate(("train", "val", "test")):  # elsewhere other directions vary
            x = rng.normal(size=(50, 8)) * np.roll(2.0 ** -np.arange(8), 3 * k + len(stream)) + k
            data[name, stream] = {"image/input": x, "present/image": np.arange(50) < 40}
    for order in (("test", "train"), ("train", "test")):
        of = pca(lambda name, stream="": data[name, stream], ("image",), widths=(2, 4))
        for name, stream in ((n, s) for n in order for s in ("other", "")):
            x = data["train", stream]["image/input"][:40]
            want = (data[name, stream]["image/input"] - x.mean(0)) @ np.linalg.svd(x - x.mean(0))[2][:4].T
            got = of(name, stream)["image/pooled"]
            np.testing.assert_allclose(got * np.sign((got * want).sum(0)), want, atol=1e-4)  # an axis has no sign of its own


def test_the_untrained_control_is_of_other_params_and_what_training_adds_is_positive(monkeypatch):
    def witness(split, params, *, on):  # says which params and which features it was given
        for name, value in (("params", params["encoders"]["seed"]), ("features", split(on)["image/pooled"].sum())):
            yield f"witness/{name}", Interval(value, value, value, 1)

    monkeypatch.setitem(EVALS, "witness", witness)
    suite = Suite(assemble(runs.config(evals={"w": {"name": "witness"}, "p": {"name": "probe", "label": "y", "fractions": (1.0,)}})))
    trained, untrained = ({n: noisy(10 + k, 80, signal) for k, n in enumerate(("train", "val", "test"))} for signal in (3.0, 0.7))
    for k, data in enumerate(untrained.values()):
        data["image/input"] = generator(20 + k).normal(size=(80, 6)) + 0.5 * np.eye(6)[data["label/y"]]
    asked = []
    monkeypatch.setattr(suite, "features", lambda params, limit=0, keep_inputs=(): asked.append(
        (params["encoders"]["seed"], limit, tuple(keep_inputs))) or (lambda name, stream: untrained[name]))
    found, differences = controls(suite, "test", ("untrained", "raw_pca"), 7, lambda name, stream: trained[name],
                                  lambda seed, hp: SimpleNamespace(params={"encoders": {"seed": seed}, "objectives": {}}))
    assert asked == [(7, suite.run.config.eval.limit, ("image",))]
    assert found["untrained"]["witness/params"].value == 7
    assert found["untrained"]["witness/features"].value == untrained["test"]["image/pooled"].sum()
    ours, theirs = (hits(parts, best(parts, hits, "val")) for parts in (trained, untrained))
    gain, raw = differences["untrained"]["probe/y/accuracy"], found["raw_pca"]["probe/y/accuracy"].value
    assert np.isclose(found["untrained"]["probe/y/accuracy"].value, theirs) and raw not in (ours, theirs)
    assert np.isclose(gain.value, ours - theirs) and 0 < gain.low < gain.value < gain.high
    assert np.isclose(differences["raw_pca"]["probe/y/accuracy"].value, ours - raw) and "witness/params" not in found["raw_pca"]


def texts(prompts):
    """A vector for every prompt, of any length, always the same."""
    return np.stack([(1 + len(p)) * generator(list(p.encode())).normal(size=7) for p in prompts])


def tripled(data):
    """Every row three times, the three far apart, of one case and one group."""
    three = {k: np.concatenate([v] * 3) for k, v in data.items()}
    return three | {"case": three["index"], "group": three["index"], "index": np.arange(len(three["index"]))}


def test_three_copies_of_every_case_make_no_interval_narrower():
    parts = {n: noisy(s) for s, n in enumerate(("train", "val", "test"))}
    worse = {n: d | {"image/pooled": d["image/pooled"] + 2 * generator(s).normal(size=(60, 7))} for s, (n, d) in enumerate(parts.items())}
    heads = {("t", label): Head("t", "image", "pooled", kind, {"kernel": generator(9).normal(size=(7, k)), "bias": np.zeros(k)})
             for label, kind, k in (("y", "ce", 3), ("f", "bce", 2))}

    def every(change):
        """All intervals on test where it is changed; of retrieval those that copies in the gallery leave as they were."""
        of, beside = ((p | {"test": change(p["test"])}).get for p in (parts, worse))
        found = dict(EVALS["supervised"](of, heads=heads))
        for label, prompts in (("y", {"classes": ("ah", "bee", "see")}), ("f", {"classes": ("ah", "bee"), "negative": ("no {}",)})):
            found |= dict(EVALS["probe"](of, label=label, fractions=(1.0,)))
            found |= {f"difference/{k}": v for k, v in paired(of, beside, label=label)}
            found |= dict(EVALS["zeroshot"](of, texts, label=label, templates=("one {}",), **prompts))
        got, copies = dict(EVALS["retrieval"](of, None, ks=(1,))), len(of("test")["index"]) // 60
        rank = got["retrieval/image_to_text/median_rank/group"]  # of the first of three equals: 1, 4, 7, ...
        return found | {"retrieval": got["retrieval/image_to_text/R@1/group"],
                        "rank": Interval(*[1 + (v - 1) / copies for v in rank[:3]], rank.n)}

    once, copies = every(lambda data: data | {"group": data["index"]}), every(tripled)
    apart = every(lambda data: tripled(data) | {"case": np.arange(180)})
    judged = {k for k, v in once.items() if isinstance(v, Interval) and v.low < v.value < v.high}
    assert judged >= {"retrieval", "rank", "zeroshot/y/top1", "zeroshot/y/balanced_accuracy", "zeroshot/f/auroc"} | {
        f"{way}/{label}" for way in ("probe", "knn", "supervised", "difference/probe") for label in ("y/accuracy", "y/auroc", "f/auroc")}
    for k in judged:
        np.testing.assert_allclose(copies[k][:3], once[k][:3], atol=1e-9, err_msg=k)
        assert copies[k].n == 3 * once[k].n == 180, k
        assert apart[k].high - apart[k].low < 0.75 * (once[k].high - once[k].low), k  # as if they were three times the evidence


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_intervals_of_retrieval_are_of_cases_of_any_size():
    data = noisy(4, 90) | {"case": np.sort(generator(4).integers(0, 25, 90)), "group": np.arange(90)}
    got = dict(EVALS["retrieval"]({"test": data}.get, None, ks=(5,)))
    cosine, names = unit(data["image/embedding"]) @ unit(data["text/embedding"]).T, set(data["case"])
    for way, cosines in (("image_to_text", cosine), ("text_to_image", cosine.T)):
        rank = 1 + (cosines > np.diag(cosines)[:, None]).sum(1)
        for name, values in (("R@5/instance", rank <= 5), ("MRR/instance", 1 / rank)):
            m, q = values.mean(), student.ppf(0.975, len(names) - 1) ** 2
            variance = sum((values - m)[data["case"] == c].sum() ** 2 for c in names) * len(names) / (len(names) - 1) / 90**2
            n = m * (1 - m) / variance  # as many rows that are cases of their own would tell as much
            middle, half = (m + q / 2 / n) / (1 + q / n), np.sqrt(q * m * (1 - m) / n + q**2 / 4 / n**2) / (1 + q / n)
            np.testing.assert_allclose(got[f"retrieval/{way}/{name}"][:3], (m, middle - half, middle + half), atol=1e-9)
        assert got[f"retrieval/{way}/median_rank/instance"].value == np.median(rank)


def test_a_class_is_the_mean_of_its_unit_prompts_and_a_finding_what_speaks_for_it_less_what_speaks_against():
    data, classes, templates, negative = noisy(5, 90), ("ah", "bee", "see"), ("a {}", "some picture of {}", "{}!"), ("no {}", "not {}")

    def cosine(forms, name):
        return data["image/embedding"] @ unit(sum(unit(texts([form.format(name)])[0]) for form in forms))

    predicted = np.stack([cosine(templates, c) for c in classes], 1).argmax(1)
    got = dict(EVALS["zeroshot"]({"test": data}.get, texts, label="y", classes=classes, templates=templates))
    assert got["zeroshot/y/top1"].value == accuracy_score(data["label/y"], predicted)
    assert np.isclose(got["zeroshot/y/balanced_accuracy"].value, balanced_accuracy_score(data["label/y"], predicted))
    got = dict(EVALS["zeroshot"]({"test": data}.get, texts, label="f", classes=classes[:2], templates=templates, negative=negative))
    areas = [roc_auc_score(y, cosine(templates, c) - cosine(negative, c)) for y, c in zip(data["label/f"].T, classes)]
    assert np.isclose(got["zeroshot/f/auroc"].value, np.mean(areas), rtol=0, atol=1e-12)


def cka(x, y):
    """Debiased, from the definition: the cosine of the U-centered kernels."""
    n, off = len(x), ~np.eye(len(x), dtype=bool)
    a, b = ((k - k.sum(0) / (n - 2) - k.sum(1)[:, None] / (n - 2) + k.sum() / (n - 1) / (n - 2)) * off
            for k in (z @ z.T * off for z in (x, y)))
    return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())


def relative(x, y):
    """Mean distance of partners, over itself plus that within the modalities."""
    matched, *within = (1 - np.diag(x @ y.T)).mean(), *(1 - (z @ z.T)[~np.eye(len(z), dtype=bool)].mean() for z in (x, y))
    return matched / (matched + np.mean(within))


def test_alignment_is_by_definition_and_its_intervals_those_of_one_case_left_out():
    data = noisy(6, 20, signal=2.0)
    data["text/embedding"] = data["text/embedding"] + np.eye(7)[6]  # a gap
    x, y = unit(data["image/embedding"]), unit(data["text/embedding"])
    got = dict(EVALS["alignment"]({"test": data}.get, None))
    for name, value in (("gap", lambda a, b: np.linalg.norm(a.mean(0) - b.mean(0))), ("rmg", relative), ("cka_debiased_linear", cka),
                        ("alignment", lambda a, b: ((a - b) ** 2).sum(1).mean())):
        left = np.array([value(np.delete(x, i, 0), np.delete(y, i, 0)) for i in range(20)])  # 20 cases are 20 groups of one
        half, whole = student.ppf(0.975, 19) * np.sqrt(19 / 20 * ((left - left.mean()) ** 2).sum()), value(x, y)
        np.testing.assert_allclose(got[f"alignment/{name}"][:3], (whole, whole - half, whole + half), atol=1e-9, err_msg=name)
    draws = [cka(x, y[generator(100 + i).permutation(20)]) for i in range(200)]
    null, ends, std = got["alignment/cka_debiased_linear/null"], np.quantile(draws, (0.025, 0.975)), np.std(draws)
    assert abs(null.value - np.mean(draws)) < 4 * std * np.sqrt(2 / 200) and null.high < cka(x, y)
    assert np.abs(null[1:3] - ends).max() < 0.75 * std


@pytest.mark.parametrize("kept", ["eval", "target"])
def test_training_is_judged_by_the_average_kept_for_it(tmp_path, kept):
    raw = {"encoders": {"image": {"w": 1.0}, "text": {"w": 2.0}}, "objectives": {"clip": {"scale": 3.0}}}
    average = {"encoders": {"image": {"w": 10.0}}, "objectives": {"clip": {"scale": 30.0}}}  # a frozen text encoder has none
    mixed, seen = average | {"encoders": average["encoders"] | {"text": {"w": 2.0}}}, []
    suite = SimpleNamespace(evaluate=lambda *args: seen.append(args) or {"a/b": Interval(0.5, 0.25, 0.75, 4), "c": "no rows"})
    found = _judge(suite, SimpleNamespace(params=raw, ema={kept: average}), Stop(tmp_path))
    assert seen == [(mixed if kept == "eval" else raw, "val")] and found == {"val/a/b": 0.5}
