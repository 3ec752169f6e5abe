"""InfoNCE over all pairs in memory linear in the batch: closed-form gradients, recomputed tile by tile.

With S = s u v^T, p = row softmax, q = column softmax and targets T (row) and R (column),
    L      = 1/n sum_i w (lse_i - sum_j T_ij S_ij) + (1 - w) (lse_j - sum_i R_ij S_ij)
    dL/dS  = (w (p - T) + (1 - w) (q - R)) / n.
The targets are subtracted tile by tile, not added as a closed form afterwards, and every log-sum-exp is kept as
(maximum, mass): p = exp(S - maximum) / mass keeps p - T exact near convergence, where exp(S - lse) would carry the
rounding of a large lse.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from mmrep.core import rows as rowlib
from mmrep.core.sharding import map_rows
from mmrep.objectives.kernels import tiles


def _logits(scale, row, col):
    """Logits of a tile and the mask of its valid pairs; invalid logits are a large finite negative."""
    mask = row["m"][:, None] & col["m"][None, :]
    return jnp.where(mask, scale * (row["x"] @ col["x"].T), tiles.NEG), mask


def _soft(row, col, hp):
    """w P + (1 - w) Q of a tile: the row and the column softmax of the label logits; those are symmetric, so are the
    statistics of their rows and columns."""
    return _mix(row["soft"] @ col["soft"].T / hp["soft_temperature"], row["label"], col["label"], hp["direction"])


def _mix(logits, row_stat, col_stat, w):
    """w (row softmax) + (1 - w) (column softmax) of a tile, from the (maximum, 1 / mass) of its rows and columns."""
    (top, inverse), (col_top, col_inverse) = row_stat, col_stat
    p = jnp.exp(logits - top[:, None]) * (w * inverse)[:, None]
    return p + jnp.exp(logits - col_top[None, :]) * ((1 - w) * col_inverse)[None, :]


def _stat(acc, mask):
    """(maximum, 1 / mass) of an online log-sum-exp, (0, 0) where the row is absent."""
    return jnp.where(mask, acc[0], 0.0), jnp.where(mask, 1 / jnp.where(mask, acc[1], 1.0), 0.0)


def _forward_tile(kind, scale, hp, row, col, row_acc, col_acc):
    logits, mask = _logits(scale, row, col)
    lse, target = row_acc["lse"], row_acc["target"]
    if kind == "group":
        same = (row["id"][:, None] == col["id"][None, :]) & mask
        target = target + jnp.where(same, logits, 0.0).sum(1)
    elif kind == "soft":
        target = target + jnp.where(mask, _soft(row, col, hp) * logits, 0.0).sum(1)
    col_acc = {"lse": tiles.lse_update(logits, 0, col_acc["lse"])}
    return {"lse": tiles.lse_update(logits, 1, lse), "target": target}, col_acc


def _queue_tile(scale, row, col, row_acc, col_acc):
    return {**row_acc, "lse": tiles.lse_update(_logits(scale, row, col)[0], 1, row_acc["lse"])}, col_acc


def _soft_tile(hp, row, col, row_acc, col_acc):
    a = row["x"] @ col["x"].T / hp["soft_temperature"]
    return tiles.lse_update(jnp.where(col["m"][None, :], a, tiles.NEG), 1, row_acc), col_acc


def _backward_tile(kind, scale, hp, row, col, row_acc, col_acc):
    logits, mask = _logits(scale, row, col)
    n, g = hp["n"], _mix(logits, row["row"], col["col"], hp["direction"])
    hard = 1 - hp["smoothing"]
    if kind == "soft":
        g = g - hard * _soft(row, col, hp)
    else:
        g = g - jnp.where(row["id"][:, None] == col["id"][None, :], hard / row["count"][:, None], 0.0)
    g = jnp.where(mask, (g - hp["smoothing"] / n) / n, 0.0)
    return row_acc + g @ col["x"], col_acc + tiles.transposed_product(row, g)


def _queue_backward_tile(scale, hp, row, col, row_acc, col_acc):
    logits, mask = _logits(scale, row, col)
    top, inverse = row["row"]
    g = jnp.where(mask, jnp.exp(logits - top[:, None]) * (hp["direction"] / hp["n"] * inverse)[:, None], 0.0)
    return row_acc + g @ col["x"], col_acc


def _queue_cols(queue):
    return {"x": queue, "m": jnp.ones(queue.shape[0], bool)}


def _merge(acc, static):
    """(maximum, mass) of this shard's columns over all rows, from the partial ones of each shard's rows."""
    top, mass = acc
    if static.axes and static.form == "gather":
        best = jax.lax.pmax(top, static.axes)
        top, mass = rowlib.own((best, rowlib.total(mass * jnp.exp(top - best), static.axes)), static.axes)
    return top, mass


def _local_forward(static, u, v, scale, side, hp, queue):
    """Loss (replicated) and residuals of one shard's rows."""
    rows = u.shape[0]
    mask = side["m"]
    if static.kind == "soft":
        label = {"x": side["soft"], "m": mask}
        fn = functools.partial(_soft_tile, hp)
        stat, _ = tiles.pairs(fn, label, label, tiles.lse_start(rows), lambda n: (), static)
        side = {**side, "label": _stat(stat, mask)}
    zeros = jnp.zeros(rows, jnp.float32)
    row_acc, col_acc = tiles.pairs(
        functools.partial(_forward_tile, static.kind, scale, hp), {"x": u, **side}, {"x": v, **side},
        {"lse": tiles.lse_start(rows), "target": zeros}, lambda n: {"lse": tiles.lse_start(n)}, static)
    if queue is not None:
        row_acc, _ = tiles.sweep(functools.partial(_queue_tile, scale), {"x": u, "m": mask}, _queue_cols(queue),
                                 row_acc, (), static.chunk)
    row_lse, col_lse = row_acc["lse"], _merge(col_acc["lse"], static)
    side = {**side, "row": _stat(row_lse, mask), "col": _stat(col_lse, mask)}
    u0, v0 = jnp.where(mask[:, None], u, 0.0), jnp.where(mask[:, None], v, 0.0)
    target = row_acc["target"]
    if static.kind == "pair":
        target = scale * (u0 * v0).sum(1)
    elif static.kind == "group":
        target = target / side["count"]
    n, w, eps = hp["n"], hp["direction"], hp["smoothing"]
    mean_u, mean_v = rowlib.total((u0.sum(0) / n, v0.sum(0) / n), static.axes)
    # Maximum minus target first: equal for a learned row, whose loss is then log(mass) to full precision.
    each = w * (row_lse[0] - target + jnp.log(row_lse[1])) + (1 - w) * (col_lse[0] - target + jnp.log(col_lse[1]))
    rest = jnp.where(mask, each + eps * target, 0.0)
    loss = rowlib.total(tiles.stable_sum(rest), static.axes) / n - eps * scale * (mean_u @ mean_v)
    return loss, side


def _local_backward(static, u, v, scale, side, hp, queue, cotangent):
    """Gradients of this shard's rows of u and v, and of scale (replicated)."""
    zeros = jnp.zeros(u.shape, jnp.float32)
    columns = {key: side[key] for key in ("m", "id", "col", "soft", "label") if key in side}
    du, dv = tiles.pairs(functools.partial(_backward_tile, static.kind, scale, hp), {"x": u, **side}, {"x": v, **columns},
                    zeros, lambda n: jnp.zeros((n, v.shape[1]), jnp.float32), static)
    if static.form == "gather":
        dv = rowlib.scatter_sum(dv, static.axes)
    if queue is not None:
        du, _ = tiles.sweep(functools.partial(_queue_backward_tile, scale, hp), {"x": u, **side}, _queue_cols(queue),
                            du, (), static.chunk)
    # sum_ij G_ij u_i . v_j, without another pass over the pairs.
    dscale = rowlib.total(tiles.stable_sum(jnp.where(side["m"], (u * du).sum(1), 0.0)), static.axes)
    return du * (scale * cotangent), dv * (scale * cotangent), dscale * cotangent


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def chunked(static: tiles.Static, u, v, scale, side: dict, hp: dict, queue) -> jax.Array:
    """InfoNCE of f32[B,D] u and v: gradients for u, v and scale only.

    Args:
        static: see `tiles.Static`.
        side: per-row arrays: m bool[B]; id i32[B] (equal = positive) and count f32[B] (positives of the row), or
            soft f32[B,K], zero where absent.
        hp: traced scalars n (valid rows), direction, smoothing, soft_temperature.
        queue: f32[Q,D] negatives of the rows, or None.
    """
    return _forward(static, u, v, scale, side, hp, queue)[0]


def _forward(static, u, v, scale, side, hp, queue):
    fn = functools.partial(_local_forward, static)
    split = (True, True, False, True, False, False)
    loss, side = map_rows(fn, (u, v, scale, side, hp, queue), split, (False, True))
    return loss, (u, v, scale, side, hp, queue)


def _backward(static, residuals, cotangent):
    fn = functools.partial(_local_backward, static)
    args: tuple[Any, ...] = (*residuals, cotangent)
    du, dv, dscale = map_rows(fn, args, (True, True, False, True, False, False, False), (True, True, False))
    return du, dv, dscale, None, None, None


chunked.defvjp(_forward, _backward)
