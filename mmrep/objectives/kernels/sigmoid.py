"""Sigmoid (SigLIP) loss over all pairs in memory linear in the batch: value and gradients in one pass over the tiles.

With l = s u v^T + b and targets t in [0, 1] the pair loss is t softplus(-l) + (1 - t) softplus(l), its derivative in l
is sigmoid(l) - t, so everything a gradient needs is known when the tile is first seen.
"""

import functools

import jax
import jax.numpy as jnp

from mmrep.core import rows as rowlib
from mmrep.core.sharding import map_rows
from mmrep.objectives.kernels import tiles


def _tile(kind, grad, scale, bias, row, col, row_acc, col_acc):
    logits = scale * (row["x"] @ col["x"].T) + bias
    mask = row["m"][:, None] & col["m"][None, :]
    same = row["id"][:, None] == col["id"][None, :]
    if kind == "soft":
        t = jnp.where(same, 1.0, jnp.clip(row["soft"] @ col["soft"].T, 0.0, 1.0))
    else:
        t = same.astype(jnp.float32)
    e = jnp.exp(-jnp.abs(logits))
    # Never softplus(l) - t l: it cancels once the positives are learned.
    loss = jnp.log1p(e) + t * jnp.maximum(-logits, 0.0) + (1 - t) * jnp.maximum(logits, 0.0)
    # Sums run down the rows of a tile: that axis is vectorized on CPU, and chunk-long partial sums keep the accuracy.
    col_acc = {**col_acc, "loss": col_acc["loss"] + jnp.where(mask, loss, 0.0).sum(0)}
    if grad:
        # sigmoid(l) - t without cancellation: at t = 1 it is -sigmoid(-l).
        large = 1 / (1 + e)
        up, down = jnp.where(logits >= 0, large, e * large), jnp.where(logits >= 0, e * large, large)
        g = jnp.where(mask, (1 - t) * up - t * down, 0.0)
        row_acc = row_acc + g @ col["x"]
        col_acc = {**col_acc, "bias": col_acc["bias"] + g.sum(0), "x": col_acc["x"] + tiles.transposed_product(row, g)}
    return row_acc, col_acc


def _local(static: tiles.Static, grad, u, v, scale, bias, side, n):
    """(loss, bias and scale gradients) replicated and (u, v gradients) of this shard's rows, gradients if `grad`."""
    def start(m):
        zero = jnp.zeros(m, jnp.float32)
        return {"loss": zero, "bias": zero, "x": jnp.zeros((m, v.shape[1]), jnp.float32)} if grad else {"loss": zero}

    row_acc = jnp.zeros(u.shape, jnp.float32) if grad else ()
    fn = functools.partial(_tile, static.kind, grad, scale, bias)
    du, col = tiles.pairs(fn, {"x": u, **side}, {"x": v, **side}, row_acc, start, static)
    loss = tiles.stable_sum(col["loss"])
    if not grad:
        return rowlib.total(loss, static.axes) / n
    dv = rowlib.scatter_sum(col["x"], static.axes) if static.form == "gather" else col["x"]
    dscale = tiles.stable_sum(jnp.where(side["m"], (u * du).sum(1), 0.0))
    sums = jnp.stack([loss, dscale, tiles.stable_sum(col["bias"])])
    loss, dscale, dbias = rowlib.total(sums, static.axes) / n
    return loss, dscale, dbias, du, dv


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def chunked(static: tiles.Static, u, v, scale, bias, side: dict, n) -> jax.Array:
    """Sigmoid loss of f32[B,D] u and v: gradients for u, v, scale and bias only.

    Args:
        static: `tiles.Static`.
        side: per-row arrays: m bool[B], id i32[B] (equal = positive) and, for kind "soft", soft f32[B,K] of unit norm.
        n: traced number of valid rows.
    """
    split = (True, True, False, False, True, False)
    return map_rows(functools.partial(_local, static, False), (u, v, scale, bias, side, n), split, False)


def _forward(static, u, v, scale, bias, side, n):
    split = (True, True, False, False, True, False)
    loss, dscale, dbias, du, dv = map_rows(
        functools.partial(_local, static, True), (u, v, scale, bias, side, n), split, (False, False, False, True, True))
    return loss, (du, dv, dscale, dbias, scale, n)


def _backward(static, residuals, cotangent):
    del static
    du, dv, dscale, dbias, scale, n = residuals
    factor = cotangent * scale / n
    return du * factor, dv * factor, dscale * cotangent, dbias * cotangent, None, None


chunked.defvjp(_forward, _backward)
