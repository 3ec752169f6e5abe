"""No mirror along the patient's sides where the text tells them: words, swaps, the phantom's reports, volumes."""

import re

import numpy as np
import pytest

from mmrep.data.phantom import phantom
from mmrep.data.phantom.text import parse
from mmrep.data.pipeline import probe
from mmrep.data.rng import philox
from mmrep.data.streams import stream_transform
from mmrep.data.tokenizers import byte
from mmrep.data.transforms import compose, flip, tokenize, views
from mmrep.data.transforms.laterality import SIDES, names_side, swap_sides

RNG = lambda seed=0: philox(seed, 9)  # noqa: E731
RAMP = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)


@pytest.mark.parametrize("text", [
    "Opacity in the left lower zone.", "RIGHT-sided effusion", "Left pneumothorax", "L > R atelectasis", "consolidation (LLL)",
    "rml collapse", "bilateral effusions", "both sides", "Derrame derecho", "Infiltrado en LII izquierdo", "épanchement gauche",
    "le poumon droit", "Erguss links", "right_lung clear", "levoscoliosis", "lt base",
    "derram pleural izquierd .", "LUE swelling", "linksbasal Erguss", "tubo dcho", "ápex izqdo",
    "pulmão esquerdo", "versamento a destra", "Glaucoma OD", "The heart is shifted to the right."])
def test_words_that_name_a_side(text):
    assert names_side(text)


@pytest.mark.parametrize("text", ["Clear lungs.", "Normal heart size.", "L5 compression", "bright opacity", "cleft", "upright film",
                                  "righteous", "l'aorte est normale", "deleft", "no pleural effusion", "T12 and R2 ratios"])
def test_words_that_name_none(text):
    assert not names_side(text)


def test_swapping_twice_is_the_text_again():
    for text in ("Left and RIGHT, left-sided; L>R. lul, RUQ", "Derrame IZQUIERDO", "nothing", "Levoscoliosis", "gauche/droite"):
        assert swap_sides(swap_sides(text)) == text
    assert swap_sides("Left lung, RIGHT hilum; LLL. R<L") == "Right lung, LEFT hilum; RLL. L<R"
    assert len({*SIDES, *SIDES.values()}) == 2 * len(SIDES)  # one counterpart each, so that a swap can be undone
    with pytest.raises(ValueError, match="'RML' has no counterpart"):
        swap_sides("RML collapse")
    for text in ("R/o pneumonia, left base", "L-spine and right hip", "on 2 L of oxygen, right lung clear",
                 "left the hospital; right effusion", "feels all right, left cough", "right after the left tube",
                 "left in place: right drain", "the patient has left.", "Cataract OS", "right middle lobe", "linksbasal, rechts frei"):
        with pytest.raises(ValueError, match="or means none"):
            swap_sides(text)
    assert swap_sides("She has left lower lobe pneumonia. L5 intact; rib R4.") == "She has right lower lobe pneumonia. L5 intact; rib R4."


def test_the_default_leaves_an_example_that_names_a_side_as_it_is():
    mirrored = RAMP[:, ::-1]
    for text, flipped in (("clear lungs", True), ("left opacity", False), (["clear", "seen on the right"], False), ("bilateral", False)):
        example = {"image": RAMP, "text": text, "mask/lung": RAMP}
        out = flip(p=1.0)(example, RNG())
        assert np.array_equal(out["image"], mirrored if flipped else RAMP) and np.array_equal(out["mask/lung"], out["image"])
        assert out["text"] == text
        assert np.array_equal(flip(p=1.0, laterality="ignore")(example, RNG())["image"], mirrored)
        assert np.array_equal(flip("vertical", p=1.0)(example, RNG())["image"], RAMP[::-1])  # the sides stay
    assert np.array_equal(flip(p=1.0)({"image": RAMP}, RNG())["image"], mirrored)            # no text says otherwise
    out = flip(p=1.0, laterality="swap")({"image": RAMP, "text": ["Left", "clear"]}, RNG())
    assert out["text"] == ["Right", "clear"] and np.array_equal(out["image"], mirrored)
    lone = {"image": RAMP, "text": "left opacity, RML clear"}
    assert flip(p=1.0, laterality="swap")(lone, RNG()) is lone
    flips = [flip(p=0.5)({"image": RAMP, "text": "clear"}, RNG(s))["image"][0, 0, 0] for s in range(400)]
    assert abs(np.mean(np.array(flips) == 3) - 0.5) < 3 * 0.5 / 20


def test_tokens_do_not_say_whether_they_name_a_side():
    example = {"image": RAMP, "text": "clear"}
    with pytest.raises(ValueError, match="the text is tokens already.*flip before `tokenize`"):
        compose([tokenize(length=8), flip(p=0.1)])(example, RNG())
    for fine in (flip(p=0.0), flip(p=1.0, laterality="ignore"), flip("vertical", p=1.0)):
        compose([tokenize(length=8), fine])(example, RNG())
    # a stream's own order is the right one; tokens in `prepare` are found when the run starts, whatever the draw
    source = phantom("train", n=32, size=16)
    specs = ({"name": "flip", "p": 0.5},)
    assert probe(source, stream_transform({"augment": specs}, byte(), 16, True, "config.data.main"))["text"][0] == (16,)
    with pytest.raises(ValueError, match="the text is tokens already"):
        probe(source, compose([tokenize(length=16), *map(lambda s: flip(p=s["p"]), specs)]))


def test_the_phantoms_reports_stay_true():
    source = phantom("train", n=64, scale="tiny", modalities=("image", "volume", "text"), masks=True, n_mentioned=3)
    swapped = kept = 0
    for row in range(64):
        example = source[row]
        said = parse(example["text"])["laterality"]
        out = flip(p=1.0)(example, RNG(row))
        mirrored = np.array_equal(out["image"], example["image"][:, ::-1])
        assert mirrored == (said is None) and np.array_equal(out["volume"], example["volume"][:, :, ::-1]) == (said is None)
        other = flip(p=1.0, laterality="swap")(example, RNG(row))
        for key in ("image", "volume", "mask/image", "mask/volume"):
            assert np.array_equal(other[key], np.flip(example[key], -2))
        assert {k: v for k, v in parse(other["text"]).items() if k != "laterality"} == {
            k: v for k, v in parse(example["text"]).items() if k != "laterality"}
        assert parse(other["text"])["laterality"] == (None if said is None else 1 - said)
        top, left, bottom, right = example["label/boxes"][0]
        np.testing.assert_allclose(other["label/boxes"][0], [top, 1 - right, bottom, 1 - left], atol=1e-6)
        swapped, kept = swapped + (said is not None), kept + (said is None)
    assert swapped > 10 and kept > 10


def test_volumes_along_their_left_right_axis():
    volume = np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1)
    example = {"volume": volume, "text": "nodule in the left lobe"}
    assert np.array_equal(flip(p=1.0)(example, RNG())["volume"], volume)
    assert np.array_equal(flip("depth", p=1.0)(example, RNG())["volume"], volume[::-1])
    # an array that lies otherwise: its sides along the depth
    assert np.array_equal(flip("depth", p=1.0, left_right="depth")(example, RNG())["volume"], volume)
    assert np.array_equal(flip(p=1.0, left_right="depth")(example, RNG())["volume"], volume[:, :, ::-1])
    both = flip("depth", p=1.0)({"image": RAMP, "volume": volume}, RNG())
    assert np.array_equal(both["image"], RAMP) and np.array_equal(both["volume"], volume[::-1])
    for kwargs, message in [({"axis": "side"}, "axis 'side'"), ({"laterality": "no"}, "laterality 'no'"), ({"p": 2}, "flip: p: 2"),
                            ({"left_right": "x"}, "left_right 'x'")]:
        with pytest.raises(ValueError, match=message):
            flip(**kwargs)


def test_views_see_the_text_and_may_not_change_it():
    several = views(4, [flip(p=1.0)])
    assert np.array_equal(several({"image": RAMP, "text": "left"}, RNG())["image"], np.stack([RAMP] * 4))
    assert np.array_equal(several({"image": RAMP, "text": "clear"}, RNG())["image"], np.stack([RAMP[:, ::-1]] * 4))
    with pytest.raises(ValueError, match="views: flip with laterality='swap' would change the text of all samples"):
        views(2, ({"name": "flip", "p": 0.5, "laterality": "swap"},))
    with pytest.raises(ValueError, match="views: a transform changed the text"):
        views(2, [flip(p=1.0, laterality="swap")])({"image": RAMP, "text": "left"}, RNG())
    with pytest.raises(ValueError, match="image/local would not be mirrored with it"):
        flip(p=1.0)({"image": RAMP, "image/local": RAMP[None]}, RNG())


@pytest.fixture(scope="module")
def reports(shared):
    import json

    lines = (shared / "data" / "iu_cxr_reports" / "reports.jsonl").read_text().splitlines()
    return [" ".join(filter(None, (row["findings"], row["impression"]))) for row in map(json.loads, lines)]


def test_no_real_report_that_names_a_side_is_mirrored_by_default(reports):
    sided = re.compile(r"left|right|bilateral|lingul|dextro|levo|azyg|[rl][ul]l\b|\brml\b", re.IGNORECASE)  # in a word, too: another way
    mirrored = {text for text in reports if flip(p=1.0)({"image": RAMP, "text": text}, RNG())["image"] is not RAMP}
    assert len(reports) > 3000 and len(mirrored) > 1500 and sum(map(bool, map(sided.search, reports))) > 1500
    assert not [text for text in mirrored if sided.search(text.lower().replace("upright", ""))]
    assert all(flip()({"image": RAMP, "text": text}, RNG())["image"] is RAMP for text in reports[:300])  # nor any other, unless asked


def test_real_reports_are_the_same_after_two_swaps(reports):
    swapped = 0
    for text in reports:
        try:
            other = swap_sides(text)
        except ValueError:                    # a word of one side alone: "lingula"
            continue
        assert swap_sides(other) == text
        swapped += other != text
        assert names_side(text) or other == text
    assert swapped > 1000
