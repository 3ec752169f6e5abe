"""Mixtures with a temperature: weights rows ** (1 / T), from a config, beside explicit weights."""

import math

import numpy as np
import pytest

from mmrep.data.mixture import largest_remainder, mixture, tempered
from mmrep.data.pipeline import train_batches
from mmrep.data.sources import arrays
from mmrep.data.streams import check_streams, open_source

SIZES = {"a": 900, "b": 90, "c": 10}


def sources():
    return {name: arrays(tabular=np.full((n, 1), n, np.float32)) for name, n in SIZES.items()}


def test_weights_go_from_rows_to_equal():
    assert mixture(sources()).weights == {name: float(n) for name, n in SIZES.items()}
    for temperature, power in ((1, 1), (2, 0.5), (10 / 3, 0.3), (0.5, 2)):
        weights = tempered(SIZES, temperature)
        total, want = sum(weights.values()), {name: n**power for name, n in SIZES.items()}
        np.testing.assert_allclose([weights[n] / total for n in SIZES], [want[n] / sum(want.values()) for n in SIZES], rtol=1e-12)
    assert set(tempered(SIZES, math.inf).values()) == {1.0}
    assert mixture(sources(), temperature=math.inf).counts(30) == {"a": 10, "b": 10, "c": 10}
    assert mixture(sources(), temperature=1.0).counts(100) == mixture(sources()).counts(100) == {"a": 90, "b": 9, "c": 1}
    assert mixture(sources(), temperature=2).counts(128) == largest_remainder({n: math.sqrt(k) for n, k in SIZES.items()}, 128)
    batch = next(train_batches(mixture(sources(), temperature=2), 64, 0, threads=0))
    values, counts = np.unique(batch["tabular"], return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist())) == {900.0: 45, 90.0: 14, 10.0: 5}
    assert tempered({"a": 10**9, "b": 1}, 0.01)["a"] == 1.0  # no overflow


@pytest.mark.parametrize("temperature", [0, -1, math.nan, "2", True])
def test_a_wrong_temperature_is_named(temperature):
    with pytest.raises(ValueError, match="temperature: .* is no number above 0; 1 mixes by rows"):
        mixture(sources(), temperature=temperature)


def test_a_config_mixes_by_temperature_and_errors_name_its_path():
    parts = {"small": {"name": "phantom", "n": 40, "size": 16}, "large": {"name": "phantom", "n": 160, "size": 16, "seed": 3}}
    stream = {"sources": parts, "temperature": 2.0, "batch": 12}
    check_streams({"main": stream})
    assert open_source(stream, "train").counts(12) == {"small": 4, "large": 8}
    assert open_source({"sources": parts, "batch": 10}, "train").counts(10) == {"small": 2, "large": 8}
    weighted = {name: part | {"weight": 1.0} for name, part in parts.items()}
    assert open_source({"sources": weighted, "batch": 10}, "train").counts(10) == {"small": 5, "large": 5}
    for wrong, message in [({"sources": weighted, "temperature": 2.0, "batch": 4}, "config.data.main.*temperature: 2.0 beside a weight"),
                           ({"sources": parts, "temperature": 0, "batch": 4}, "config.data.main.*temperature: 0 is no number above 0")]:
        with pytest.raises(ValueError, match=message):
            open_source(wrong, "train")
    with pytest.raises(ValueError, match="config.data.main.temperature: mixes `sources`; one source"):
        check_streams({"main": {"source": parts["small"], "temperature": 2.0, "batch": 4}})


def test_categories_of_several_tables_count_by_their_names(tmp_path):
    for name, values in (("a", ("F", "M")), ("b", ("Other", "M"))):
        rows = [f"text {i},{values[i % 2]}" for i in range(8)]
        (tmp_path / f"{name}.csv").write_text("text,sex\n" + "\n".join(rows) + "\n")
    columns = {"text": "text", "category": ["sex"]}
    specs = {name: {"name": "manifest", "path": str(tmp_path / f"{name}.csv"), "columns": columns} for name in "ab"}
    mixed = open_source({"sources": specs}, "all", "data")
    assert mixed.category_names == {"sex": ["<null>", "F", "M", "Other"]}
    assert [int(mixed[row]["category"][0]) for row in range(16)] == [1, 2] * 4 + [3, 2] * 4
    assert [int(one["category"][0]) for one in mixed.read(np.arange(7, 10))] == [2, 3, 2]
    with pytest.raises(ValueError, match="only some of a, b name the values of `category`"):
        mixture({"a": open_source({"source": specs["a"]}, "all", "data"), "b": arrays(category=np.zeros((4, 1), np.int32))})
