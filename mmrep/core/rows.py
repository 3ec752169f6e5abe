"""Row-sharded functions: run a per-shard function over the batch axes of the mesh in context, with its collectives.

Rows (the leading axis of a batch) are sharded over the mesh axes `data` and `fsdp`, replicated over any other axis.
The mesh is the one of `jax.set_mesh(mesh)`; without one, or with one shard, everything here is the identity.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import lax
from jax.sharding import PartitionSpec as P

ROW_AXES = ("data", "fsdp")


def row_axes() -> tuple[str, ...]:
    """Axes of the mesh in context over which rows are split: those of `ROW_AXES` longer than one, may be ()."""
    mesh = jax.sharding.get_abstract_mesh()
    return tuple(name for name in ROW_AXES if not mesh.empty and mesh.shape.get(name, 1) > 1)


def map_rows(fn: Callable, args: Sequence[Any], split: Sequence[bool], out: Any) -> Any:
    """Calls `fn(*args)` once per row shard, under `jax.shard_map` over the whole mesh.

    Args:
        fn: the per-shard function; collectives over `row_axes()` are allowed inside.
        args: pytrees of arrays. `split[i]` says whether the leading axis of every leaf of `args[i]` is sharded over the
            rows (True) or the leaf is replicated (False).
        out: pytree prefix of booleans for the outputs, in the same sense.
    Raises:
        ValueError: a split leaf's leading size is not a multiple of the number of row shards.
    """
    axes = row_axes()
    if not axes:
        return fn(*args)
    shards = shard_count(axes)
    for arg, is_split in zip(args, split, strict=True):
        for path, leaf in jax.tree_util.tree_leaves_with_path(arg) if is_split else ():
            if leaf.shape[0] % shards:
                raise ValueError(f"rows{jax.tree_util.keystr(path)} has {leaf.shape[0]} rows, not a multiple of the "
                                 f"{shards} shards of mesh axes {axes}: pad the batch with absent rows")
    spec = lambda is_split: P(axes) if is_split else P()  # noqa: E731
    # check_vma off: outputs are replicated over the other axes by construction, which its type system cannot see.
    sharded = jax.shard_map(fn, in_specs=tuple(map(spec, split)), out_specs=jax.tree.map(spec, out), check_vma=False)
    return sharded(*args)


def shard_count(axes: tuple[str, ...]) -> int:
    """Number of row shards of the mesh in context over `axes` (1 for no axes)."""
    count = 1
    for name in axes:
        count *= jax.sharding.get_abstract_mesh().shape[name]
    return count


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
