"""Partial trees."""

from mmrep.core import tree


def test_prune_and_overlay_are_inverse_on_a_partition():
    full = {"a": {"x": 1, "y": 2}, "b": {"z": {"w": 3}}}
    assert tree.paths(full) == ["a/x", "a/y", "b/z/w"]
    kept = tree.prune(full, lambda p: p != "b/z/w")
    assert kept == {"a": {"x": 1, "y": 2}}
    assert tree.overlay(full, {"a": {"x": 10}}) == {"a": {"x": 10, "y": 2}, "b": {"z": {"w": 3}}}
