"""What every transform promises: it draws from its own generator only, writes into nothing, leaves alone what is not its own, and
refuses what is wrong in one line that names it."""

import inspect

import numpy as np
import pytest

from mmrep.data.rng import apart, philox
from mmrep.data.sources import arrays
from mmrep.data.transforms import TRANSFORMS, compose

# arguments that make each do something, and the keys that it may change
OF = {
    "resize": ({"size": (20, 24)}, "image"), "center_crop": ({"size": 20}, "image"), "crop": ({"size": 20}, "image"),
    "random_crop": ({"size": 20}, "image"), "rotate": ({"degrees": 20.0}, "image"), "affine": ({"degrees": 20.0}, "image"),
    "elastic": ({}, "image"), "clahe": ({}, "image"), "to_channels": ({"channels": 1}, "image"),
    "flip": ({"p": 1.0, "laterality": "ignore"}, "image volume"), "intensity": ({}, "image"),
    "color_jitter": ({"saturation": 0.3}, "image"),
    "to_uint8": ({"percentile": (5, 95)}, "image"), "normalize": ({}, "image"), "standardize": ({}, "image"), "blur": ({"p": 1.0}, "image"),
    "noise": ({"std": 0.2}, "image"), "erase": ({"p": 1.0}, "image"),
    "resize_volume": ({"size": 6}, "volume"), "pad_volume": ({"size": 14}, "volume"), "crop_volume": ({"size": 6}, "volume"),
    "random_crop_volume": ({"size": 6}, "volume"), "sample_patch": ({"size": 6}, "volume"), "rotate90": ({"p": 1.0}, "volume"),
    "crop_signal": ({"length": 60}, "signal"), "pad_signal": ({"length": 120}, "signal"), "resample_signal": ({"length": 50}, "signal"),
    "drop_leads": ({"p": 0.5}, "signal"), "baseline_wander": ({"rate": 100.0, "p": 1.0}, "signal"),
    "powerline": ({"rate": 200.0, "p": 1.0}, "signal"), "scale_signal": ({}, "signal"), "mask_time": ({}, "signal"),
    "bandpass": ({"rate": 100.0}, "signal"), "normalize_signal": ({}, "signal"),
    "scarf": ({}, "tabular category"), "feature_noise": ({}, "features"), "drop_features": ({"p": 0.5}, "features"),
    "sample_tiles": ({"count": 3}, "features"),
    "lowercase": ({}, "text"), "remove_words": ({"words": ("lung",)}, "text"), "sample_sentences": ({}, "text"),
    "shuffle_sentences": ({}, "text"), "remove_priors": ({}, "text"), "choose_section": ({}, "text"), "text_views": ({}, "text"),
    "tokenize": ({"length": 12}, "text"),
    "views": ({"count": 2, "transforms": ({"name": "crop", "size": 20}, {"name": "noise"})}, "image"),
    "each": ({"transforms": ({"name": "crop", "size": 20},)}, "image"), "choose": ({"count": 2}, "image"),
    "drop": ({"keys": ("text",)}, "text"), "drop_modalities": ({"p": 0.9}, "image volume signal text tabular category features"),
}
KEEPS_DTYPE = set(OF) - {"to_uint8", "normalize", "standardize", "tokenize", "normalize_signal"}
TEXT = "FINDINGS: Left lung clear. Heart is unchanged. No effusion.\nIMPRESSION: Normal lung. Nothing acute."


def example(name):
    draw = np.random.default_rng(0)
    u8 = lambda *shape: draw.integers(1, 256, shape).astype(np.uint8)  # noqa: E731
    out = {"image": u8(32, 28, 3), "mask/lung": u8(32, 28, 1), "volume": u8(10, 10, 10, 1), "mask/volume": u8(10, 10, 10, 1),
           "signal": draw.normal(size=(100, 4)).astype(np.float32), "text": TEXT, "tabular": draw.normal(size=6).astype(np.float32),
           "category": draw.integers(0, 3, 4).astype(np.int32), "features": draw.normal(size=8).astype(np.float32),
           "label/class": np.int32(3), "case": np.int32(7)}
    if name in ("each", "choose"):
        out |= {"image": u8(3, 32, 28, 3), "mask/lung": u8(3, 32, 28, 1)}
    if name == "sample_tiles":
        out |= {"features": draw.normal(size=(9, 8)).astype(np.float32), "features/coords": u8(9, 2)}
    for value in out.values():
        if isinstance(value, np.ndarray):
            value.setflags(write=False)  # whoever writes into it ends here
    return out


ROWS = arrays(**{key: np.random.default_rng(1).normal(2, 9, (50, n)).astype(kind) for key, n, kind in (
    ("tabular", 6, np.float32), ("category", 4, np.int32), ("features", 8, np.float32))})


def made(name, **kwargs):
    return compose([{"name": name} | OF[name][0] | kwargs], "config.data.main.augment", lambda: ROWS)


def same(a, b):
    return a.keys() == b.keys() and all(type(a[k]) is type(b[k]) and np.array_equal(a[k], b[k]) for k in a if k != "present")


def test_every_transform_is_here():
    assert OF.keys() == TRANSFORMS.keys()


@pytest.mark.parametrize("name", OF)
def test_it_is_a_function_of_example_and_generator_that_changes_only_its_own(name):
    given, change, own = example(name), made(name), OF[name][1].split()
    before = {key: np.copy(value) for key, value in given.items()}
    outs = [change(given, philox(seed, 9)) for seed in range(8)]
    assert all(np.array_equal(given[key], before[key]) for key in before) and outs[0] is not given
    assert any(not same(out, given) for out in outs)
    assert all(same(change(given, philox(seed, 9)), out) for seed, out in enumerate(outs))
    np.random.seed(0)
    aside = np.random.get_state()[1].copy()
    change(given, philox(0, 9))
    assert np.array_equal(np.random.get_state()[1], aside)                    # the global generator is left alone
    masks = {"image": "mask/lung", "volume": "mask/volume", "features": "mask/features"}
    for out in outs:
        for key in given.keys() - {*own, *(masks.get(key) for key in own), "features/coords"}:
            assert out[key] is given[key], key
        for key in set(own) & out.keys() if name in KEEPS_DTYPE else ():
            assert isinstance(out[key], str | list) or out[key].dtype == given[key].dtype, key
        for key in ("mask/lung", "mask/volume"):
            if key in out and key[5:].replace("lung", "image") in out:
                assert out[key].shape[:-1] == out[key[5:].replace("lung", "image")].shape[:-1] and out[key].dtype == np.uint8


@pytest.mark.parametrize("name", OF)
def test_an_example_without_its_modality_passes_through(name):
    own = set(OF[name][1].split())
    rest = {key: value for key, value in example(name).items() if key not in own}
    if name in ("feature_noise", "scarf"):                                    # nor are training rows read for it
        compose([{"name": name} | OF[name][0]], training=lambda: 1 / 0)(rest, philox(0, 9))
    assert same(made(name)(rest, philox(0, 9)), rest)


def test_generators_apart_are_independent_and_a_composition_is_its_parts():
    first = [rng.random(3).tolist() for rng in apart(philox(0, 9), 4)]
    assert len({tuple(one) for one in first}) == 4
    assert [rng.random(3).tolist() for rng in reversed(apart(philox(0, 9), 2))] == first[1::-1]
    u = np.array([[rng.random() for rng in apart(philox(0, 9, row), 2)] for row in range(3000)])
    assert abs(np.corrcoef(u.T)[0, 1]) < 0.06 and np.abs(u.mean(0) - 0.5).max() < 0.02
    parts = [{"name": "crop", "size": 20}, {"name": "noise"}, {"name": "shuffle_sentences"}]
    flat, nested = compose(parts), compose([compose(parts[:2]), compose(parts[2:])])
    assert same(flat(example(""), philox(2, 9)), nested(example(""), philox(2, 9)))
    assert same(compose([flat, {"name": "lowercase"}])(example(""), philox(2, 9)),
                compose([{"name": "lowercase"}])(flat(example(""), philox(2, 9)), philox(0, 9)))


WRONG = {float: ("half", None, True, float("nan"), -1e9, (1, 2)), int: ("two", 1.5, True, -3), bool: ("no", 1, None),
         tuple: ("ab", 3.5, ()), str: (3, "no such thing", None)}
# what may be so: the name of another field, another number, no file of a tokenizer (which is said as such)
FINE = {(name, key, "no such thing") for name in OF for key in ("key", "mask", "tokenizer")} | {
    ("scarf", "keys", "ab"), ("sample_tiles", "along", "ab"), ("sample_tiles", "along", ()), ("views", "transforms", ()),
    ("each", "transforms", ()), ("normalize", "mean", -1e9), ("normalize", "mean", (1, 2)), ("normalize", "std", (1, 2)),
    ("erase", "fill", 3), ("drop_features", "value", -1e9), ("pad_volume", "value", -1e9), ("sample_patch", "value", -1e9)}


@pytest.mark.parametrize("name", OF)
def test_a_wrong_argument_is_one_line_with_its_path_transform_and_name(name):
    path = "config.data.main.augment[0]"
    for key, parameter in inspect.signature(TRANSFORMS[name]).parameters.items():
        value = OF[name][0].get(key, parameter.default)
        kind = next((kind for kind in (bool, int, float, str, tuple) if isinstance(value, kind)), None)
        for wrong in () if kind is None else WRONG[kind]:
            if (name, key, wrong) not in FINE:
                with pytest.raises(ValueError) as error:
                    made(name, **{key: wrong})
                text = str(error.value)       # the second: of another type than its only one
                assert text.startswith((f"{path}: {name}: {key}", f"{path}.{key}: ", f"{path}: {key}")) and "\n" not in text, text
    with pytest.raises(ValueError, match=rf"^config.data.main.augment\[0\].sizze: {name} takes no 'sizze'"):
        made(name, sizze=3)


@pytest.mark.parametrize("name", sorted(set(OF) - {"drop", "drop_modalities"}))
def test_a_field_of_another_form_is_one_line_with_its_path_and_transform(name):
    own = OF[name][1].split()
    wrong = {"text": np.arange(5, dtype=np.int32)} if own == ["text"] else {key: np.zeros((2, 2, 2, 2, 2, 2), np.float32) for key in own}
    anything = name in ("drop_features",)                                     # any number of axes is right
    for bad in ([wrong] if not anything else []) + ([{key: "x" for key in own}] if own != ["text"] else []):
        with pytest.raises(ValueError, match=rf"^config.data.main.augment\[0\]: {name}: [^\n]*$"):
            made(name, **{"p": 0.0} if name in ("blur", "erase", "rotate90", "affine", "elastic") else {})(bad, philox(0, 9))
