"""Augmentation on the device: what each does, and that it depends on the example and the view alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mmrep
from mmrep.augment import AUGMENTS, augment
from mmrep.core.types import View
from mmrep.model import make_encode, scales, towers
from mmrep.train import train
from mmrep.validate import check_augment
from tests import runs, tiny

PARTS = {"flip": {"axis": 0, "p": 0.5}, "shift": {"most": 0.3}, "crop": {}, "intensity": {}, "gain": {}, "noise": {"std": 0.1},
         "cutout": {}, "drop_channels": {"p": 0.5}}
NOTHING = {"scales": {}, "columns": 0, "cardinalities": (), "masks": ()}


def keys(n, first=0):
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), first + jnp.arange(n))


def pixels(*shape):
    return jax.random.uniform(jax.random.key(1), shape)


def apply(name, x, of=None, **options):
    specs = ({"name": name} | options,)
    return np.asarray(jax.jit(augment(specs, "config.inputs.x.augment"))(x, keys(len(x)) if of is None else of))


@pytest.mark.parametrize("name", AUGMENTS)
@pytest.mark.parametrize("shape", [(24, 3), (12, 8, 2), (6, 8, 4, 2)])
def test_each_is_of_the_example_s_key_alone_for_signals_images_and_volumes(name, shape):
    x, options = pixels(8, *shape), PARTS[name]
    whole = apply(name, x, **options)
    assert whole.shape == x.shape and np.isfinite(whole).all() and not np.array_equal(whole, x)
    order = np.array([5, 0, 7, 2])
    assert np.array_equal(apply(name, x[order], keys(8)[order], **options), whole[order])
    same = apply(name, jnp.repeat(x[:1], 64, 0), **options)
    assert len(np.unique(same.reshape(64, -1), axis=0)) > 1


def test_geometry_beside_numpy():
    x = pixels(200, 10, 8, 1)
    n = np.asarray(x)
    flipped = apply("flip", x, axis=1, p=0.25)
    turned = np.array([np.array_equal(a, b[:, ::-1]) for a, b in zip(flipped, n)])
    assert np.array_equal(flipped[~turned], n[~turned]) and abs(turned.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 200)
    moved, seen = apply("shift", x, most=0.2), set()
    for a, b in zip(moved, n):  # 2 rows and 2 columns at most
        found = [(i, j) for i in range(-2, 3) for j in range(-2, 3)
                 if np.array_equal(a, b[np.clip(np.arange(10) + i, 0, 9)][:, np.clip(np.arange(8) + j, 0, 7)])]
        assert len(found) == 1
        seen.update(found)
    assert len(seen) == 25
    ramp = jnp.broadcast_to(jnp.arange(16.0)[:, None], (50, 16, 1))  # of a straight line, a box is a line of smaller slope
    cropped = apply("crop", ramp, low=0.25, high=0.5)[:, 1:-1, 0]
    slope = np.diff(cropped, axis=1)
    assert np.allclose(slope, slope[:, :1], atol=1e-4) and 0.25 <= slope.min() < 0.3 and 0.45 < slope.max() <= 0.5 + 1e-4
    assert cropped.min() >= 0 and cropped.max() <= 15
    assert np.allclose(apply("crop", x, low=1.0), n, atol=1e-6)


def test_values_beside_numpy():
    x = pixels(300, 12, 3)
    n = np.asarray(x)
    ratio = apply("gain", x, low=0.5, high=2.0) / n
    assert np.allclose(ratio, ratio[:, :1, :1], rtol=1e-4) and 0.5 <= ratio.min() < 0.52 and 1.9 < ratio.max() <= 2.001
    assert abs(np.log(ratio[:, 0, 0]).mean()) < 4 * np.log(2) / np.sqrt(3 * 300)
    kept = apply("drop_channels", x, p=0.6)
    gone = (kept == 0).all(1)
    assert np.array_equal(kept, np.where(gone[:, None], 0, n)) and not gone.all(1).any()
    assert np.isclose(gone.mean(), 0.6 - 0.6**3 / 3, atol=0.07)  # one is left where all would go
    cut = apply("cutout", x, size=0.25)
    for a, b in zip(cut, n):
        inside = np.flatnonzero((a != b).any(1))
        assert len(inside) == 3 and np.ptp(inside) == 2 and np.allclose(a[inside], b.mean(0), atol=1e-6)
    assert np.array_equal(apply("cutout", x, p=0.0), n)
    noise = apply("noise", x, std=0.5) - n
    assert abs(noise.mean()) < 0.02 and np.isclose(noise.std(), 0.5 / np.sqrt(3), atol=0.03)
    assert np.allclose(apply("intensity", x, gain=0.0, offset=0.0, gamma=0.0), n, atol=1e-5)
    grown = apply("intensity", x)
    assert grown.min() >= 0 and grown.max() <= 1 and (np.diff(grown[0, np.argsort(n[0, :, 0]), 0]) >= 0).all()  # one curve for all pixels


# ---- in a run ------------------------------------------------------------------------------------------------------

def config(**changes):
    parts = ({"name": "crop", "low": 0.6}, {"name": "intensity"}, {"name": "noise"})
    return runs.config(**{"inputs": {"image": {"mean": 0.42, "std": 0.15, "augment": parts}}} | changes)


@pytest.mark.parametrize("shape, micro", [((8, 1, 1), 2), pytest.param((2, 2, 2), 1, marks=pytest.mark.slow)])
def test_it_is_the_same_on_any_mesh_and_in_micro_batches(shape, micro):
    c = lambda **k: config(**k).copy_and_resolve_references().unlock()  # noqa: E731
    value, grads = tiny.value_and_grads(c())
    other, parts = tiny.value_and_grads(c(), shape, micro)
    assert np.isclose(value, other, rtol=1e-5)
    tiny.assert_close(grads, parts, 1e-4)
    plain, _ = tiny.value_and_grads(c(inputs={"image": {"mean": 0.42, "std": 0.15}}))
    assert abs(plain - value) > 1e-4


def test_views_differ_in_their_draws_equal_ones_share_a_forward_pass_and_evaluation_has_none(tmp_path):
    from mmrep.core.step import _encoder

    c = config()
    built, inputs = towers(c, 300, 24, NOTHING), scales(c, NOTHING)
    calls = []
    encode = make_encode(built, inputs)
    one = np.asarray(pixels(1, 32, 32, 1) * 255).astype(np.uint8)
    batch = {"image": jnp.asarray(np.stack([one, one], 1).repeat(3, 0)), "index": jnp.arange(3)}  # two samples, alike
    params = {"encoders": {"image": built["image"].init(jax.random.key(0), jnp.zeros((1, 32, 32, 1)))["params"]}}

    def counted(*args):
        calls.append(args[1])
        return encode(*args)

    def embeddings(rng):
        encoded = _encoder(counted, params, {"teacher": params}, batch, rng)
        views = (View("image", 0), View("image", 0), View("image", 1), View("image", 0, net="teacher"))
        return [np.asarray(encoded(view).embedding) for view in views]

    first, again, second, teacher = embeddings(jax.random.key(3))
    assert len(calls) == 3 and first is not None and np.array_equal(first, again)
    assert np.abs(first - second).max() > 1e-3 and np.array_equal(first, teacher)  # student and teacher see the same
    assert np.abs(first[0] - first[1]).max() > 1e-3  # two examples, too
    assert np.abs(embeddings(jax.random.key(4))[0] - first).max() > 1e-3  # another step
    plain = make_encode(built, scales(config(inputs={"image": {"mean": 0.42, "std": 0.15}}), NOTHING))
    assert np.array_equal(embeddings(None)[0], plain(params["encoders"], View("image"), batch, None).embedding)


@pytest.mark.slow
def test_a_run_with_it_is_opened_again_without(tmp_path):
    train(config(total="1 steps"), tmp_path, shared={}, say=lambda text: None)
    model, params, _ = mmrep.load(tmp_path)
    x = np.asarray(pixels(2, 32, 32, 1) * 255).astype(np.uint8)
    standard = (x / np.float32(255) - np.float32(0.42)) / np.float32(0.15)
    assert np.allclose(model["encode"](params, "image", x).embedding, model["encode"](params, "image", standard).embedding, atol=1e-5)


@pytest.mark.parametrize("parts, said", [
    (({"name": "crpo"},), r"config.inputs.image.augment\[0\].name: unknown 'crpo'; did you mean 'crop'"),
    (({"name": "crop", "lo": 1},), r"config.inputs.image.augment\[0\].lo: crop takes no 'lo'; did you mean 'low'"),
    (({"name": "gain"}, {"name": "crop", "low": 0.0}), r"augment\[1\]: crop: low: 0.0 is not in \(0, 1.0\]"),
    ({"name": "gain"}, "needs a tuple of"),
    (({"name": "flip", "axis": 2},), "flip: axis 2 of 2 spatial axes"),
    (({"name": "flip", "axis": 1, "p": 0.5},), r"augment\[0\]: flip would mirror left and right beside texts.*laterality='ignore'"),
    (({"name": "flip", "axis": 0, "laterality": "keep"},), "flip: laterality 'keep' is not 'refuse' or 'ignore'"),
    (({"name": "shift"},), r"augment\[0\]: shift would move image away from 'mask/image'")])
def test_what_cannot_be_is_named_with_its_config_path(parts, said):
    source = {"name": "phantom", "n": 64, "size": 32, "modalities": ("image", "text"), "masks": "shift" in said}
    c = tiny.config(runs.CLIP, inputs={"image": {"augment": parts}}, **{"data.main.source": source})
    with pytest.raises(ValueError, match=said):
        tiny.on_mesh(c, (1, 1, 1))


def test_a_flip_beside_texts_is_refused_for_several_samples_of_a_row_too():
    flips = config(inputs={"image": {"augment": ({"name": "flip", "axis": 1, "p": 0.5},)}})
    for shape in ((32, 32, 1), (2, 32, 32, 1)):
        with pytest.raises(ValueError, match="would mirror left and right"):
            check_augment(flips, {"main": {"image": (shape, np.dtype("u1")), "text": ((5,), np.dtype("i4"))}})


def test_flips_that_mirror_no_side_or_are_asked_for_stand_beside_texts():
    source = {"name": "phantom", "n": 64, "size": 32, "modalities": ("image", "text")}
    flips = ({"axis": 0, "p": 0.5}, {"axis": 1}, {"axis": 1, "p": 0.5, "laterality": "ignore"})
    parts = tuple({"name": "flip", **flip} for flip in flips)
    tiny.on_mesh(tiny.config(runs.CLIP, inputs={"image": {"augment": parts}}, **{"data.main.source": source}), (1, 1, 1))
