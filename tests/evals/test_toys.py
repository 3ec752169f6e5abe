"""Evaluators of the toy studies on features whose answer is known."""

import numpy as np
import pytest

from mmrep.evals.identify import identify
from mmrep.evals.projection import projection
from mmrep.evals.spectrum import spectrum


def features(seed, n=400, **more):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 4))
    x = np.concatenate([z[:, :2], rng.normal(size=(n, 2))], 1).astype(np.float32)
    return {"index": np.arange(n), "present/x1": np.ones(n, bool), "x1/pooled": x, "x1/embedding": x, "label/content": z[:, :2],
            "label/style": z[:, 2:], "label/age": z[:, 0]} | more


def test_identify_finds_content_and_not_style():
    data = {"train": features(0, 1500), "val": features(1), "test": features(2)}
    found = dict(identify(data.get, labels=("content", "style", "age"), modality="x1"))
    value = {name.split("/")[-2] + "/" + name.split("/")[-1]: v for name, v in found.items()}
    for kind in ("r2_linear", "r2_kernel"):
        assert value[f"content/{kind}"].value > 0.95 and value[f"age/{kind}"].low > 0.9 and abs(value[f"style/{kind}"].value) < 0.05
        assert value[f"style/{kind}"].low < value[f"style/{kind}"].value < value[f"style/{kind}"].high
    few = {"train": features(0, 2), "val": features(1), "test": features(2)}
    assert all(isinstance(v, str) for v in dict(identify(few.get, labels=("content",), modality="x1")).values())
    with pytest.raises(ValueError, match="no 'label/contents'; did you mean 'label/content'"):
        dict(identify(data.get, labels=("contents",), modality="x1"))


def test_spectrum_counts_the_dimensions_that_survive():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(600, 6)) * (1, 1, 1, 1e-2, 1e-2, 0) + 5
    data = {"index": np.arange(600), "present/x1": np.ones(600, bool), "x1/pooled": x}
    found = dict(spectrum(lambda name: data, modality="x1", feature="pooled", values=7))
    one = {name.split("/")[-1]: v for name, v in found.items()}
    assert one["dimensions"].value == 3 and 3 <= one["effective_rank"].value < 3.2 and one["anisotropy"].value > 0.9
    assert np.isclose(one["01"].value, np.log(np.linalg.eigvalsh(np.cov(x.T))[-1]), atol=1e-6) and isinstance(one["07"], str)
    few = dict(spectrum(lambda name: {k: v[:10] for k, v in data.items()}, modality="x1", feature="pooled", values=2))
    assert all(isinstance(v, str) for v in few.values()) and set(few) == set(list(found)[:6])


def test_projection_places_partners_and_finds_them():
    rng = np.random.default_rng(4)
    z = rng.normal(size=(300, 8))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    data = {"index": np.arange(300) + 7, "present/image": np.ones(300, bool), "present/text": np.arange(300) % 3 > 0, "image/embedding": z,
            "text/embedding": z, "label/class": rng.integers(0, 4, 300), "label/fine": rng.integers(0, 90, 300)}
    found = projection(data, {"class": ["a", "b", "c", "d"]}, rows=50, queries=6)
    assert len(found["rows"]) == 50 and all((r - 7) % 3 for r in found["rows"]) and found["xy"]["image"] == found["xy"]["text"]
    assert all(q["found"][0] == [q["query"], 1.0] and len(q["found"]) == 5 for q in found["retrieval"]) and len(found["retrieval"]) == 12
    assert found["label"]["name"] == "class" and found["label"]["names"] == ["a", "b", "c", "d"]
    assert projection({k: v for k, v in data.items() if not k.startswith("text")}) is None
