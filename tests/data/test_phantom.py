"""The phantom: its draws are numpy's Philox, bytes do not depend on the block, text inverts, marginals and ceilings are exact."""

import hashlib

import numpy as np
import pytest

from mmrep.data.audit.describe import as_text, describe
from mmrep.data.phantom import (
    ATTRIBUTES,
    CATEGORIES,
    CLASSES,
    COLUMNS,
    FINDINGS,
    MODALITIES,
    PREVALENCE,
    VISIBILITY,
    ceiling,
    latents,
    mentioned,
    omics,
    parse,
    phantom,
    prompts,
    render_image,
    render_signal,
    render_volume,
    report,
    semantics,
    tabular,
)
from mmrep.data.phantom.latents import DRAWS
from mmrep.data.phantom.philox import bits, choice, normal, stream, uniform

N = 10_000


@pytest.fixture(scope="module")
def subjects():
    return latents(3, np.arange(N))


def test_draws_are_numpys_philox_bit_for_bit():
    ids, counts = np.array([0, 5, 2**31 - 1]), {"class": 1, "a new factor": 11, "image/noise": 256}
    for seed in (0, 2**63 + 17):
        drawn = bits(seed, ids, counts)
        for b, i in enumerate(ids):
            for name, n in counts.items():
                key, counter = np.array([seed, i], np.uint64), np.array([0, stream(name), 0, 0], np.uint64)
                np.testing.assert_array_equal(drawn[name][b], np.random.Philox(key=key, counter=counter).random_raw(n))
    names = [*DRAWS, "image/noise", "source/pair", "source/duplicate", "missing/kept"]
    assert len({stream(name) for name in names}) == len(names)


def test_a_new_factor_does_not_change_the_old_ones():
    old = bits(1, np.arange(5), {"class": 1, "zone": 1})
    new = bits(1, np.arange(5), {"aaa": 7, "class": 3, "zone": 1})
    np.testing.assert_array_equal(old["class"], new["class"][:, :1])
    np.testing.assert_array_equal(old["zone"], new["zone"])


def test_quantile_and_integer_draws():
    from scipy.special import ndtri
    u = np.concatenate([np.linspace(1e-6, 1 - 1e-6, 4001), 10.0 ** -np.arange(2, 16)])
    np.testing.assert_allclose(normal(u), ndtri(u), rtol=1e-13, atol=1e-14)
    raw = np.array([0, 2**64 - 1], np.uint64)
    assert (uniform(raw) > 0).all() and (uniform(raw) < 1).all() and choice(raw, 10).tolist() == [0, 9]


def _equal(a, b) -> bool:
    return a == b if isinstance(a, (list, str)) else a.dtype == b.dtype and a.tobytes() == b.tobytes()


def test_bytes_do_not_depend_on_the_block():
    source = phantom("val", seed=5, n=300, missing={"text": 0.3, "image": 0.3}, duplicates=0.2, pair_noise=0.2, n_mentioned=4)
    whole, order = source.block(np.arange(300)), np.random.default_rng(0).permutation(300)
    part = [source.block(order[i:i + 41]) for i in range(0, 300, 41)]
    for name in set(whole) - {"present", "text"}:
        joined = np.concatenate([p[name] for p in part])
        assert joined.tobytes() == whole[name][order].tobytes(), name
    assert sum((p["text"] for p in part), []) == [whole["text"][i] for i in order]
    for row in (0, 7, 299):
        single = source[row]
        for name, value in single.items():
            assert _equal(value, whole[name][row]), name
        assert all((name in single) == whole["present"][name][row] for name in source.fields)
    longer = phantom("val", seed=5, n=400, missing={"text": 0.3, "image": 0.3}, duplicates=0.2, pair_noise=0.2, n_mentioned=4)
    assert source.block([])["image"].shape == (0, 32, 32, 1)
    assert longer.block([7])["text"] == [whole["text"][7]], "a row must not depend on how many rows the split has"
    assert not (phantom("val", seed=6, n=4).block(np.arange(4))["image"] == whole["image"][:4]).all((1, 2, 3)).any()


@pytest.mark.parametrize("factor, count", [("class", 10), ("severity_bin", 3), ("laterality", 2), ("zone", 3), ("findings", 2),
                                           ("sex", 2), ("smoking", 3), ("genotype", 3), ("history", 6), ("image/vendor", 3),
                                           ("text/template", 5), ("tabular/batch", 4), ("organ", 3), ("texture", 10), ("depth", 3),
                                           ("rhythm", 5), ("marker_a", 10), ("marker_b", 10), ("marker_c", 2), ("age", 96)])
def test_causal_locality(factor, count):
    """One factor changed alone changes the modalities that show it, and not one byte of the others."""
    before = latents(0, np.arange(64))
    after = before | {factor: ((before[factor].astype(np.int32) + 1) % count).astype(before[factor].dtype)}
    if factor == "severity_bin":  # a bin of the severity that the other modalities read
        after["severity"] = ((after["severity_bin"] + 0.5) / 3).astype(np.float32)
    shown = VISIBILITY.get(factor.removeprefix("image/")) or {m: float(factor.startswith(m)) for m in MODALITIES}
    shown = shown | ({"signal": 1.0} if factor == "findings" else {})  # of the six, a signal shows cardiomegaly
    changed = {"image": (render_image(before, whole=True) != render_image(after, whole=True)).any(),
               "volume": (render_volume(before) != render_volume(after)).any(),
               "signal": (render_signal(before) != render_signal(after)).any(),
               "text": report(before, whole=True) != report(after, whole=True),
               "tabular": any((x != y).any() for x, y in zip(tabular(before), tabular(after))),
               "features": (omics(before) != omics(after)).any()}
    assert changed == {name: value > 0 for name, value in shown.items()}


@pytest.mark.parametrize("n_mentioned", range(7))
def test_parse_inverts_the_grammar_and_nothing_unmentioned_is_told(subjects, n_mentioned):
    block = {name: values[:2000] for name, values in subjects.items()}
    said, texts, keys = mentioned(block, n_mentioned), report(block, n_mentioned), {}
    assert (said.sum(1) == n_mentioned).all()
    for i, text in enumerate(texts):
        out = parse(text)
        told = dict(zip(ATTRIBUTES, said[i]))
        assert out["class"] == block["class"][i] and out["history"] == block["history"][i]
        for name, key in (("severity", "severity_bin"), ("laterality", "laterality"), ("zone", "zone")):
            assert out[name] == (block[key][i] if told[name] else None)
        expected = [None] * 6
        for name, rows in (("lungs", (0, 1)), ("pleura", (2, 4)), ("mediastinum", (3, 5))):
            for k in rows if told[name] else ():
                expected[k] = block["findings"][i, k]
        assert out["findings"] == expected
        assert not any(d and f for d, f in zip(out["denied"], out["findings"]))
        meaning = (out["class"], out["severity"], out["laterality"], out["zone"], *out["findings"])
        keys.setdefault(meaning, set()).add(int(semantics(block, n_mentioned)[i])) if i < 200 else None
    assert all(len(v) == 1 for v in keys.values()) and len(set.union(*keys.values())) == len(keys)
    with pytest.raises(ValueError, match="names no class"):
        parse("no effusion.")
    for wrong, why in (("the quick brown woven fox", "holds 'quick'"), ("striated laminar lesion.", "names two values of class"),
                       ("no nodule. nodule. striated lesion.", "says that there is nodule and that there is not"),
                       ("lungs clear. nodule present. striated lesion.", "says that there is nodule"),
                       ("cough. fever. striated lesion.", "two values of history")):
        with pytest.raises(ValueError, match=why):
            parse(wrong)
    for text in texts[:100]:  # any word of another language, wherever it stands
        words = text.split()
        for at in range(len(words)):
            with pytest.raises(ValueError, match="holds 'banana'"):
                parse(" ".join([*words[:at], "banana", *words[at:]]))


def test_an_unmentioned_factor_leaves_no_trace_in_the_text():
    before = latents(0, np.arange(256))
    hidden = ~mentioned(before, 3)[:, ATTRIBUTES.index("zone")]
    after = before | {"zone": (before["zone"] + 1) % 3}
    same = np.array([a == b for a, b in zip(report(before, 3), report(after, 3))])
    np.testing.assert_array_equal(same, hidden)


def test_marginals_within_three_standard_errors(subjects):
    def near(values, p):
        assert abs(np.mean(values) - p) <= 3 * np.sqrt(p * (1 - p) / N) + 1e-9, (np.mean(values), p)

    for k, p in enumerate(PREVALENCE):
        near(subjects["findings"][:, k], p)
    for name, count in (("class", 10), ("severity_bin", 3), ("laterality", 2), ("zone", 3), ("sex", 2), ("history", 6)):
        for value in range(count):
            # the family has 26 members: allow one standard error more, so that the bound means what it says
            p = 1 / count
            assert abs((subjects[name] == value).mean() - p) <= 4 * np.sqrt(p * (1 - p) / N)
    correlation = np.corrcoef(subjects["findings"].T)
    adjacent, far = np.diag(correlation, 1), correlation[0, 3:]
    assert (adjacent > 0.10).all() and (abs(far) < 0.05).all()
    assert 18 <= subjects["age"].min() and subjects["age"].max() <= 95
    assert abs(subjects["age"].mean() - 60) < 1 and abs(np.median(subjects["bmi"]) - 27) < 0.3
    independent = np.corrcoef([subjects[n] for n in ("class", "severity", "laterality", "zone", "text/template", "image/vendor",
                                                     "tabular/batch", "text/synonyms", "history")])
    assert abs(independent - np.eye(9)).max() < 4 / np.sqrt(N), "styles and factors must not be related"


def test_a_clinical_prevalence_reaches_the_long_tail():
    rare = latents(0, np.arange(4000), prevalence=(0.3, 0.25, 0.2, 0.15, 0.07, 0.03))["findings"].mean(0)
    assert 0.02 < rare[5] < 0.04 and 0.27 < rare[0] < 0.33
    with pytest.raises(ValueError, match="prevalence"):
        latents(0, [0], prevalence=(0.5,))


def test_splits_are_disjoint_and_knobs_do_what_they_say():
    ids = [phantom(split, n=1000).index for split in ("train", "val", "test")]
    assert len(np.unique(np.concatenate(ids))) == 3000 and all(i.dtype == np.int32 for i in ids)
    rows = np.arange(2000)
    clean = phantom(n=2000, modalities=("text", "tabular")).block(rows)
    noisy = phantom(n=2000, modalities=("text", "tabular"), pair_noise=0.3).block(rows)
    wrong = np.array([a != b for a, b in zip(clean["text"], noisy["text"])])
    assert 0.27 < wrong.mean() < 0.33
    assert (clean["tabular"] == noisy["tabular"]).all() and "image" not in noisy
    for i in np.flatnonzero(wrong)[:20]:
        assert parse(noisy["text"][i])["class"] is not None
    partial = phantom(n=2000, modalities=("text", "tabular"), missing={"text": 0.5, "tabular": 0.9}).block(rows)["present"]
    there = np.stack(list(partial.values()))
    assert there.any(0).all() and abs(there[0].mean() - (0.5 + 0.45 * 0.5)) < 0.04
    by_split = {"n": 2000, "modalities": ("text", "tabular"), "pair_noise": {"val": 0.3}}
    assert phantom(**by_split).block(rows)["text"] == clean["text"]
    assert phantom("val", **by_split).block(rows)["text"] != phantom("val", n=2000, modalities=("text",)).block(rows)["text"]
    for wrong in (2, {"tset": 0.1}):
        with pytest.raises(ValueError, match="pair_noise"):
            phantom(pair_noise=wrong)
    with pytest.raises(ValueError, match="missing"):
        phantom(missing={"volume": 0.1})
    with pytest.raises(IndexError, match="has 10"):
        phantom(n=10)[10]


def test_how_many_rows_lack_a_modality_is_told():
    assert phantom("val", n=40).notes == []
    source = phantom("val", n=300, missing={"text": 0.3})
    lacking = sum("text" not in source[i] for i in range(300))
    assert f"{lacking} of 300 val rows have no text" in as_text(describe({"val": source}), "phantom")
    assert source.notes == [f"phantom: {lacking} of 300 val rows have no text"] and 50 < lacking < 130


def test_duplicates_share_report_and_group_but_not_the_image():
    source = phantom("val", n=500, duplicates=0.4)
    batch = source.block(np.arange(500))
    assert 0.3 < 1 - len(set(batch["text"])) / 500 < 0.5
    first: dict = {}
    for i, text in enumerate(batch["text"]):
        if text in first:
            j = first[text]
            assert batch["group"][i] == batch["group"][j] and (batch["label/findings"][i] == batch["label/findings"][j]).all()
            assert (batch["image"][i] != batch["image"][j]).any()
        first.setdefault(text, i)
    np.testing.assert_array_equal(source.group, batch["group"])
    assert ceiling(source)["R@1/instance"] < ceiling(phantom("val", n=500))["R@1/instance"]


def test_ceilings_against_brute_force():
    groups, rng = np.array([4, 4, 4, 1, 2, 2, 9]), np.random.default_rng(0)
    for k in (1, 2, 3):
        hits = []
        for _ in range(4000):  # an encoder that knows the group and nothing else, ties broken at random
            q = rng.integers(len(groups))
            order = sorted(range(len(groups)), key=lambda j: (groups[j] != groups[q], rng.random()))
            hits.append(q in order[:k])
        exact = ceiling(groups, k)
        assert abs(np.mean(hits) - exact[f"R@{k}/instance"]) < 4 * 0.5 / np.sqrt(4000)
    assert ceiling(groups)["R@1/instance"] == pytest.approx(4 / 7), "mean 1/multiplicity = groups / rows"
    assert ceiling(np.arange(5)) == {"R@1/instance": 1.0, "R@1/group": 1.0, "multiplicity": 1.0}
    with pytest.raises(ValueError, match="non-empty"):
        ceiling([])


def test_prompts_say_what_they_should():
    for kind, key in (("class", "class"), ("laterality", "laterality"), ("severity", "severity"), ("zone", "zone")):
        for n_mentioned in (0, 3, 6):
            names, texts = prompts(kind, n_mentioned=n_mentioned)
            assert len(names) == len(texts) and {len(t) for t in texts} == {18}
            assert all(parse(t)[key] == k for k, row in enumerate(texts) for t in row)
    assert prompts("severity_bin") == prompts("severity")
    names, texts = prompts("class")
    rest = [[{k: v for k, v in parse(t).items() if k != "class"} for t in row] for row in texts]
    assert all(row == rest[0] for row in rest), "only the class may differ between the classes' prompts"
    names, positive, negative = prompts("findings")
    assert names == FINDINGS
    for k, (yes, no) in enumerate(zip(positive, negative)):
        for a, b in zip(map(parse, yes), map(parse, no)):
            assert a["findings"][k] == 1 and b["findings"][k] == 0
            a["findings"][k] = b["findings"][k]
            assert a | {"denied": 0} == b | {"denied": 0}
    assert all(parse(t)["organ"] == k for k, row in enumerate(prompts("organ", whole=True)[1]) for t in row)
    assert all(parse(t)["organ"] is not None for row in prompts("class", whole=True)[1] for t in row)
    for unknown in ("colour", "organ"):
        with pytest.raises(ValueError, match="unknown kind"):
            prompts(unknown)


def test_shapes_and_sizes(subjects):
    few = {name: values[:3] for name, values in subjects.items()}
    for size in (32, 64, 224):
        assert render_image(few, size).shape == (3, size, size, 1) and render_image(few, size).dtype == np.uint8
    small = render_image(few, 32, nuisance=0).astype(float)
    large = render_image(few, 64, nuisance=0).reshape(3, 32, 2, 32, 2, 1).mean((2, 4))
    assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.9, "a larger image shows the same scene"
    values, categories = tabular(few)
    assert values.shape == (3, len(COLUMNS)) and categories.shape == (3, len(CATEGORIES)) and values.dtype == np.float32
    with pytest.raises(ValueError, match="size"):
        render_image(few, 4)


def _raw_aurocs(n: int = 4096, components: int = 128) -> dict[str, float]:
    """Macro AUROC of ridge regression on raw-pixel PCA (the study itself takes logistic regression)."""
    from sklearn.metrics import roc_auc_score
    train, test = (phantom(split, n=m, modalities=("image",)).block(np.arange(m)) for split, m in (("train", n), ("test", 1536)))
    x, y = (b["image"].reshape(len(b["image"]), -1).astype(np.float32) for b in (train, test))
    mean = x.mean(0)
    spread, axes = np.linalg.eigh((x - mean).T @ (x - mean) / n)
    axes = axes[:, -components:] / np.sqrt(spread[-components:])
    x, y = (x - mean) @ axes, (y - mean) @ axes
    inverse = np.linalg.inv(x.T @ x + 100 * np.eye(components))

    def auroc(label, target):
        centered = label.astype(float) - label.mean()
        return roc_auc_score(target, y @ (inverse @ (x.T @ centered)))

    out = {"findings": np.mean([auroc(train["label/findings"][:, k], test["label/findings"][:, k]) for k in range(6)])}
    for name, count in (("class", len(CLASSES)), ("laterality", 2), ("zone", 3), ("severity_bin", 3)):
        out[name] = np.mean([auroc(train[f"label/{name}"] == k, test[f"label/{name}"] == k) for k in range(count)])
    return {name: float(value) for name, value in out.items()}


def test_raw_pixels_have_headroom():
    scores = _raw_aurocs()
    assert max(scores.values()) <= 0.65, scores


def test_texts_alone_are_those_of_the_rows():
    source = phantom("val", n=40, missing={"text": 0.3}, duplicates=0.3, pair_noise=0.2)
    rows = np.array([3, 0, 39, 7, 8, 9, 10, 11])
    block = source.block(rows)
    assert source.texts(rows) == [text if here else None for text, here in zip(block["text"], block["present"]["text"])]
    assert len(source.texts()) == 40 and None in source.texts()
    assert phantom("val", n=3, modalities=("image",)).texts() == [None] * 3


def test_the_images_are_those_that_the_headroom_study_measured():
    """Levels that change without a new study (experiments/headroom: a supervised CNN, minutes) would make its table a lie."""
    images = phantom("train", modalities=("image",)).block(np.arange(64))["image"]
    assert hashlib.sha256(images.tobytes()).hexdigest()[:16] == "0a24355104170719"
    images = images[:16].reshape(16, -1).astype(float)
    mean = [106.08, 112.95, 123.43, 100.41, 122.62, 102.33, 110.66, 112.46, 107.27, 103.76, 107.7, 116.73, 99.2, 109.16, 112.31, 110.11]
    std = [41.23, 46.21, 36.4, 39.57, 52.55, 42.63, 56.74, 36.03, 44.82, 41.16, 58.24, 49.02, 42.99, 42.06, 42.87, 40.54]
    assert np.allclose(images.mean(1), mean, atol=0.02) and np.allclose(images.std(1), std, atol=0.02)
