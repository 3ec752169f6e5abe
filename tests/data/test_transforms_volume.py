"""Volumes: resampling against Pillow and block means, masks moving along, patches where and as often as asked."""

import numpy as np
import pytest

from mmrep.data.rng import philox
from mmrep.data.transforms import TRANSFORMS, compose
from mmrep.data.transforms.geometry import resample
from mmrep.data.transforms.volume import resample_volume


def run(name, example, seed=0, **kwargs):
    return TRANSFORMS[name](**kwargs)(example, philox(seed, 9))


def scene(shape=(12, 10, 8), seed=0):
    volume = np.random.default_rng(seed).integers(0, 256, (*shape, 1)).astype(np.uint8)
    return {"volume": volume, "mask/volume": (volume > 127).astype(np.uint8), "mask/organ": volume // 100, "text": "clear"}


def test_resampling_is_the_block_mean_and_what_pillow_does_slice_by_slice():
    volume = np.random.default_rng(0).random((8, 12, 6, 2), np.float32)
    mean = volume.reshape(4, 2, 4, 3, 2, 3, 2).mean((1, 3, 5))
    np.testing.assert_allclose(resample_volume(volume, (4, 4, 2)), mean, atol=1e-6)
    for h, w in ((6, 4), (20, 9), (12, 5)):
        want = np.stack([resample(plane, h, w, "bilinear") for plane in volume])
        np.testing.assert_allclose(resample_volume(volume, (8, h, w), "linear"), want, atol=1e-5)
    ramp = np.broadcast_to(np.arange(8, dtype=np.float32)[:, None, None, None], (8, 4, 4, 1))
    np.testing.assert_allclose(resample_volume(ramp, (16, 4, 4), "linear")[1:-1, 0, 0, 0], np.arange(1, 15) / 2 - 0.25, atol=1e-6)
    for size in ((3, 17, 5), (16, 1, 7)):
        assert (resample_volume(np.full((8, 8, 8, 1), 200, np.uint8), size) == 200).all()
    assert set(np.unique(resample_volume(np.array([0, 7], np.uint8).reshape(2, 1, 1, 1), (5, 3, 3), "nearest"))) == {0, 7}


@pytest.mark.parametrize("name,kwargs", [
    ("crop_volume", {"size": (6, 4, 8)}), ("crop_volume", {"size": 4, "random": False}), ("pad_volume", {"size": 14}),
    ("sample_patch", {"size": (14, 5, 5)}), ("flip", {"axis": "depth", "p": 1.0}), ("flip", {"axis": "horizontal", "p": 1.0}),
    ("rotate90", {"plane": "axial", "p": 1.0}), ("rotate90", {"plane": "coronal", "p": 1.0})])
def test_masks_move_with_their_volume(name, kwargs):
    example = scene((9, 9, 9) if name == "rotate90" else (12, 10, 8))
    example["image"], example["mask/image"] = np.ones((9, 9, 1), np.uint8), np.eye(9, dtype=np.uint8)[..., None]
    example["volume"].setflags(write=False)
    out = run(name, example, 5, **kwargs)
    assert np.array_equal(out["mask/volume"], out["volume"] > 127) and np.array_equal(out["mask/organ"], out["volume"] // 100)
    assert out["volume"].dtype == np.uint8 and not np.array_equal(out["volume"], example["volume"])
    if name != "flip":
        assert out["image"] is example["image"] and out["mask/image"] is example["mask/image"]
    assert np.array_equal(out["volume"], run(name, example, 5, **kwargs)["volume"])
    assert run(name, {"text": "x"}, **kwargs) == {"text": "x"}


def test_crops_lie_anywhere_and_the_middle_one_in_the_middle():
    at = np.stack(np.meshgrid(np.arange(5), np.arange(4), np.arange(3), indexing="ij"), -1).astype(np.uint8)
    starts = {tuple(run("crop_volume", {"volume": at}, s, size=(3, 2, 2))["volume"][0, 0, 0]) for s in range(300)}
    assert starts == {(z, y, x) for z in range(3) for y in range(3) for x in range(2)}
    assert run("crop_volume", {"volume": at}, size=(3, 2, 1), random=False)["volume"][0, 0, 0].tolist() == [1, 1, 1]
    boxes = [run("random_crop_volume", {"volume": at}, s, size=(2, 2, 2), scale=(0.3, 0.3))["volume"].shape for s in range(5)]
    assert set(boxes) == {(2, 2, 2, 3)}
    turned = {run("rotate90", {"volume": np.arange(4, dtype=np.uint8).reshape(1, 2, 2, 1)}, s, p=1)["volume"].tobytes() for s in range(40)}
    assert len(turned) == 3
    with pytest.raises(ValueError, match="the volume is 5x4x3, the crop 6x2x2; pad_volume"):
        run("crop_volume", {"volume": at}, size=(6, 2, 2))
    with pytest.raises(ValueError, match="axial plane of the volume is 4x3; make it square"):
        run("rotate90", {"volume": at}, p=1.0)


def test_patches_hold_the_foreground_as_often_as_asked_and_classes_alike():
    labels = np.zeros((30, 30, 30, 1), np.uint8)
    labels[2, 3, 4] = 1                       # one voxel of a class, 1,000 of the other
    labels[15:25, 15:25, 15:25] = 2
    example = {"volume": labels.astype(np.float32), "mask/tumor": labels}
    centers = []
    for seed in range(600):
        out = run("sample_patch", example, seed, size=(5, 5, 5), foreground=1.0, mask="tumor")
        assert out["volume"].shape == (5, 5, 5, 1) and np.array_equal(out["volume"], out["mask/tumor"])
        centers.append(int(out["mask/tumor"][2, 2, 2, 0]))
    # the center is the voxel drawn, but near a rim (here: none is)
    assert set(centers) == {1, 2} and abs(np.mean(np.array(centers) == 1) - 0.5) < 3 * 0.5 / np.sqrt(600)
    only = [run("sample_patch", example, s, size=5, foreground=1.0, mask="tumor", classes=(2,))["mask/tumor"][2, 2, 2] for s in range(40)]
    assert {int(center[0]) for center in only} == {2}
    hits = [(run("sample_patch", example, s, size=1, foreground=1 / 3, mask="tumor")["mask/tumor"] > 0).any() for s in range(900)]
    assert abs(np.mean(hits) - (1 / 3 + 2 / 3 * 1001 / 27000)) < 3 * np.sqrt(0.36 * 0.64 / 900)
    alone = [run("sample_patch", {"volume": np.zeros((6, 4, 4, 1), np.uint8)}, s, size=5, value=3)["volume"] for s in range(3)]
    assert all(one.shape == (5, 5, 5, 1) and (one == 3).sum() == 125 - 80 for one in alone)  # padded, and no mask needed
    with pytest.raises(ValueError, match="sample_patch: class 0 is what is no foreground"):
        run("sample_patch", example, size=5, classes=(0, 1))


def test_values_of_volumes_by_key():
    hu = np.array([-2000, -160, 40, 240, 3000], np.float32).reshape(5, 1, 1, 1)
    assert run("to_uint8", {"volume": hu}, window=(-160, 240), key="volume")["volume"].ravel().tolist() == [0, 0, 128, 255, 255]
    example = scene()
    steps = [{"name": "intensity", "gain": 0, "offset": 0, "gamma": 0, "key": "volume"}, {"name": "noise", "std": 0.0, "key": "volume"},
             {"name": "blur", "sigma": (0, 0), "p": 1.0, "key": "volume"}]
    assert np.array_equal(compose(steps)(example, philox(0, 9))["volume"], example["volume"])
    point = np.zeros((9, 9, 9, 1), np.float32)
    point[4, 4, 4] = 1
    soft = run("blur", {"volume": point}, sigma=(1, 1), p=1, key="volume")["volume"]
    assert np.allclose(soft.sum(), 1, atol=1e-4) and np.allclose(soft, soft.transpose(1, 2, 0, 3)) and soft[4, 4, 4, 0] < 0.1
    values = np.random.default_rng(0).normal(7, 3, (16, 16, 16, 1)).astype(np.float32)
    values[:8] = 0                            # air
    out = run("standardize", {"volume": values}, above=0.0, percentile=(0, 100), key="volume")["volume"]
    inside = values > 0
    np.testing.assert_allclose(out[inside], (values[inside] - values[inside].mean()) / values[inside].std(), atol=1e-4)
    by_mask = run("standardize", {"volume": values, "mask/organ": inside.astype(np.uint8)}, mask="organ", percentile=(0, 100), key="volume")
    np.testing.assert_allclose(by_mask["volume"], out, atol=1e-5)
    assert np.isfinite(run("standardize", {"volume": np.full((4, 4, 4, 1), 9, np.uint8)}, key="volume")["volume"]).all()
    with pytest.raises(ValueError, match="standardize: there is no mask/liver; name a mask of the volume"):
        run("standardize", {"volume": values}, mask="liver", key="volume")


def test_wrong_arguments_and_shapes_are_named():
    for name, kwargs, message in [("resize_volume", {"size": (8, 8)}, r"resize_volume: size: \(8, 8\) is no .* nor \(depth, height"),
                                  ("resize_volume", {"size": 8, "method": "cubic"}, "method 'cubic' is not one of area"),
                                  ("crop_volume", {"size": 0}, "crop_volume: size: 0 is no"),
                                  ("rotate90", {"plane": "side"}, "plane 'side'"),
                                  ("sample_patch", {"size": 8, "foreground": 2}, "sample_patch: foreground: 2 is not in"),
                                  ("standardize", {"percentile": (99, 1)}, "standardize: percentile .* no pair")]:
        with pytest.raises(ValueError, match=f"config.x\\[0\\]: .*{message}"):
            compose(({"name": name, **kwargs},), "config.x")
    example = scene() | {"mask/organ": np.zeros((3, 3, 3, 1), np.uint8)}
    with pytest.raises(ValueError, match=r"mask/organ is \[3, 3, 3, 1\] and the volume \[12, 10, 8, 1\]; a mask needs the extent"):
        run("crop_volume", example, size=4)
    with pytest.raises(ValueError, match=r"the volume has shape \(2, 4, 4, 4, 1\), not \[D, H, W, C\]"):
        run("crop_volume", {"volume": np.zeros((2, 4, 4, 4, 1))}, size=4)


def test_real_volumes_get_patches_of_their_organ(shared):
    with np.load(shared / "data" / "msd_hippocampus" / "volumes.npz", allow_pickle=False) as arrays:
        image, mask = arrays["images"][0][..., None], arrays["masks"][0][..., None]
    example = {"volume": image, "mask/hippocampus": mask}
    found = [run("sample_patch", example, s, size=16, foreground=1.0, mask="hippocampus")["mask/hippocampus"].any() for s in range(20)]
    assert all(found)
