"""The whole phantom: every modality of one scene, synergy, survival, missingness, shifts, held-out combinations, latent mode."""

import hashlib

import numpy as np
import pytest

from mmrep.data import pipeline
from mmrep.data.phantom import MODALITIES, SCALES, information, latents, mix, parse, phantom, render_image, report
from mmrep.data.phantom.anatomy import flat_anatomy, solid_anatomy
from mmrep.data.phantom.identify import identifiable, unmixed
from mmrep.data.phantom.scene import add_scene, boxes, mask
from mmrep.data.phantom.signal import LEADS, render_signal
from mmrep.data.phantom.volume import ENHANCED, clean_volume
from mmrep.metrics.survival import concordance

N = 20_000


@pytest.fixture(scope="module")
def subjects():
    return latents(3, np.arange(N))


def near(values, p):
    """Within three standard errors of a rate."""
    assert abs(np.mean(values) - p) <= 3 * np.sqrt(p * (1 - p) / len(values)) + 1e-12, (np.mean(values), p)


def bits_of(label, *columns):
    """Mutual information I(label; columns together) in bits, by counting, less its bias (Miller-Madow)."""
    _, x = np.unique(np.stack(columns, -1), axis=0, return_inverse=True)
    table = np.zeros((x.max() + 1, label.max() + 1))
    np.add.at(table, (x.ravel(), label), 1)
    p = table / table.sum()
    outer = p.sum(1, keepdims=True) * p.sum(0)
    raw = (p[p > 0] * np.log2(p[p > 0] / outer[p > 0])).sum()
    return raw - ((table > 0).sum() - (table.sum(1) > 0).sum() - (table.sum(0) > 0).sum() + 1) / (2 * table.sum() * np.log(2))


@pytest.mark.parametrize("scale", ["tiny", "small"])
def test_shapes_of_every_modality_and_bytes_do_not_depend_on_the_block(scale):
    source, sizes = phantom("val", seed=5, n=24, scale=scale, modalities=MODALITIES, masks=True), SCALES[scale]
    whole, order = source.block(np.arange(24)), np.random.default_rng(0).permutation(24)
    side, voxels = sizes["image"], sizes["volume"]
    shapes = {"image": (side, side, 1), "mask/image": (side, side, 1), "volume": (voxels,) * 3 + (1,), "mask/volume": (voxels,) * 3 + (1,),
              "signal": (sizes["samples"], sizes["leads"]), "tabular": (sizes["columns"] - 6,), "category": (6,),
              "features": (sizes["genes"],), "label/boxes": (7, 4)}
    assert {k: whole[k].shape[1:] for k in shapes} == shapes
    assert whole["volume"].dtype == np.uint8 and whole["signal"].dtype == whole["features"].dtype == np.float32
    parts = [source.block(order[i:i + 7]) for i in range(0, 24, 7)]
    for name in set(whole) - {"present", "text"}:
        joined = np.concatenate([part[name] for part in parts])
        assert joined.tobytes() == whole[name][order].tobytes(), name
    assert source[3]["volume"].tobytes() == whole["volume"][3].tobytes() and source.block([])["signal"].shape[0] == 0
    assert all(np.isfinite(v).all() for v in whole.values() if isinstance(v, np.ndarray) and v.dtype.kind == "f")


def test_discrete_values_pixels_and_texts_are_the_same_on_every_machine():
    block = phantom("test", seed=1, n=32, scale="tiny", modalities=MODALITIES).block(np.arange(32))
    parts = [block[k].tobytes() for k in ("image", "volume", "category", "label/findings", "label/rhythm", "label/synergy", "group")]
    assert hashlib.sha256(b"".join([*parts, "".join(block["text"]).encode()])).hexdigest()[:16] == "2eb7b21808975acd"


def test_the_image_is_the_projection_of_the_volume():
    block, side = latents(0, np.arange(64)), 32
    flat = np.zeros((64, side, side), np.float32)
    add_scene(flat, block, np.float32(1), np.float32(1), whole=False)
    np.testing.assert_allclose(ENHANCED * clean_volume(block, side).mean(1), flat, atol=1e-3)
    fine = np.zeros((64, 48, 48), np.float32)
    add_scene(fine, block, np.float32(1), np.float32(1), whole=False)
    np.testing.assert_allclose(ENHANCED * clean_volume(block, 48).mean(1), fine, atol=1e-3)
    odd = ENHANCED * clean_volume(block, 24).mean(1)  # no multiple of the 16 voxels that patterns are made of
    np.testing.assert_allclose(odd, fine.reshape(64, 24, 2, 24, 2).mean((2, 4)), atol=1e-3)
    coarse = ENHANCED * clean_volume(block, 16).mean(1)
    np.testing.assert_allclose(coarse, flat.reshape(64, 16, 2, 16, 2).mean((2, 4)), atol=1e-3)
    organ, style = np.array([0, 1, 2]), np.zeros((3, 3), np.float32)
    projected = 30 + 1.1 * (solid_anatomy(organ, style, 96) - 20).mean(1)
    assert np.abs(projected - flat_anatomy(organ, style, 96)).mean() < 0.6, "gray levels, from the voxels' soft edges"


def test_boxes_and_masks_hold_what_they_name():
    block = latents(2, np.arange(200))
    box, labels = boxes(block), mask(block, 64)[..., 0]
    assert ((box[:, 1:].any(-1)) == block["findings"].astype(bool)).all() and (box >= 0).all() and (box <= 1).all()
    right_half = (box[:, 0, 1] + box[:, 0, 3]) / 2 > 0.5  # of the picture, where the patient's left is
    assert (right_half == (block["laterality"] == 0)).all()
    for k in range(6):
        assert ((labels == 2 + k).any((1, 2)) == block["findings"][:, k].astype(bool)).all()
    before, after = render_image(block, 64, nuisance=0), render_image(block | {"findings": 1 - block["findings"]}, 64, nuisance=0)
    both = np.maximum(labels, mask(block | {"findings": 1 - block["findings"]}, 64)[..., 0])
    moved = (before != after)[..., 0]
    assert (moved & (both >= 2)).sum() > 0.7 * moved.sum(), "a finding changes the pixels of its box"
    volume = phantom("val", n=8, scale="tiny", modalities=("volume",), masks=True).block(np.arange(8))
    depth = [np.flatnonzero((m == 1).any((1, 2, 3))).mean() for m in volume["mask/volume"]]
    assert (np.floor((np.array(depth) - 1.5 - 1) / 4).clip(0, 2) == volume["label/depth"]).all()


def test_limb_leads_obey_einthoven_and_the_rhythms_are_what_they_say():
    block = latents(1, np.arange(400))
    signal = render_signal(block, samples=1000, leads=12, rate=100, nuisance=0)
    lead = dict(zip(LEADS, np.moveaxis(signal, -1, 0)))
    np.testing.assert_allclose(lead["II"] - lead["I"], lead["III"], atol=1e-5)
    np.testing.assert_allclose(lead["aVR"] + lead["aVL"] + lead["aVF"], 0, atol=1e-5)
    beats = [np.flatnonzero((x[1:-1] > 0.55) & (x[1:-1] >= x[:-2]) & (x[1:-1] > x[2:])) for x in lead["II"]]
    pace = np.array([60 / np.median(np.diff(b) / 100) if len(b) > 2 else 0 for b in beats])
    spread = np.array([np.std(np.diff(b)) / np.mean(np.diff(b)) if len(b) > 2 else 0 for b in beats])
    rhythm = block["rhythm"]
    assert np.median(pace[rhythm == 4]) < 50 < np.median(pace[rhythm == 0])
    assert np.median(spread[rhythm == 1]) > 3 * np.median(spread[rhythm == 0])


def test_the_whole_report_inverts():
    block = latents(4, np.arange(2000))
    for text, organ, marker, history in zip(report(block, whole=True), block["organ"], block["marker_b"], block["history"]):
        out = parse(text)
        assert (out["organ"], out["marker"], out["history"]) == (organ, marker, history)
        assert len(text.replace(".", " .").split()) <= 32
    assert all(parse(text)["organ"] is None for text in report(block)[:100])


@pytest.mark.parametrize("kind", ["bijection", "xor", "parity"])
def test_synergy_is_in_no_marker_alone(kind):
    block = latents(7, np.arange(N), synergy=kind)
    a, b, c, label = (block[k] for k in ("marker_a", "marker_b", "marker_c", "synergy"))
    near(label, 0.5)
    parts = {"bijection": (a, b), "xor": (a, b), "parity": (a, b, c)}[kind]
    for part in parts:
        for value in np.unique(part):
            near(label[part == value], 0.5)
    assert abs(bits_of(label, *parts) - 1) < 0.01, "together they tell it"
    rule = {"bijection": b == (3 * a + 7) % 10, "xor": (a ^ b) == 1, "parity": (a ^ b ^ c) == 1}[kind]
    assert (rule == label.astype(bool)).all()
    if kind == "parity":
        assert bits_of(label, a, b) < 0.003


def test_information_is_what_counting_finds(subjects):
    image = {"class": subjects["class"], "texture": subjects["texture"], "marker_a": subjects["marker_a"]}
    text = {"class": subjects["class"], "history": subjects["history"], "marker_b": subjects["marker_b"]}
    exact = information()
    reads = {"class": ("class", "class"), "texture": ("texture", "history"), "history": ("texture", "history"),
             "synergy": ("marker_a", "marker_b")}
    for label, (one, other) in reads.items():
        y = subjects[label]
        alone, other_alone = bits_of(y, image[one]), bits_of(y, text[other])
        both = bits_of(y, image[one], text[other])
        want = exact[label]
        assert abs(alone - want["redundant"] - want["unique_image"]) < 0.02
        assert abs(other_alone - want["redundant"] - want["unique_text"]) < 0.02
        assert abs(both - sum(want.values())) < 0.02
    y, shared = mix(subjects), subjects["class"] >= 5
    alone = bits_of(y, shared, subjects["texture"] >= 5, subjects["marker_a"])
    both = bits_of(y, shared, subjects["texture"] >= 5, subjects["history"] >= 3, subjects["marker_a"], subjects["marker_b"])
    assert abs(alone - 2) < 0.02 and abs(both - 4) < 0.05 and sum(exact["mix"].values()) == 4
    biased = information(match=0.1)["synergy"]["synergy"]
    assert abs(biased - 0.469) < 1e-3 and information("parity")["mix"]["synergy"] == 0


def test_survival_has_an_oracle(subjects):
    few = {name: subjects[name][:10_000] for name in ("time", "event", "risk")}
    assert concordance(few["time"], few["event"], few["risk"]) > 0.70
    shuffled = np.random.default_rng(0).permutation(few["risk"])
    assert abs(concordance(few["time"], few["event"], shuffled) - 0.5) < 0.02
    near(subjects["event"], 0.6)
    together = (subjects["texture"] < 3) & (subjects["smoking"] == 2)
    assert abs(subjects["risk"][together].mean() - subjects["risk"][~together].mean() - 0.7) < 0.1


@pytest.mark.slow
def test_the_table_of_invariants_is_kept():
    from experiments.headroom.invariants import lines
    assert [what for what, *_, kept in lines(10_000) if not kept] == []


def test_duplicates_have_the_outcome_and_the_shortcut_of_what_they_show():
    from mmrep.data.phantom.philox import normal

    for split, sign in (("train", 1), ("test", -1)):
        block = phantom(split, n=2000, scale="tiny", modalities=("text",), duplicates=0.5, spurious=1.0).latents()
        risk = normal(block["severity"].astype(np.float64)) + 0.8 * block["findings"][:, 2] + 0.02 * (block["age"] - 60)
        risk = risk + 0.7 * ((block["texture"] < 3) & (block["smoking"] == 2))
        np.testing.assert_allclose(block["risk"], risk, atol=1e-5)
        assert (block["image/vendor"] == 2 * (block["findings"][:, 0] if sign > 0 else 1 - block["findings"][:, 0])).all()
    source = phantom("train", n=2000, scale="tiny", modalities=("text",), duplicates=0.5, causal=0.999, change=0.0, dependent=True)
    block, copies = source.latents(), np.flatnonzero(source._model != source.index)
    assert len(copies) > 800 and np.abs(block["style"][:, 0] - normal(block["severity"].astype(np.float64))).max() < 0.3
    assert (block["style"] == block["style/signal"]).all()
    alone = latents(0, source.index[copies], causal=0.999, change=0.0, dependent=True)["style"]  # the lesion of a copy is its own
    np.testing.assert_array_equal(block["style"][copies, 1:], alone[:, 1:])


def test_style_follows_content_where_causal_and_changes_between_modalities():
    plain, causal, still = latents(0, np.arange(N)), latents(0, np.arange(N), causal=0.8), latents(0, np.arange(N), change=0.0)
    assert abs(np.corrcoef(plain["style"][:, 0], plain["severity"])[0, 1]) < 4 / np.sqrt(N)
    assert np.corrcoef(causal["style"][:, 0], causal["severity"])[0, 1] > 0.7
    assert (still["style"] == still["style/volume"]).all()
    assert 0.65 < np.corrcoef(plain["style"][:, 2], plain["style/volume"][:, 2])[0, 1] < 0.75  # 1 / sqrt(2)
    near(np.isclose(latents(0, np.arange(N), change=0.75)["style/volume"][:, 0], plain["style"][:, 0]), 0.25)


def test_a_lesion_of_dependent_place_size_and_contrast(subjects):
    names = ("lesion_x", "lesion_y", "lesion_size", "lesion_contrast")
    plain, tied = (np.stack([b[n] for n in names]) for b in (subjects, latents(3, np.arange(N), dependent=True)))
    assert (abs(np.corrcoef(plain)[np.triu_indices(4, 1)]) < 4 / np.sqrt(N)).all()
    assert 0.2 < abs(np.corrcoef(tied)[np.triu_indices(4, 1)]).max() < 0.95
    np.testing.assert_allclose(tied.mean(1), plain.mean(1), atol=0.02)
    np.testing.assert_allclose(tied.std(1), plain.std(1), rtol=0.02)  # each alone is as uniform as before
    one = latents(3, [77], dependent=True)
    assert all((one[n][0] == tied[i, 77]) for i, n in enumerate(names)), "a row does not depend on its block"


def test_missing_at_random_or_not():
    source = dict(n=N, modalities=("image", "text", "signal", "tabular"), size=16)
    truth = phantom(**source).latents()

    def present(**knobs):
        made = phantom(**source, **knobs)
        return made._present(made.latents())

    near(~present(missing={"signal": 0.3})["signal"], 0.3)
    there = present(missing={"signal": {"rate": 0.3, "by": "severity"}})["signal"]
    assert (~there)[truth["severity_bin"] == 2].mean() > (~there)[truth["severity_bin"] == 0].mean() + 0.3
    there, normal = present(missing={"tabular": {"rate": 0.8, "by": "normal"}})["tabular"], ~truth["findings"].any(1)
    near(~there[normal], 0.8)
    assert there[~normal].all(), "not at random: the table is there wherever a finding is"
    there = present(missing={"signal": {"by": "hospital"}})["signal"]
    assert (there == (truth["hospital"] != 0)).all()
    apart = present(unpaired={"text+signal": 1.0})
    assert not (apart["text"] & apart["signal"]).any() and apart["image"].all()
    near(apart["text"], 0.5)
    gone = present(missing=dict.fromkeys(("image", "text", "signal", "tabular"), 1.0))
    assert (np.stack(list(gone.values())).sum(0) == 1).all(), "one modality is kept"
    for bad in ({"pulse": 0.1}, {"signal": 1.5}, {"signal": {"rate": 0.1, "by": "luck"}}):
        with pytest.raises(ValueError, match="phantom missing"):
            present(missing=bad)
    with pytest.raises(ValueError, match="phantom unpaired"):
        present(unpaired={"text": 0.5})


def test_shortcuts_shifts_noise_and_combinations_held_out():
    def vendor(split, **knobs):
        block = phantom(split, n=4000, modalities=("text",), **knobs).latents()
        return block["image/vendor"], block["findings"][:, 0]

    site, finding = vendor("train", spurious=0.8)
    assert np.corrcoef(site, finding)[0, 1] > 0.6 and abs(np.corrcoef(*vendor("train"))[0, 1]) < 0.06
    site, finding = vendor("test", spurious=0.8)
    assert np.corrcoef(site, finding)[0, 1] < -0.6, "the shortcut misleads on the test split"
    assert (vendor("test", shifted=True)[0] == 3).all() and vendor("val", shifted=True)[0].max() == 2
    clean, noisy = (phantom(n=4000, modalities=("text",), label_noise=rate).block(np.arange(4000))["label/class"] for rate in (0, 0.2))
    near(clean != noisy, 0.2)

    held = ((0, 1, 2), (4, 0, 0))
    unseen = {}
    for split, kwargs in (("train", {}), ("val", {}), ("test", {}), ("test", {"unseen": False})):
        b = phantom(split, n=500, modalities=("text",), holdout=held, **kwargs).latents()
        out = np.zeros(500, bool)
        for f, side, degree in held:
            out |= (b["findings"][:, f] > 0) & (b["laterality"] == side) & (b["severity_bin"] == degree)
        unseen[split, *kwargs.values()] = out.mean()
    assert unseen == {("train",): 0, ("val",): 0, ("test",): 1, ("test", False): 0}
    with pytest.raises(ValueError, match="holdout"):
        phantom(holdout=((7, 0, 0),))


def test_bad_knobs_are_named():
    for knob, value in (("scale", "huge"), ("modalities", ("image", "sound")), ("synergy", "and"), ("causal", 1.0), ("change", 2),
                        ("spurious", -2), ("mode", "draw"), ("label_noise", 1.5), ("contrast", float("nan")), ("seed", -1), ("seed", 2**64),
                        ("size", 32.5), ("n", 2.5), ("n", {"train": 10, "foo": 3}), ("n", {"val": True})):
        with pytest.raises(ValueError, match=f"phantom.*{knob}"):
            phantom(**{knob: value})


def test_latent_mode_is_invertible_and_goes_through_the_pipeline():
    options = {"content": 3, "style": 2, "private": 2, "change": 0.75, "candidates": 2000}
    source = phantom("train", seed=2, n=4096, mode="latent", latent=options)
    whole = source.block(np.arange(4096))
    z = source.latents(np.arange(4096))
    for view, parts in (("x1", ("content", "style", "private_1")), ("x2", ("content", "style_changed", "private_2"))):
        back = unmixed(source.mixings[view == "x2"], whole[view].astype(np.float64))
        np.testing.assert_allclose(back, np.concatenate([z[p] for p in parts], 1), atol=1e-4)
    near((z["style"] == z["style_changed"])[:, 0], 0.25)
    for name in ("content", "style", "private_1"):
        assert abs(z[name].mean()) < 0.05 and np.allclose(np.cov(z[name].T), np.eye(z[name].shape[1]), atol=0.1)
    assert np.concatenate([source.block(np.arange(i, i + 64))["x1"] for i in range(0, 4096, 64)]).tobytes() == whole["x1"].tobytes()
    assert all(np.linalg.cond(m) < 5 for m in source.mixings[0])
    with pipeline.train_batches(source, 32, 0, steps=1) as batches:
        batch = next(batches)
    assert batch["x1"].shape == batch["x2"].shape == (32, 7) and batch["label/content"].shape == (32, 3)
    causal = identifiable("train", content=2, style=2, private=0, causal=True, dependent=True, shared_mixing=True, candidates=500, n=4000)
    z = causal.latents(np.arange(4000))
    assert abs(np.linalg.lstsq(z["content"], z["style"] - z["style"].mean(0), rcond=None)[0]).max() > 0.2
    assert causal.mixings[0] is causal.mixings[1] and "label/private_1" not in causal[0]
    with pytest.raises(ValueError, match="content >= 1"):
        phantom(mode="latent", latent={"content": 0})
    noisy = {"candidates": 500, "pair_noise": {"train": 0.25}}
    for split, share in (("train", 0.25), ("val", 0.0)):
        z = phantom(split, n=4000, mode="latent", latent=noisy).latents(np.arange(4000))
        near((z["content"] != z["content/2"]).any(1), share)
    with pytest.raises(ValueError, match="pair_noise of no split"):
        phantom(mode="latent", latent={"pair_noise": {"training": 0.25}})
    for name, value in (("missing", {"image": 0.5}), ("pair_noise", 0.3), ("modalities", ("image",)), ("size", 64)):
        with pytest.raises(ValueError, match=f"phantom {name}: is of mode='render'"):
            phantom(mode="latent", **{name: value})
    with pytest.raises(ValueError, match="missing.*True is no rate"):
        phantom(missing={"text": True})


def test_latent_views_more_than_two_noise_and_identity():
    options = {"content": 3, "style": 2, "private": 1, "layers": 0, "names": ("a", "b", "c"), "pair_noise": {"train": 0.4}, "both": True,
               "amplitude": 0.5}
    train, test = (phantom(split, n=4000, mode="latent", latent=options).block(np.arange(4000)) for split in ("train", "test"))
    near((train["a"][:, :3] == train["b"][:, :3]).all(1), 0.6)  # content, of the own subject but for wrong pairs
    assert (train["b"][:, :3] == train["c"][:, :3]).all() and (test["a"][:, :3] == test["b"][:, :3]).all()  # a stranger is one and the same
    assert (train["a"][:, :3] == train["label/content"]).all() and (test["a"][:, 5:] == test["label/private_1"]).all()
    style = np.stack([test[k][:, 3:5] for k in "abc"])
    assert np.allclose(np.var(style - style.mean(0), 0, ddof=1).mean(), 0.25, atol=0.02)  # each view's own change, of amplitude 0.5
    alone = phantom("test", n=64, mode="latent", latent=options | {"amplitude": {"train": 0.5}}).block(np.arange(64))
    assert (alone["a"][:, 3:5] == alone["b"][:, 3:5]).all()  # a change of training rows alone
    before = phantom("test", n=64, mode="latent", latent={"names": ("a", "b")}).block(np.arange(64))
    more = phantom("test", n=64, mode="latent", latent={"names": ("a", "b", "c")}).block(np.arange(64))
    assert all((before[k] == more[k]).all() for k in before if not k.startswith("index"))  # a third view changes nothing of the others
    for wrong in ({"names": ("a",)}, {"pair_noise": 2.0}, {"pair_noise": {"tset": 0.1}}, {"amplitude": -1.0}, {"amplitude": {"tset": 1.0}},
                  {"freedom": 0}):
        with pytest.raises(ValueError, match="phantom latent"):
            phantom("test", n=4, mode="latent", latent=wrong)


def test_latent_views_of_one_key_are_its_samples():
    options = {"content": 3, "style": 2, "private": 0, "candidates": 500, "shared_mixing": True}
    apart, one = (phantom("train", n=64, mode="latent", latent=options | {"names": names}) for names in (("x1", "x2"), ("x", "x")))
    assert one.fields == ("x",)
    np.testing.assert_array_equal(one.block(np.arange(64))["x"], np.stack([apart.block(np.arange(64))[k] for k in apart.fields], 1))
    with pipeline.train_batches(one, 32, 0, steps=1) as batches:
        batch = next(batches)
    assert batch["x"].shape == (32, 2, 5) and batch["present"]["x"].all()


def test_latent_covariances_are_the_flatter_the_more_freedom():
    spread = {}
    for freedom in (1, 50):
        made = (identifiable("train", seed=k, content=4, private=0, layers=0, dependent=True, freedom=freedom, n=2000) for k in range(5))
        spread[freedom] = np.mean([np.linalg.cond(np.cov(one.latents(np.arange(2000))["content"].T)) for one in made])
    assert spread[1] > 20 > 3 > spread[50]


def test_attribute_lists_show_what_they_mention():
    block = phantom("test", n=3000, mode="attributes", attributes={"mentioned": 3, "noise": 0.0}).block(np.arange(3000))
    assert (block["label/mentioned"].sum(1) == 3).all() and block["label/mentioned"][:, 0].all()
    for k in range(1, 6):
        near(block["label/mentioned"][:, k], 2 / 5)
    values = np.stack([block["label/object"], *(block[f"label/attribute_{k}"] for k in range(1, 6))], 1)
    # equal attributes give equal images, equal mentioned attributes equal captions, and only those
    for view, key in (("x1", values), ("x2", np.where(block["label/mentioned"], values, -1))):
        _, ours, theirs = np.unique(key, axis=0, return_index=True, return_inverse=True)
        assert (block[view] == block[view][ours][theirs.ravel()]).all() and len(np.unique(block[view], axis=0)) == len(ours)
    poor = phantom("test", n=3000, mode="attributes", attributes={"mentioned": 3, "noise": 0.0, "balanced": True}).block(np.arange(3000))
    assert len(np.unique(poor["x1"], axis=0)) == len(np.unique(block["x2"], axis=0)) and (poor["x2"] == block["x2"]).all()
    row = phantom("test", n=3000, mode="attributes", attributes={"mentioned": 3, "noise": 0.0})[77]
    assert all((row[k] == block[k][77]).all() for k in row)
    for wrong in ({"mentioned": 7}, {"values": 1}, {"names": ("a", "a")}, {"colour": 1}):
        with pytest.raises(ValueError, match="phantom attributes"):
            phantom("test", n=4, mode="attributes", attributes=wrong)
