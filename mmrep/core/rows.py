"""Collectives over the row shards, for functions that `sharding.map_rows` runs once per shard.

axes: those of `sharding.row_axes()`; with none of them everything here is the identity.
"""

from typing import Any

import jax
from jax import lax

from mmrep.core.sharding import shard_count


def gather(tree: Any, axes: tuple[str, ...]) -> Any:
    """Every shard's rows, concatenated in order (all-gather); identity for no axes."""
    return jax.tree.map(lambda x: lax.all_gather(x, axes, tiled=True), tree) if axes else tree


def scatter_sum(tree: Any, axes: tuple[str, ...]) -> Any:
    """Sum over shards of full-length leaves, each shard keeping its own rows (reduce-scatter); identity for no axes."""
    return jax.tree.map(lambda x: lax.psum_scatter(x, axes, tiled=True), tree) if axes else tree


def total(tree: Any, axes: tuple[str, ...]) -> Any:
    """Sum over shards, on every shard (all-reduce: for scalars and small vectors); identity for no axes."""
    return lax.psum(tree, axes) if axes else tree


def own(tree: Any, axes: tuple[str, ...]) -> Any:
    """This shard's rows of full-length leaves that every shard holds; identity for no axes."""
    if not axes:
        return tree
    count, index = shard_count(axes), lax.axis_index(axes)
    return jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, index * (x.shape[0] // count), x.shape[0] // count), tree)


def rotate(tree: Any, axes: tuple[str, ...]) -> Any:
    """Hands every leaf to the next shard of the ring (collective permute); after `shard_count` calls it is home."""
    count = shard_count(axes)
    pairs = [(i, (i + 1) % count) for i in range(count)]
    return jax.tree.map(lambda x: lax.ppermute(x, axes, pairs), tree) if axes else tree
