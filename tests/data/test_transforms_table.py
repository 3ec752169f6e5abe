"""Rows of numbers and categories: SCARF's marginals and rates, noise in units of each column, dropout."""

import numpy as np
import pytest

from mmrep.data.pipeline import train_batches
from mmrep.data.rng import philox
from mmrep.data.sources import arrays
from mmrep.data.streams import open_source, stream_transform
from mmrep.data.tokenizers import byte
from mmrep.data.transforms import TRANSFORMS, compose
from mmrep.data.transforms.recipes import table


def run(name, example, seed=0, **kwargs):
    return TRANSFORMS[name](**kwargs)(example, philox(seed, 9))


def rows(n=200, seed=0):
    rng = np.random.default_rng(seed)
    tabular = np.stack([rng.normal(100, 20, n), rng.exponential(1, n), rng.integers(0, 2, n) * 1000.0, rng.normal(-1e-3, 1e-4, n)], 1)
    return arrays(tabular=tabular.astype(np.float32), category=rng.integers(0, (3, 5), (n, 2)).astype(np.int32))


def test_scarf_replaces_as_many_columns_as_asked_by_values_of_those_columns():
    source = rows()
    example = {"tabular": np.full(4, -7, np.float32), "category": np.full(2, 9, np.int32), "text": "x"}
    change = TRANSFORMS["scarf"](rate=0.6, training=lambda: source)
    values = [source[i] for i in range(200)]
    drawn = {key: [] for key in ("tabular", "category")}
    for seed in range(3000):
        out = change(example, philox(seed, 9))
        assert sum(int((out[key] != example[key]).sum()) for key in drawn) == 3      # floor(0.6 * 6)
        assert out["tabular"].dtype == np.float32 and out["category"].dtype == np.int32 and out["text"] == "x"
        for key in drawn:
            drawn[key].append(out[key])
    for key in drawn:
        found, pool = np.stack(drawn[key]), np.stack([row[key] for row in values])
        for j in range(found.shape[1]):
            new = found[found[:, j] != example[key][j], j]
            assert np.isin(new, pool[:, j]).all() and abs(len(new) / 3000 - 0.5) < 4 * 0.5 / np.sqrt(3000)
            grid = np.quantile(pool[:, j], (0.1, 0.3, 0.5, 0.7, 0.9))               # the empirical marginal
            share = np.array([[np.mean(x <= at) for at in grid] for x in (new, pool[:, j])])
            assert np.abs(share[0] - share[1]).max() < 4 * 0.5 / np.sqrt(len(new))
    assert np.array_equal(example["tabular"], np.full(4, -7))
    with pytest.raises(ValueError, match="scarf: tabular has the shape \\[3\\], that of the training rows \\[4\\]"):
        TRANSFORMS["scarf"](rate=1.0, training=lambda: source)({"tabular": np.zeros(3, np.float32)}, philox(0, 9))


def test_unknown_entries_stay_and_give_no_values():
    known = np.array([[1, 0], [1, 1]], np.uint8)
    source = arrays(**{"tabular": np.array([[1, 5], [2, 6]], np.float32), "mask/tabular": known})
    change = TRANSFORMS["scarf"](rate=1.0, keys="tabular", training=lambda: source)
    whole = {"tabular": np.zeros(2, np.float32), "mask/tabular": np.array([1, 1])}
    assert {tuple(change(whole, philox(s, 9))["tabular"].tolist()) for s in range(30)} == {(1.0, 6.0), (2.0, 6.0)}
    half = change({"tabular": np.zeros(2, np.float32), "mask/tabular": np.array([1, 0])}, philox(0, 9))["tabular"]
    assert half[0] in (1, 2) and half[1] == 0


def test_a_streams_augmentation_draws_from_its_own_training_rows(tmp_path):
    lines = [f"{i},{1000 + i},{'ab'[i % 2]},{'train' if i < 40 else 'val'}" for i in range(50)]
    (tmp_path / "t.csv").write_text("x,y,c,split\n" + "\n".join(lines) + "\n")
    stream = {"source": {"name": "manifest", "path": str(tmp_path / "t.csv"), "columns": {"tabular": ["x", "y"], "category": ["c"],
                                                                                          "split": "split"}}, "batch": 16, **table()}
    source = open_source(stream, "train")
    batch = next(train_batches(source, 16, 0, stream_transform(stream, byte(), 4, True, "config.data.main"), threads=0))
    assert batch["tabular"].shape == (16, 2, 2) and batch["category"].shape == (16, 2, 1)
    want = np.stack([source[i]["tabular"] for i in batch["index"]])
    assert np.array_equal(batch["tabular"][:, 0], want)                              # sample 0 is the row
    changed = (batch["tabular"][:, 1] != want).sum() + (batch["category"][:, 1] != batch["category"][:, 0]).sum()
    assert 0 < changed <= 16 and batch["tabular"][:, 1, 0].max() < 40 and batch["tabular"][:, 1, 1].max() < 1040
    again = next(train_batches(source, 16, 0, stream_transform(stream, byte(), 4, True, "config.data.main"), threads=2))
    assert np.array_equal(again["tabular"], batch["tabular"])
    with pytest.raises(ValueError, match=r"^config.data.main.prepare\[0\]: scarf: draws from the training rows, which only `augment`"):
        open_source(stream | {"prepare": ({"name": "scarf"},)}, "train")


def test_noise_is_in_units_of_each_column_and_dropout_as_often_as_asked():
    source = rows()
    change = TRANSFORMS["feature_noise"](std=0.5, key="tabular", training=lambda: source)
    moved = np.stack([change({"tabular": np.zeros(4, np.float32)}, philox(s, 9))["tabular"] for s in range(2000)])
    spread = np.stack([source[i]["tabular"] for i in range(200)]).std(0)
    np.testing.assert_allclose(moved.std(0), 0.5 * spread, rtol=0.08)
    assert moved.dtype == np.float32 and np.abs(moved.mean(0) / spread).max() < 0.05
    x = np.ones((50, 40), np.float32)
    gone = np.stack([run("drop_features", {"features": x}, s, p=0.3, value=-1)["features"] == -1 for s in range(5)])
    assert abs(gone.mean() - 0.3) < 4 * np.sqrt(0.21 / gone.size) and x.all()
    for name, kwargs, message in [("scarf", {"rate": 2, "training": rows}, "scarf: rate: 2"), ("scarf", {}, "pass training=lambda: SOURCE"),
                                  ("feature_noise", {"std": -1, "training": rows}, "feature_noise: std"),
                                  ("scarf", {"rows": 0, "training": rows}, "scarf: rows: 0")]:
        with pytest.raises(ValueError, match=message):
            TRANSFORMS[name](**kwargs)
    with pytest.raises(ValueError, match="none of 200 training rows that were read has 'features'"):
        compose([{"name": "scarf", "keys": ("features",)}], training=rows)({"features": np.zeros(3)}, philox(0, 9))
