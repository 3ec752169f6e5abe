"""Partial trees and masked means."""

import jax
import jax.numpy as jnp
import numpy as np

from mmrep.core import tree


def test_prune_and_overlay_are_inverse_on_a_partition():
    full = {"a": {"x": 1, "y": 2}, "b": {"z": {"w": 3}}}
    assert tree.paths(full) == ["a/x", "a/y", "b/z/w"]
    kept = tree.prune(full, lambda p: p != "b/z/w")
    assert kept == {"a": {"x": 1, "y": 2}}
    assert tree.overlay(full, {"a": {"x": 10}}) == {"a": {"x": 10, "y": 2}, "b": {"z": {"w": 3}}}


def test_weighted_mean_is_safe_when_nothing_counts():
    x = jnp.array([1.0, jnp.nan, 3.0])
    value, grad = jax.value_and_grad(lambda x, w: tree.weighted_mean(x, w))(x, jnp.array([1.0, 0.0, 3.0]))
    assert np.isclose(value, 2.5) and np.allclose(grad, [0.25, 0.0, 0.75])
    value, grad = jax.value_and_grad(tree.weighted_mean)(x, jnp.zeros(3))
    assert value == 0 and np.allclose(grad, 0)
