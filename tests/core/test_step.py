"""The step: the same loss and gradients on every mesh and for every number of micro-batches."""

import jax
import numpy as np
import pytest

from tests import tiny

EVERYTHING = {
    "clip": {"name": "contrastive"},
    "match": {"name": "matching", "after": "clip"},
    "caption": {"name": "caption", "weight": 0.5},
    "mae": {"name": "masked", "patch": (8, 8), "width": 16, "depth": 1, "heads": 2},
}
NETS = {"fusion": {"name": "cross_attention", "width": 16, "depth": 1, "heads": 2}}


@pytest.fixture(scope="module")
def reference():
    return tiny.value_and_grads(tiny.config(EVERYTHING, nets=NETS))


@pytest.mark.parametrize("shape, micro", [((1, 1, 1), 4), ((2, 2, 2), 2)])
def test_composed_gradients_do_not_depend_on_mesh_or_micro_batches(reference, shape, micro):
    value, grads = tiny.value_and_grads(tiny.config(EVERYTHING, nets=NETS), shape, micro)
    assert abs(value - reference[0]) <= 1e-5 * abs(reference[0])
    tiny.assert_close(reference[1], grads)
