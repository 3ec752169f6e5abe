"""A loop over the tiles of an n x m pair matrix that is never stored, and its forms over row shards.

A tile function sees one block of rows, one block of columns and the running accumulators of both. Memory is the
accumulators plus a few tiles; every pair is visited once a sweep.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from mmrep.core import rows as rowlib
from mmrep.core.sharding import shard_count

NEG = -1e30  # finite "minus infinity": masks stay free of inf - inf

Tree = Any
TileFn = Callable[[Tree, Tree, Tree, Tree], tuple[Tree, Tree]]


class Static(NamedTuple):
    """What changes the program: a tile's columns, the row axes of the mesh, the form over them, the targets."""

    chunk: int
    axes: tuple[str, ...]
    form: str  # "gather" | "ring"; the same thing without axes
    kind: str  # "pair" | "group" | "soft"


def _length(tree: Tree) -> int:
    return jax.tree.leaves(tree)[0].shape[0]


def _split(tree: Tree, tile: int) -> tuple[Tree, int]:
    """Leaves [n, ...] -> [k, t, ...]: k tiles of near-equal t <= tile, the last one padded with zeros (mask False)."""
    n = _length(tree)
    k = -(-n // tile)
    t = -(-n // k)
    pad = k * t - n
    grow = lambda x: jnp.pad(x, ((0, pad),) + ((0, 0),) * (x.ndim - 1)) if pad else x  # noqa: E731
    return jax.tree.map(lambda x: grow(x).reshape(k, t, *x.shape[1:]), tree), k


def _at(tree: Tree, i: jax.Array) -> Tree:
    return jax.tree.map(lambda x: x[i], tree)


def _put(tree: Tree, i: jax.Array, tile: Tree) -> Tree:
    return jax.tree.map(lambda x, y: x.at[i].set(y), tree, tile)


def sweep(fn: TileFn, rows: Tree, cols: Tree, row_acc: Tree, col_acc: Tree, chunk: int) -> tuple[Tree, Tree]:
    """Visits every (row tile, column tile) once and returns the final (row_acc, col_acc).

    Args:
        fn: `(row tile, column tile, row_acc tile, col_acc tile) -> (row_acc tile, col_acc tile)`. Both tiles carry
            a mask `m` (False on padding) and `x` zeroed where absent; the row tile also `xT`, its transpose.
        rows, cols: dicts of arrays [n, ...] and [m, ...] with `x` f32[n, D] and `m` bool[n].
        row_acc, col_acc: pytrees of arrays [n, ...] and [m, ...] (col_acc may be empty).
        chunk: columns of a tile; a tile has twice as many rows.
    """
    n, m = _length(rows), _length(cols)
    (rows, row_acc), row_tiles = _split((rows, row_acc), 2 * chunk)
    (cols, col_acc), col_tiles = _split((cols, col_acc), chunk)

    def clear(tile):
        return {**tile, "x": jnp.where(tile["m"][:, None], tile["x"], 0.0)}

    def outer(i, carry):
        row_acc, col_acc = carry
        row = clear(_at(rows, i))
        # The transposed copy, kept apart by the barrier, turns G^T x into a plain product: 1.3x faster on CPU.
        row["xT"] = lax.optimization_barrier(row["x"].T)

        def inner(j, carry):
            acc, col_acc = carry
            acc, tile = fn(row, clear(_at(cols, j)), acc, _at(col_acc, j))
            return acc, _put(col_acc, j, tile)

        acc, col_acc = lax.fori_loop(0, col_tiles, inner, (_at(row_acc, i), col_acc))
        return _put(row_acc, i, acc), col_acc

    row_acc, col_acc = lax.fori_loop(0, row_tiles, outer, (row_acc, col_acc))
    join = lambda tree, size: jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:size], tree)  # noqa: E731
    return join(row_acc, n), join(col_acc, m)


def ring(fn: TileFn, rows: Tree, cols: Tree, row_acc: Tree, col_acc: Tree, chunk: int, axes: tuple[str, ...]):
    """`sweep` of this shard's rows over every shard's columns, which travel the ring with their accumulators."""

    def visit(_, carry):
        cols, row_acc, col_acc = carry
        row_acc, col_acc = sweep(fn, rows, cols, row_acc, col_acc, chunk)
        cols, col_acc = rowlib.rotate((cols, col_acc), axes)
        return cols, row_acc, col_acc

    _, row_acc, col_acc = lax.fori_loop(0, shard_count(axes), visit, (cols, row_acc, col_acc))
    return row_acc, col_acc


def pairs(fn, row, col, row_acc, col_acc, static):
    """One pass over (own rows) x (all columns): column accumulators come back full (gather) or own (ring)."""
    if static.form == "ring" and static.axes:
        return ring(fn, row, col, row_acc, col_acc(row["m"].shape[0]), static.chunk, static.axes)
    col = rowlib.gather(col, static.axes)
    return sweep(fn, row, col, row_acc, col_acc(col["m"].shape[0]), static.chunk)


def transposed_product(row: Tree, g: jax.Array) -> jax.Array:
    """G^T x of a tile, [columns, D], as (x^T G)^T (see `sweep`)."""
    return lax.optimization_barrier(row["xT"] @ g).T


def stable_sum(x: jax.Array) -> jax.Array:
    """Sum of a vector in two levels: the rounding error grows with n^(1/4), not n^(1/2)."""
    n = x.shape[0]
    width = max(1, int(n**0.5))
    pad = -n % width
    return jnp.pad(x, (0, pad)).reshape(-1, width).sum(0).sum()


def lse_update(logits: jax.Array, axis: int, acc: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """One step of an online log-sum-exp: acc = (maximum, sum of exp(logits - maximum)) over `axis`."""
    top, mass = acc
    new = jnp.maximum(top, logits.max(axis))
    shifted = jnp.exp(logits - jnp.expand_dims(new, axis)).sum(axis)
    return new, mass * jnp.exp(top - new) + shifted


def lse_start(n: int) -> tuple[jax.Array, jax.Array]:
    """Accumulator of `lse_update` before any column."""
    return jnp.full(n, NEG, jnp.float32), jnp.zeros(n, jnp.float32)
