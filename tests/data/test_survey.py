"""What reading shows of data: rows that cannot be read, pixels that are nearly black to the model."""

import ast

import numpy as np
import pytest
from PIL import Image

from mmrep.data import survey
from mmrep.data.batches import probe
from mmrep.data.manifest import manifest
from mmrep.data.sources import arrays
from mmrep.data.transforms import compose


@pytest.fixture
def folder(tmp_path):
    """Ten 12-bit pictures stored in 16 bits, one of them cut short."""
    rng = np.random.default_rng(0)
    for i in range(10):
        Image.fromarray(rng.integers(0, 4096, (8, 8), dtype=np.uint16)).save(tmp_path / f"{i}.png")
    whole = (tmp_path / "7.png").read_bytes()
    (tmp_path / "7.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "t.csv").write_text("image,split\n" + "".join(f"{i}.png,train\n" for i in range(10)))
    return tmp_path


def test_every_unreadable_row_is_found(folder):
    tried, bad = survey.unreadable(manifest(folder / "t.csv", "train", columns={"image": "image"}, bits=16), 100)
    assert tried == 10 and len(bad) == 1 and "t.csv row 7 (line 9): image '7.png'" in str(bad[0])
    tried, bad = survey.unreadable(manifest(folder / "t.csv", "train", columns={"image": "image"}), 4)
    assert tried == 4 and "16 bits a pixel; set bits=16" in str(bad[0]) and "to_uint8" in str(bad[0])


def test_pixels_far_from_standard_are_told_with_what_to_set(folder):
    source = manifest(folder / "t.csv", "train", columns={"image": "image"}, bits=16)
    found = survey.pixels(source, compose(()), {"image": {}, "text": {}})
    mean, std, got_mean, got_std = found["image"]
    assert np.isclose(mean, 2047.5 / 65535, rtol=0.05) and np.isclose(got_std, std / 0.5)
    (line,) = survey.odd_scale("main", found)
    assert line.startswith("config.data.main: the encoder gets image pixels of mean -0.94 and std 0.04") and "to_uint8" in line
    scale = {"image": {"mean": mean, "std": std}}
    assert survey.odd_scale("main", survey.pixels(source, compose(()), scale)) == []
    window = compose([{"name": "to_uint8", "window": (0, 4095)}])
    assert survey.odd_scale("main", survey.pixels(source, window, {"image": {}})) == []
    raw = survey.pixels(source, compose([{"name": "normalize", "mean": 0.5, "std": 0.001}]), {"image": {}})
    (line,) = survey.odd_scale("main", raw)
    advice = line[line.index("put {") + 4:line.index("}") + 1]
    whole = survey.pixels(source, compose([{"name": "normalize", "mean": 0.5, "std": 0.001}, ast.literal_eval(advice)]), {"image": {}})
    assert line.endswith("last in config.data.main.prepare") and survey.odd_scale("main", whole) == []
    flat = {"image": (0.5, 0.0, 0.0, 0.0)}
    assert "they are constant: look at `mmrep data show`" in survey.odd_scale("main", flat)[0]


def test_rows_of_another_shape_are_found(folder):
    Image.fromarray(np.zeros((8, 9), np.uint16)).save(folder / "3.png")
    source = manifest(folder / "t.csv", "train", columns={"image": "image"}, bits=16, on_error="skip")
    spec = probe(source)
    tried, bad = survey.unreadable(source, 100, compose(()), spec)
    assert tried == 10 and len(bad) == 2 and "image is (8, 9, 1) where the batch has (8, 8, 1); add resize" in str(bad[0])
    assert len(survey.unreadable(source, 100, compose([{"name": "resize", "size": 8}]), spec)[1]) == 1


def test_absent_samples_are_no_pixels():
    pictures = np.full((6, 2, 4, 4, 1), 128, np.uint8)
    pictures[::2, 1] = 0
    source = arrays(image=pictures)
    found = survey.pixels(source, lambda example, rng: {**example, "present": {"image": example["image"].any((1, 2, 3))}}, {"image": {}})
    assert np.allclose(found["image"][:2], (128 / 255, 0))


def test_truncated_texts_are_counted():
    class Letters:
        @staticmethod
        def lengths(found):
            return np.array([len(t) for t in found])

    source = arrays(text=["a" * 10] * 3 + ["b" * 70], image=np.zeros((4, 2, 2, 1), np.uint8))
    assert survey.truncated(survey.some_texts(source), Letters, 20) == (0.5, 0.25, 4)
