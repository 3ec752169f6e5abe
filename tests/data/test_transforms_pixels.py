"""Affine and elastic maps against scipy, boxes that follow, jitter, blur, holes, CLAHE against OpenCV; the recipes."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mmrep.data.rng import philox
from mmrep.data.sources import arrays
from mmrep.data.streams import check_streams, stream_transform
from mmrep.data.tokenizers import byte
from mmrep.data.transforms import TRANSFORMS, compose
from mmrep.data.transforms.masks import moved_boxes
from mmrep.data.transforms.recipes import RECIPES
from mmrep.data.transforms.warp import affine


def run(name, example, seed=0, **kwargs):
    return TRANSFORMS[name](**kwargs)(example, philox(seed, 9))


def smooth(h=40, w=32, c=1, seed=0):
    x = gaussian_filter(np.random.default_rng(seed).normal(size=(h, w, c)), (2, 2, 0))
    return ((x - x.min()) / (x.max() - x.min())).astype(np.float32)


def blob(h=64, w=48, top=20, left=10, bottom=34, right=24):
    mask = np.zeros((h, w, 1), np.uint8)
    mask[top:bottom, left:right] = 1
    boxes = np.array([[top / h, left / w, bottom / h, right / w], [0, 0, 0, 0]], np.float32)
    return {"image": mask * 200, "mask/lesion": mask, "label/boxes": boxes}


@pytest.mark.parametrize("name,kwargs", [
    ("resize", {"size": (32, 40)}), ("resize", {"size": 48, "fit": "pad"}), ("resize", {"size": (40, 50), "fit": "cover"}),
    ("center_crop", {"size": (50, 40)}), ("crop", {"size": (40, 40)}), ("random_crop", {"size": 48, "scale": (0.5, 0.9)}),
    ("flip", {"p": 1.0}), ("flip", {"axis": "vertical", "p": 1.0}), ("affine", {"degrees": 90.0, "translate": 0.1, "scale": (0.7, 1.2)}),
    ("affine", {"degrees": 20.0, "shear": 20.0}), ("rotate", {"degrees": 30.0})])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_boxes_and_masks_follow_the_picture(name, kwargs, seed):
    out = run(name, blob(), seed, **kwargs)
    inside = out["image"][..., 0] > 100
    assert np.mean(inside != (out["mask/lesion"][..., 0] > 0)) < 0.02
    rows, cols = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    assert not out["label/boxes"][1].any() and out["label/boxes"].dtype == np.float32
    if not len(rows):                         # moved out of sight
        assert np.prod(out["label/boxes"][0, 2:] - out["label/boxes"][0, :2]) < 0.01
        return
    h, w = inside.shape
    want = np.array([rows[0] / h, cols[0] / w, (rows[-1] + 1) / h, (cols[-1] + 1) / w])
    slack = 0.06 if name in ("affine", "rotate") else 0.04  # of a turned square, corners fade first
    assert np.abs(out["label/boxes"][0] - want).max() < slack
    if name not in ("affine", "rotate"):
        assert np.abs(out["label/boxes"][0] - want).max() <= 1.01 / min(h, w)


def test_boxes_beyond_the_rim_are_cut_or_gone():
    half = np.array([[1.0, 0, 0.5], [0, 1, 0]])
    found = moved_boxes(np.array([[0.2, 0.1, 0.7, 0.4], [0.6, 0, 0.9, 1], [0, 0, 0, 0]], np.float32), half)
    np.testing.assert_allclose(found, [[0.7, 0.1, 1, 0.4], [0, 0, 0, 0], [0, 0, 0, 0]], atol=1e-6)
    with pytest.raises(ValueError, match="elastic: would bend the image away from label/boxes; put .*drop"):
        run("elastic", blob())


def test_an_affine_map_is_scipys():
    from scipy.ndimage import affine_transform

    image = smooth(41, 31, 2)
    for seed in range(4):
        out = run("affine", {"image": image}, seed, degrees=30.0, translate=0.2, scale=(0.8, 1.3), shear=15.0)["image"]
        rng = philox(seed, 9)
        rng.uniform()
        angle, lean, factor = np.radians(rng.uniform(-30, 30)), np.radians(rng.uniform(-15, 15)), rng.uniform(0.8, 1.3)
        move = np.array([rng.uniform(-0.2, 0.2) * 31, rng.uniform(-0.2, 0.2) * 41])[::-1]
        forward = factor * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ [[1, np.tan(lean)], [0, 1]]
        back, center = np.linalg.inv(forward)[::-1, ::-1], np.array([20.0, 15.0])    # (y, x), of pixel centers
        want = np.stack([affine_transform(image[..., c], back, center - back @ (center + move), order=1) for c in range(2)], -1)
        inner = affine_transform(np.ones((41, 31)), back, center - back @ (center + move), order=1) > 0.999
        assert inner.mean() > 0.3 and np.abs(out - want)[inner].max() < 2e-3
    same = affine()({"image": image}, philox(0, 9))["image"]
    assert np.allclose(same, image, atol=1e-6) and affine(degrees=9.0, p=0.0)({"image": image}, philox(0, 9))["image"] is image
    for kwargs, message in [({"scale": (0, 1)}, "affine: scale"), ({"scale": 2}, "affine: scale 2 is no pair"),
                            ({"shear": 90}, "affine: shear"), ({"p": -1}, "affine: p")]:
        with pytest.raises(ValueError, match=message):
            affine(**kwargs)


def test_an_elastic_map_is_smooth_and_no_further_than_asked():
    ramp = np.stack(np.meshgrid(np.arange(64), np.arange(64), indexing="ij"), -1).astype(np.float32)
    out = run("elastic", {"image": ramp}, 2, alpha=0.05, sigma=0.1)["image"]
    moved = (out - ramp)[8:-8, 8:-8]
    assert 1 < np.abs(moved).max() <= 3.2 + 1e-3 and np.abs(np.diff(moved, axis=0)).max() < 0.8
    example = {"image": smooth(32, 32), "mask/a": (smooth(32, 32) > 0.5).astype(np.uint8)}
    out = run("elastic", example, alpha=0.1, sigma=0.1)
    assert np.mean((out["image"] > 0.5) != (out["mask/a"] > 0)) < 0.06 and set(np.unique(out["mask/a"])) <= {0, 1}
    assert np.allclose(run("elastic", example, alpha=0.0)["image"], example["image"], atol=1e-6)


def test_color_jitter_is_as_strong_as_asked():
    image = np.random.default_rng(0).integers(60, 120, (16, 16, 3)).astype(np.uint8)
    bright = [run("color_jitter", {"image": image}, s, brightness=0.4, contrast=0.0)["image"].mean() / image.mean() for s in range(200)]
    assert 0.6 <= min(bright) < 0.65 and 1.35 < max(bright) <= 1.41
    spread = [run("color_jitter", {"image": image}, s, brightness=0.0, contrast=0.4)["image"] for s in range(200)]
    ratios = [x.std() / image.std() for x in spread]
    assert 0.55 < min(ratios) < 0.65 and 1.35 < max(ratios) < 1.45
    gray = image.astype(float) @ [0.299, 0.587, 0.114]
    assert max(abs((x.astype(float) @ [0.299, 0.587, 0.114]).mean() - gray.mean()) for x in spread) < 1
    pale = run("color_jitter", {"image": image}, 4, brightness=0.0, contrast=0.0, saturation=1.0)["image"]
    assert np.abs(pale.astype(float) @ [0.299, 0.587, 0.114] - gray).max() < 1.5 and pale.std(-1).mean() != image.std(-1).mean()
    deep = image.astype(np.uint16) * 257
    out = run("color_jitter", {"image": deep}, 3)["image"]
    assert out.dtype == np.uint16 and np.abs(out / 257 - run("color_jitter", {"image": image}, 3)["image"]).max() < 1.01
    floats = run("color_jitter", {"image": image / np.float32(255)}, 3)["image"]
    assert floats.dtype == np.float32 and np.abs(floats * 255 - out / 257).max() < 1.01
    with pytest.raises(ValueError, match="color_jitter: pixels run from -1 .* put it before normalize"):
        run("color_jitter", {"image": np.full((2, 2, 1), -1, np.float32)})


def test_blur_noise_and_holes():
    point = np.zeros((21, 21, 2), np.float32)
    point[10, 10] = 1
    out = run("blur", {"image": point}, sigma=(2, 2), p=1.0)["image"]
    want = np.exp(-((np.arange(21) - 10) ** 2) / 8)
    np.testing.assert_allclose(out[10, :, 0] / out[10, 10, 0], want, atol=2e-3)
    assert run("blur", {"image": point}, p=0.0)["image"] is point
    flat = np.full((64, 64, 1), 128, np.uint8)
    levels = [run("noise", {"image": flat}, s, std=0.1)["image"].std() / 255 for s in range(60)]
    assert min(levels) < 0.02 and 0.08 < max(levels) < 0.105
    areas = []
    for seed in range(200):
        hole = run("erase", {"image": flat, "mask/a": flat}, seed, area=(0.1, 0.2), p=1.0, fill=0.0)
        rows, cols = np.nonzero(hole["image"][..., 0] == 0)
        areas.append(len(rows) / 4096)
        assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(cols) + 1) and hole["mask/a"] is flat
    assert 0.08 < min(areas) < 0.12 and 0.18 < max(areas) < 0.22 and (flat == 128).all()
    image = smooth(16, 16, 3)
    mean = run("erase", {"image": image}, 2, area=(0.2, 0.3), p=1.0)["image"]
    changed = (mean != image).any(-1)
    assert 0.1 < changed.mean() < 0.4 and np.allclose(mean[changed], image.reshape(-1, 3).mean(0), atol=1e-6)
    volume = run("erase", {"volume": np.ones((4, 9, 9, 1), np.float32)}, area=(0.3, 0.4), p=1.0, fill=0, key="volume")["volume"]
    assert (volume.min((0, 3)) == volume.max((0, 3))).all() and 0.5 < volume.mean() < 0.8
    for name, kwargs, message in [("erase", {"fill": "gray"}, "fill 'gray'"), ("erase", {"area": (0, 0.5)}, "erase: area"),
                                  ("blur", {"sigma": (2, 1)}, "blur: sigma"), ("noise", {"std": -1}, "noise: std"),
                                  ("clahe", {"tiles": 0}, "clahe: tiles")]:
        with pytest.raises(ValueError, match=f"transforms\\[0\\].*: {message}"):
            compose([{"name": name, **kwargs}])


@pytest.mark.parametrize("shape,clip,tiles", [((64, 64), 4.0, 8), ((100, 77), 2.0, 8), ((224, 224), 4.0, 8), ((50, 60), 40.0, 4)])
def test_clahe_is_opencvs(shape, clip, tiles):
    cv2 = pytest.importorskip("cv2", reason="the reference is OpenCV, of the extra `fast`")
    image = np.clip(gaussian_filter(np.random.default_rng(1).normal(120, 200, shape), 3) + np.arange(shape[1]) / 2, 0, 255).astype(np.uint8)
    found = run("clahe", {"image": image[..., None]}, clip=clip, tiles=tiles)["image"][..., 0]
    want = cv2.createCLAHE(clip, (tiles, tiles)).apply(image)
    assert np.abs(found.astype(int) - want).max() <= 1 and np.mean(found != want) < 0.05  # it rounds elsewhere
    assert found.std() > image.std()
    with pytest.raises(ValueError, match="clahe: the image is float32.*put to_uint8 before it"):
        run("clahe", {"image": smooth()})


EXAMPLES = {
    "image": np.random.default_rng(0).integers(0, 256, (70, 60, 1)).astype(np.uint8),
    "text": "FINDINGS: Clear. No effusion.\nIMPRESSION: Normal.",
    "volume": np.random.default_rng(0).integers(0, 256, (12, 20, 20, 1)).astype(np.uint8),
    "mask/volume": np.ones((12, 20, 20, 1), np.uint8),
    "signal": np.random.default_rng(0).normal(size=(1000, 12)).astype(np.float32), "features": np.ones((7, 3), np.float32)}
SIZES = {"convirt": (32,), "gloria": (32,), "mgca": (32,), "cxr_clip": (32,), "biovil": (32,), "multi_crop": (32, 16, 3),
         "nnunet": ((16, 16, 16),), "ecg": (250.0, 500), "table": (), "slide": (5,)}


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_recipes_are_a_line_of_a_config_and_give_one_form(name):
    recipe = RECIPES[name](*SIZES[name])
    check_streams({"main": {"source": {"name": "phantom"}, "batch": 4, **recipe}})
    rows = arrays(tabular=np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32), category=np.zeros((20, 2), np.int32))
    example = EXAMPLES | rows[0]
    prepared = compose(recipe.get("prepare", ()))(example, philox(0, 9))
    augment = compose(recipe["augment"], training=lambda: rows)
    forms = set()
    for seed in range(6):
        out = compose([augment, TRANSFORMS["tokenize"](length=8)])(prepared, philox(seed, 9))
        forms.add(tuple(sorted((key, value.shape, str(value.dtype)) for key, value in out.items() if isinstance(value, np.ndarray))))
    assert len(forms) == 1
    changed = [key for key in example if key not in prepared or not np.array_equal(prepared[key], example[key]) or not np.array_equal(
        out[key], prepared[key])]
    assert changed                            # it does something, the same for the same seed
    again = compose([augment, TRANSFORMS["tokenize"](length=8)])(prepared, philox(5, 9))
    assert all(np.array_equal(out[key], again[key]) for key in out if isinstance(out[key], np.ndarray))
    evaluate = stream_transform(recipe, byte(), 8, False, "config.data.main")
    calm = [evaluate(prepared, philox(seed, 9)) for seed in (0, 1)]
    assert all(np.array_equal(calm[0][key], calm[1][key]) for key in calm[0])
    if name not in ("multi_crop", "table"):   # there training has more samples than evaluation
        assert all(calm[0][key].shape == value.shape for key, value in out.items() if isinstance(value, np.ndarray))


def flips(specs):
    """The flips of a recipe, those within views as well, each made certain."""
    kept = [s | {"transforms": flips(s["transforms"])} if s["name"] == "views" else s | {"p": 1.0} for s in specs
            if s["name"] in ("flip", "views")]
    return tuple(kept)


@pytest.mark.parametrize("name", ["convirt", "multi_crop", "nnunet"])
def test_a_recipe_mirrors_no_side_that_its_text_names(name):
    key = "volume" if name == "nnunet" else "image"
    picture = EXAMPLES[key]
    change = compose(flips(RECIPES[name](*SIZES[name])["augment"]))
    for text, mirrored in (("Opacity in the left lung.", False), ("Clear lungs.", True)):
        out = change({key: picture, "text": text}, philox(0, 9))
        want = picture[:, :, ::-1] if key == "volume" and mirrored else picture[:, ::-1] if mirrored else picture
        want = want[::-1, ::-1] if key == "volume" else want                         # the other two axes tell no sides
        for one in out[key] if name == "multi_crop" else [out[key]]:
            assert np.array_equal(one, want)
        assert all(np.array_equal(one, want) for one in out.get("image/local", ()))
