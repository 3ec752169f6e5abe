"""The report's page: what is packed into it, and that no text can leave its place. `test_page_browser.py` clicks through it."""

import base64
import copy
import io
import json
import math
import re

import numpy as np
import pytest
from PIL import Image

from mmrep.sweeps.page import packed, page, short, thumbnail
from tests.sweeps.report_data import fake, one_run


def data_of(text):
    """What the script of a page reads."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


# ---- what is packed into it -----------------------------------------------------------------------------------------

def test_numbers_are_short_and_never_nan():
    assert short([0.123456789, 1234567.8, 1 / 3 * 1e-7, 5.0]) == [0.12346, 1234600, 3.3333e-08, 5]
    assert short([4800123, True, None, "x"]) == [4800123, True, None, "x"]
    assert short({"a": (math.nan, math.inf, -math.inf)}) == {"a": [None, None, None]}
    run = one_run(values={"top1": [math.nan, math.nan, math.nan, 10]}, axes={"lr": 0.123456789})
    found = data_of(page(run | {"axes": ["lr"]}))
    assert found["runs"][0]["values"] == [[None, None, None, 10]]
    assert found["runs"][0]["axes"] == {"lr": 0.123456789}  # a setting is not rounded


def test_lists_that_runs_share_are_stored_once():
    data = fake(lrs=(1e-3,), losses=("softmax", "local"), encoders=("vit",), batches=(64,), seeds=2, metrics=5, rows=8)
    before = copy.deepcopy(data)
    found = packed(data)
    assert str(data) == str(before)  # the caller's data stay as they are
    steps = {run["curve"]["step"] for run in found["runs"]}
    assert len(steps) == 1 and found["pool"][steps.pop()] == data["runs"][0]["curve"]["step"]
    assert len({run["map"]["rows"] for run in found["runs"]}) == 1
    assert [v[0] for v in found["runs"][1]["values"]] == short([data["runs"][1]["values"][m][0] for m in data["metrics"]])
    assert found["runs"][1]["controls"]["untrained"] == short(list(data["runs"][1]["controls"]["untrained"].values()))


def test_metrics_that_are_not_listed_are_kept():
    found = packed(one_run(values={"top1": [0.5, 0.4, 0.6, 10], "late": [1.0, 1.0, 1.0, 1]}))
    assert found["metrics"] == ["top1", "late"] and found["runs"][0]["values"][1] == [1, 1, 1, 1]
    assert packed(one_run(values={}))["runs"][0]["values"] == []


def test_no_text_can_leave_its_place():
    bad = "</script><script>document.title = 'bad'</script><!--data--><!--css--> \u2028\u2029 <img src=x onerror=alert(1)> &amp;"
    text = page(one_run(tag=bad, error=bad) | {"study": bad})
    assert data_of(text)["runs"][0]["tag"] == bad and data_of(text)["study"] == bad
    assert text.count("</script>") == 2 and "<img src=x" not in text
    assert not {"<", "\u2028", "\u2029"} & set(re.search(r'id="data">(.*?)</script>', text, re.S)[1])


def test_nothing_is_loaded_from_elsewhere():
    text = page(one_run())
    assert set(re.findall(r"https?://[^\"'` ]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<link|@import|<script[^>]+src=|url\((?!#)", text) and "default-src 'none'" in text


def pixels(uri):
    assert uri.startswith("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))))


def test_thumbnails():
    rng = np.random.Generator(np.random.Philox(0))
    image = rng.integers(0, 256, (40, 30, 1), np.uint8)
    assert np.array_equal(pixels(thumbnail(image)), image[:, :, 0])  # small ones as they are
    assert np.array_equal(pixels(thumbnail(image[:, :, 0])), image[:, :, 0])
    assert pixels(thumbnail(rng.integers(0, 256, (200, 100, 3), np.uint8))).shape == (48, 24, 3)
    volume = np.zeros((9, 20, 20, 1), np.uint8)
    volume[4] = 7
    assert (pixels(thumbnail(volume)) == 7).all() and (pixels(thumbnail(volume[..., 0])) == 7).all()
    assert np.ptp(pixels(thumbnail(np.linspace(0, 4095, 400).reshape(20, 20).astype(np.uint16)))) == 255
    assert pixels(thumbnail(rng.random((8, 8, 2)).astype(np.float32))).shape == (8, 8)


@pytest.mark.parametrize("leads", [1, 12])
def test_a_signal_is_a_drawing_of_lines(leads):
    wave = np.sin(np.linspace(0, 20, 5000))[:, None].repeat(leads, 1).astype(np.float32)
    drawn = pixels(thumbnail(wave))
    assert drawn.shape == (48, 48) and drawn.min() < 120 and np.median(drawn) > 200
    assert (drawn.min(0) < 200)[2:-2].all()  # the line runs through from left to right
    assert pixels(thumbnail(np.full((10, 1), np.nan, np.float32))).shape == (48, 48)


def test_a_thumbnail_of_nothing_is_an_error():
    for shape in ((0, 4), (), (2, 2, 2, 2, 2)):
        with pytest.raises(ValueError, match="no image, volume or signal"):
            thumbnail(np.zeros(shape, np.uint8))
