"""Transforms: exact values where they have them, determinism by the generator, masks moving with their image."""

import re
from pathlib import Path

import numpy as np
import pytest

from mmrep.data.rng import philox
from mmrep.data.transforms import TRANSFORMS, compose, flip, intensity, normalize, random_crop
from mmrep.data.transforms.recipes import RECIPES

RNG = lambda seed=0: philox(seed, 9)  # noqa: E731


def run(name, example, seed=0, **kwargs):
    return TRANSFORMS[name](**kwargs)(example, RNG(seed))


def noise(h=16, w=12, c=1, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (h, w, c), dtype, endpoint=True)


def test_philox_is_a_function_of_its_arguments():
    draws = {philox(*key).integers(2**62) for key in [(0, 1), (1, 1), (0, 2), (0, 1, 1), (0, 1, 0, 1), (-1, 1)]}
    assert len(draws) == 6
    assert np.array_equal(philox(3, 1, 2, 4).random(5), philox(3, 1, 2, 4).random(5))
    # Neighboring rows are independent: correlations of 4000 pairs of uniforms.
    u = np.array([philox(0, 2, row, 0).random(2) for row in range(4000)])
    assert abs(np.corrcoef(u[:-1, 0], u[1:, 0])[0, 1]) < 0.06 and abs(u.mean() - 0.5) < 0.02


@pytest.mark.parametrize("dtype,channels", [(np.uint8, 1), (np.uint8, 3), (np.uint16, 1), (np.uint16, 3)])
def test_area_resize_is_the_block_mean(dtype, channels):
    image = noise(16, 12, channels, dtype)
    mean = image.reshape(8, 2, 6, 2, channels).mean((1, 3))
    out = run("resize", {"image": image}, size=(8, 6))["image"]
    # Pillow resizes 8-bit pictures in two passes and rounds after each.
    assert out.dtype == dtype and np.abs(out - mean).max() <= (1.01 if dtype == np.uint8 else 0.51)


def test_resize_fits():
    image = np.full((8, 16, 1), 200, np.uint8)
    padded = run("resize", {"image": image}, size=8, fit="pad")["image"][..., 0]
    assert np.array_equal(padded[2:6], np.full((4, 8), 200)) and not padded[:2].any() and not padded[6:].any()
    image[:, :4] = image[:, 12:] = 0
    assert (run("resize", {"image": image}, size=8, fit="cover")["image"] == 200).all()
    for height in range(40, 60):  # of some sizes the box's corner is a rounding error below 0
        for size in (96, 224):
            assert run("resize", {"image": noise(height, 47)}, size=size, fit="cover")["image"].shape == (size, size, 1)
    image = noise(9, 9)
    assert np.array_equal(run("center_crop", {"image": image}, size=3)["image"], image[3:6, 3:6])
    with pytest.raises(ValueError, match="the image is 9x9, the crop 10x10; resize first"):
        run("center_crop", {"image": image}, size=10)


@pytest.mark.parametrize("name,kwargs", [("random_crop", {"size": 16, "scale": (0.3, 0.6)}), ("flip", {"p": 1.0, "laterality": "ignore"}),
                                         ("rotate", {"degrees": 40}), ("resize", {"size": (20, 8), "fit": "pad"})])
def test_masks_move_with_their_image(name, kwargs):
    image = np.zeros((32, 24, 1), np.uint8)
    image[6:20, 4:15] = 255
    example = {"image": image, "mask/organ": image // 255, "text": "left"}
    out = run(name, example, 3, **kwargs)
    assert not np.array_equal(out["image"], image) and out["text"] == "left"
    assert set(np.unique(out["mask/organ"])) <= {0, 1}
    assert np.mean((out["image"] > 127) != out["mask/organ"]) < 0.06
    assert np.array_equal(out["image"], run(name, example, 3, **kwargs)["image"])
    if name != "flip" and name != "resize":
        assert not np.array_equal(out["image"], run(name, example, 4, **kwargs)["image"])


def test_random_crop_covers_the_asked_area():
    ramp = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (256, 1, 1))
    spans = []
    for seed in range(300):
        out = run("random_crop", {"image": ramp}, seed, size=64, scale=(0.25, 0.25), ratio=(1, 1))["image"]
        spans.append(int(out.max()) - int(out.min()))
    assert 120 <= np.mean(spans) <= 128  # half of each side
    assert run("random_crop", {"image": noise(4, 400)}, size=8)["image"].shape == (8, 8, 1)  # no box fits by chance


def test_flip_is_off_by_default():
    image = noise()
    assert all(np.array_equal(run("flip", {"image": image}, seed)["image"], image) for seed in range(20))
    assert np.array_equal(run("flip", {"image": image}, axis="vertical", p=1)["image"], image[::-1])


def test_intensity():
    image = noise(dtype=np.uint16)
    assert np.array_equal(run("intensity", {"image": image}, gain=0, offset=0, gamma=0)["image"], image)
    out = run("intensity", {"image": image}, gain=0.2, offset=0.1, gamma=0.3)["image"]
    order = np.argsort(image.ravel())
    assert out.dtype == np.uint16 and (np.diff(out.ravel()[order].astype(int)) >= 0).all()
    flat = np.full((4, 4, 1), 0.5, np.float32)
    values = [run("intensity", {"image": flat}, s, gain=0.1, offset=0.1, gamma=0)["image"][0, 0, 0] for s in range(200)]
    assert 0.35 <= min(values) < 0.42 and 0.58 < max(values) <= 0.65


def test_channels_and_depth():
    rgb = noise(4, 4, 3)
    gray = run("to_channels", {"image": rgb}, channels=1)["image"]
    assert np.abs(gray[..., 0] - rgb @ [0.299, 0.587, 0.114]).max() <= 0.51
    assert np.array_equal(run("to_channels", {"image": gray}, channels=3)["image"], np.repeat(gray, 3, -1))
    deep = np.array([0, 1000, 1500, 2000, 65535], np.uint16).reshape(1, 5, 1)
    assert run("to_uint8", {"image": deep}, window=(1000, 2000))["image"].ravel().tolist() == [0, 0, 128, 255, 255]
    assert run("to_uint8", {"image": deep})["image"].ravel()[-1] == 255
    assert run("to_uint8", {"image": deep}, percentile=(25, 75))["image"].ravel().tolist() == [0, 0, 128, 255, 255]


def test_normalize_is_what_the_device_does_and_passes_it_unchanged():
    from mmrep.encoders.inputs import to_float

    for dtype in (np.uint8, np.uint16):
        image = noise(dtype=dtype, c=3)
        out = run("normalize", {"image": image}, mean=(0.5, 0.4, 0.3), std=(0.5, 0.2, 0.1))["image"]
        want = (image / np.iinfo(dtype).max - [0.5, 0.4, 0.3]) / [0.5, 0.2, 0.1]
        assert out.dtype == np.float32 and np.allclose(out, want, atol=1e-5)
        same = run("normalize", {"image": image})["image"]
        assert np.allclose(same, to_float(image), atol=1e-6) and np.array_equal(to_float(same), same)
    assert run("normalize", {"text": "x"}) == {"text": "x"}
    with pytest.raises(ValueError, match="normalize: 3 values for 1 channels; give one, or one each"):
        run("normalize", {"image": noise()}, mean=(0.5, 0.4, 0.3))
    with pytest.raises(ValueError, match=r"normalize: std: 0.0 is not in \(0, inf"):
        run("normalize", {"image": noise()}, std=(0.5, 0.0, 0.5))
    with pytest.raises(ValueError, match=r"intensity: .* not within \[0, 1\]; put it before normalize"):
        compose([normalize(), intensity()])({"image": noise()}, RNG())


def test_text():
    text = "Pneumonia in the LEFT lobe. No pneumonias; pneumonia-like? Left heart."
    out = run("remove_words", {"text": text}, words=["pneumonia", "left", "left heart"])["text"]
    assert out == "in the lobe. No pneumonias; -like? ."
    assert run("remove_words", {"text": "CT, left.", "case": 3}, words=["ct", "left"]) == {"case": 3}  # nothing left: absent
    assert run("remove_words", {"text": ["CT", "a CT"]}, words=["ct"])["text"] == ["", "a"]
    assert run("lowercase", {"text": ["A", "B"]})["text"] == ["a", "b"]
    assert {run("sample_sentences", {"text": "One. Two! Three?"}, s, count=2)["text"] for s in range(30)} == {
        "One. Two!", "One. Three?", "Two! Three?"}
    assert run("tokenize", {"text": "ab"}, length=5)["text"].tolist() == [1, 100, 101, 2, 0]
    assert run("tokenize", {"text": ["ab", "c"]}, length=5)["text"].shape == (2, 5)
    with pytest.raises(ValueError, match="give a list of words"):
        run("remove_words", {"text": text}, words="left")


def test_views_and_compose():
    example = {"image": noise(), "text": "x"}
    steps = [{"name": "views", "count": 4, "transforms": [random_crop(8)], "to": "image_local"}, {"name": "lowercase"}]
    out = compose(steps)(example, RNG())
    assert out["image_local"].shape == (4, 8, 8, 1) and np.array_equal(out["image"], example["image"])
    assert not np.array_equal(out["image_local"][0], out["image_local"][1])
    assert run("views", {"text": "x"}, count=2, transforms=[flip()]) == {"text": "x"}
    two = run("views", {"image": example["image"], "mask/organ": example["image"]}, count=2, transforms=[random_crop(8, method="nearest")])
    assert two["mask/organ"].shape == (2, 8, 8, 1) and np.array_equal(two["image"], two["mask/organ"])
    with pytest.raises(ValueError, match=r"shape \(2, 8, 8, 1\), not \[H, W, C\]; of several samples, put this before or into"):
        run("flip", two, p=1.0)
    for wrong, message in [({"name": "resise"}, r"^config.a\[1\].name: unknown 'resise'; did you mean 'resize'"),
                           ({"name": "resize", "sise": 3}, r"^config.a\[1\].sise: .* did you mean 'size'"),
                           ({"name": "flip", "axis": "horiz"}, r"^config.a\[1\]: flip: axis 'horiz' is not"),
                           ("flip", r"^config.a\[1\]: needs a {name, ...} dict; got 'flip'")]:
        with pytest.raises(ValueError, match=message):
            compose([flip(), wrong], "config.a")
    for alone in ("flip", {"name": "flip"}, flip()):
        with pytest.raises(ValueError, match="^config.a: needs a tuple of transforms"):
            compose(alone, "config.a")


def test_views_take_transforms_as_a_config_writes_them():
    example = {"image": noise()}
    built = run("views", example, count=2, transforms=[random_crop(8), flip(p=0.5)])
    specs = ({"name": "random_crop", "size": 8}, {"name": "flip", "p": 0.5})
    assert np.array_equal(run("views", example, count=2, transforms=specs)["image"], built["image"])
    for wrong, message in [({"name": "flpi"}, r"transforms\[0\].name: .* did you mean 'flip'"),
                           ({"name": "flip", "q": 1}, r"transforms\[0\].q: flip takes no 'q'"), ({"p": 1}, "needs a {name")]:
        with pytest.raises(ValueError, match=message):
            run("views", example, count=2, transforms=(wrong,))
    with pytest.raises(ValueError, match="views: count: 0 is not in"):
        run("views", example, count=0, transforms=())


def test_nothing_writes_into_its_input():
    image = noise(24, 24, 3)
    image.setflags(write=False)
    for name, kwargs in [("resize", {"size": 8}), ("random_crop", {"size": 8}), ("flip", {"p": 1}), ("intensity", {}),
                         ("rotate", {"degrees": 9}), ("to_uint8", {}), ("to_channels", {"channels": 1})]:
        run(name, {"image": image}, **kwargs)


def test_the_readme_lists_every_transform_and_recipe():
    text = (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")
    section = text.partition("### Transforms and augmentation")[2].partition("\n### ")[0]
    rows = "".join(line for line in section.splitlines() if line.startswith("|"))
    names = set(re.findall(r"`(\w+)`", rows))
    assert names == set(TRANSFORMS)
    assert {name for name in RECIPES if f"`{name}`" in section} == set(RECIPES)
