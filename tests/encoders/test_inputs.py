"""What encoders read of a batch: samples, crops, one field or several, and the scale of pixels."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mmrep
from mmrep.core.types import Encoded, View
from mmrep.encoders import ENCODERS
from mmrep.encoders.inputs import complete, fields_of, read, to_float
from mmrep.model import floats, make_encode, scales, towers
from mmrep.train import train
from tests import runs, tiny

B = 4


class Table(nn.Module):
    """An encoder of two fields: numbers and categories."""

    width: int = 8
    dtype: object = jnp.float32
    reads = {"tabular": 1, "category": 1}

    @nn.compact
    def __call__(self, x, keys=None, mask=None, causal=False):
        tokens = nn.Embed(20, self.width, name="kind")(x["category"]) + nn.Dense(self.width)(x["tabular"])[:, None]
        return Encoded(tokens=tokens, mask=jnp.ones(tokens.shape[:2], bool), pooled=tokens.mean(1))


class Bag(Table):
    """Of a bag of tile features f32[B, N, D]."""

    reads = 2


@pytest.mark.parametrize("field, patch, shape, dtype", [("signal", (50,), (100, 3), "f4"), ("volume", (4, 4, 4), (8, 8, 4, 1), "u1")])
def test_signals_and_volumes_are_read_sample_by_sample_volumes_of_bytes_scaled(field, patch, shape, dtype):
    config = tiny.config({}, encoders={field: {"name": "vit", "patch": patch, "width": 8, "depth": 1, "heads": 2}})
    nothing = {"scales": {}, "columns": 0, "cardinalities": (), "masks": ()}
    built = towers(config, 9, 8, nothing)
    views = (np.random.default_rng(0).uniform(0, 255, (B, 2, *shape))).astype(dtype)
    given = (views / np.float32(255) - np.float32(0.5)) / np.float32(0.5) if dtype == "u1" else views
    params = {field: built[field].init(jax.random.key(0), jnp.asarray(given[:, 0]))["params"]}
    encode = jax.jit(make_encode(built, scales(config, nothing)), static_argnums=1)
    for sample in (0, 1):
        found = encode(params, View(field, sample), {field: views}, None)
        alone = encode(params, View(field), {field: given[:, sample]}, None)
        assert found.tokens.shape == (B, 2 if field == "signal" else 4, 8)
        assert np.allclose(found.embedding, alone.embedding, atol=1e-5)


def test_a_sample_that_is_not_there_is_an_error():
    one, two = jnp.zeros((B, 8, 8, 1)), jnp.arange(B * 2 * 64.0).reshape(B, 2, 8, 8, 1)
    image = {"image": 3}
    assert read({"image": one}, View("image"), image).shape == one.shape
    assert np.array_equal(read({"image": two}, View("image", 1), image), two[:, 1])
    assert np.array_equal(read({"image/local": two}, View("image", 1, "local"), image), two[:, 1])
    for x, sample in ((one, 1), (two, 2)):
        with pytest.raises(ValueError, match=f"reads sample {sample} of 'image', of which an example has {sample}"):
            read({"image": x}, View("image", sample), image)
    with pytest.raises(ValueError, match="no 'imagee'; did you mean 'image'"):
        read({"image": one}, View("imagee"), {"imagee": 3})
    both = {"image": 3, "tabular": 1}  # a table beside two views: every view is of the one patient
    found = read({"image": two, "image/local": 2 * two, "tabular": one[:, 0, :, 0]}, View("image", 1, "local"), both)
    assert np.array_equal(found["image"], 2 * two[:, 1]) and found["tabular"].shape == (B, 8)
    with pytest.raises(ValueError, match="reads sample 2 of 'image'"):
        read({"image": two, "tabular": one[:, 0, :, 0]}, View("image", 2), both)


def test_a_modality_is_there_only_with_all_that_its_encoder_reads():
    present = {"image": jnp.array([1, 1, 0], bool), "tabular": jnp.array([1, 0, 1], bool), "text": jnp.ones(3, bool)}
    fields = {"image": {"image": 3, "tabular": 1}, "text": {"text": 1}}
    found = complete({"present": present}, fields)["present"]
    assert found["image"].tolist() == [True, False, False] and found["tabular"].tolist() == [True, False, True]
    several = complete({"present": present | {"image": jnp.ones((3, 2), bool)}}, fields)["present"]["image"]
    assert several.tolist() == [[True] * 2, [False] * 2, [True] * 2]
    assert complete({"index": 1}, fields) == {"index": 1}


def test_a_bag_is_no_row_of_samples_and_several_fields_come_as_a_dict():
    bag = jnp.arange(B * 5 * 3.0).reshape(B, 5, 3)
    assert read({"features": bag}, View("features"), fields_of(Bag(), "features")).shape == (B, 5, 3)
    two = jnp.stack([bag, -bag], 1)
    assert np.array_equal(read({"features": two}, View("features", 1), fields_of(Bag(), "features")), -bag)
    whole = read({"tabular": bag[:, 0], "category": bag[:, 1], "image": bag}, View("tabular"), fields_of(Table(), "tabular"))
    assert set(whole) == {"tabular", "category"}
    assert read({"signal": bag}, View("signal"), fields_of(object(), "signal")).shape == bag.shape  # says nothing: read whole


def test_pixels_are_scaled_by_modality_and_channel():
    x = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(1, 2, 2, 3)
    assert np.allclose(to_float(jnp.asarray(x), (0.1, 0.2, 0.3), (1.0, 2.0, 4.0)), (x / 255 - [0.1, 0.2, 0.3]) / [1, 2, 4], atol=1e-6)
    assert np.array_equal(to_float(jnp.ones(3)), np.ones(3))
    two = floats({"image": jnp.asarray(x), "mask/lesion": jnp.asarray(x)}, "image", {"image": {"mean": 0.0, "std": 1.0}})
    assert np.array_equal(two["mask/lesion"], x) and two["image"].max() < 1  # a mask's numbers are no pixels
    inputs = {"image": {"mean": 0.25, "std": 2.0}}
    a, b = (tiny.value_and_grads(tiny.config(runs.CLIP, inputs=i))[0] for i in ({}, inputs))
    assert a != b
    for bad, said in (({"image": {"std": 0.0}}, "config.inputs.image.std: 0.0 is not above 0"),
                      ({"image": {"men": 0.5}}, "config.inputs.image.men: unknown key; did you mean 'mean'"),
                      ({"imag": {"mean": 0.5}}, "config.inputs.imag: there is no such encoder; did you mean 'image'")):
        with pytest.raises(ValueError, match=said):
            tiny.on_mesh(tiny.config(runs.CLIP, inputs=bad), (1, 1, 1))


def test_an_encoder_of_two_fields_trains_in_micro_batches_is_judged_and_loaded(tmp_path, monkeypatch):
    monkeypatch.setitem(ENCODERS, "table", Table)
    source = {"name": "phantom", "n": 64, "size": 32, "modalities": ("image", "tabular"), "missing": {"tabular": 0.2}}
    c = runs.config(objectives={"clip": {"name": "contrastive", "b": "tabular"}}, micro=2, total="2 steps",
                    encoders={"image": runs.TOWERS["image"], "tabular": {"name": "table"}},
                    data={"main": {"source": source, "batch": 16}},
                    evals={"p": {"name": "probe", "label": "class", "modality": "tabular", "fractions": (1.0,)}})
    whole, parts = (tiny.value_and_grads(c.copy_and_resolve_references().unlock(), micro=m) for m in (1, 2))
    assert np.isclose(whole[0], parts[0], rtol=1e-5)
    tiny.assert_close(whole[1], parts[1])
    results = train(c, tmp_path, shared={}, say=lambda text: None)
    assert 0 <= results["metrics"]["probe/class:tabular/accuracy"]["value"] <= 1
    model, params, _ = mmrep.load(tmp_path)
    encoded = model["encode"](params, "tabular", {"tabular": np.ones((2, 10), np.float32), "category": np.ones((2, 6), np.int32)})
    assert encoded.embedding.shape == (2, 16)
    with pytest.raises(ValueError, match="the data have no 'category'"):
        model["encode"](params, "tabular", np.ones((2, 10), np.float32))


def test_a_notebook_is_told_what_an_encoder_would_take_for_something_else(tmp_path):
    train(runs.config(total="1 steps"), tmp_path, shared=runs.SHARED, say=lambda text: None)
    model, params, _ = mmrep.load(tmp_path)
    pixels = np.full((2, 32, 32, 1), 200, np.uint8)
    encode = lambda x, m="image": model["encode"](params, m, x).embedding  # noqa: E731
    assert encode(pixels).shape == (2, 16) and jax.jit(encode)(pixels / np.float32(128) - 1).shape == (2, 16)
    for x, said in (({"image": pixels.astype(np.uint16)}, "image is uint16; the run reads uint8"),
                    (pixels.astype(np.int64), "image is int64; the run reads uint8"), (pixels.astype(float), "values from 200 to 200"),
                    (pixels / 255, "values from 0.7843 to 0.7843; floats are taken as standardized"),
                    (pixels * np.nan, "not finite"), (pixels[:0], "holds nothing"),
                    (pixels[0], r"add the first axis, e.g. x\[None\]"), (np.repeat(pixels, 3, -1), "has 3 channels, the run's 1")):
        with pytest.raises(ValueError, match=said):
            encode(x)
    one = model["texts"](params, "mild opacity")
    assert np.array_equal(one, model["texts"](params, ["mild opacity"])) and one.shape == (1, 16)
    assert np.allclose(one, encode("mild opacity", "text"), atol=1e-6)
    assert np.array_equal(model["tokenize"]("a"), model["tokenize"](["a"]))


def test_two_encoders_read_one_modality(tmp_path):
    towers = {"image": runs.TOWERS["image"], "coarse": runs.TOWERS["image"] | {"field": "image", "patch": (16, 16)}}
    terms = {"views": {"name": "contrastive", "a": "image", "b": "coarse"}}
    config = runs.config(objectives=terms, **{
        "encoders": towers, "total": "2 steps",
        "data.main.source": {"name": "phantom", "n": 64, "size": 32, "modalities": ("image", "text"), "missing": {"image": 0.2}},
        "evals": {"retrieval": {"name": "retrieval", "pair": ("image", "coarse")}, "p": {"name": "probe", "label": "class",
                                                                                       "modality": "coarse"}}})
    results = train(config, tmp_path, say=lambda text: None)
    held = results["metrics"]["retrieval/image_to_coarse/R@1/instance"]["n"]
    assert 0 < held < 64 and results["metrics"]["probe/class:coarse/auroc"]["n"] == held  # both absent where the image is
    model, params, _ = mmrep.load(tmp_path)
    pixels = np.zeros((2, 32, 32, 1), np.uint8)
    assert [model["encode"](params, name, pixels).tokens.shape[1] for name in towers] == [16, 4]
    with pytest.raises(ValueError, match=r"config.encoders.text: no stream of config.data gives 'txet'; .* with `field`"):
        tiny.on_mesh(tiny.config(terms, encoders=towers | {"text": runs.TOWERS["text"] | {"field": "txet"}}), (1, 1, 1))
