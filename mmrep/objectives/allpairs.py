"""The two all-pairs losses between embeddings of two modalities: InfoNCE and the sigmoid loss.

Every form (`method`) computes the same numbers:
    dense    plain jnp over stored [B, B] matrices: the reference
    chunked  one device, tile by tile with closed-form gradients: memory linear in B
    gather   rows sharded over the mesh axes data and fsdp: v all-gathered, its gradient reduce-scattered
    ring     the same, v travels around the ring: memory of one shard
    auto     gather under `jax.set_mesh` with more than one row shard; otherwise chunked above `DENSE_LIMIT` rows,
             else dense
Gradients flow to u, v, scale (and bias); targets, masks, direction, smoothing and queue are constants.
"""

import jax
import jax.numpy as jnp
from jax import lax

from mmrep.core.sharding import row_axes
from mmrep.objectives.kernels import infonce as infonce_kernel
from mmrep.objectives.kernels import sigmoid as sigmoid_kernel
from mmrep.objectives.kernels import tiles
from mmrep.objectives.kernels.tiles import NEG

DENSE_LIMIT = 1024  # measured, experiments/allpairs: below it the pair matrix fits the cache and dense is as fast
CHUNK = 512
METHODS = ("auto", "dense", "chunked", "gather", "ring")


def infonce(u: jax.Array, v: jax.Array, scale: jax.Array, *, group: jax.Array | None = None,
            soft: jax.Array | None = None, valid: jax.Array | None = None, direction: jax.Array | float = 0.5,
            smoothing: jax.Array | float = 0.0, soft_temperature: jax.Array | float = 1.0,
            extra_keys: jax.Array | None = None, method: str = "auto", chunk: int = CHUNK) -> jax.Array:
    """Cross entropy of matching u to v among all rows, and v to u: an f32 scalar, the mean over valid rows.

    Args:
        u, v: f[B,D], unit norm; row i of u and row i of v are a pair. Computed in f32.
        scale: s > 0, logits are s u_i . v_j.
        group: i32[B]; rows of one group >= 0 are positives of each other (uniform targets); < 0 has only its partner.
        soft: f[B,K] label vectors, replace `group`: targets are the softmax of soft soft^T / soft_temperature over the
            valid columns (u -> v) and rows (v -> u).
        valid: bool[B], False where a modality is absent: neither query nor key (none valid: loss 0, gradient 0).
        direction: w in [0, 1], the share of u -> v (1 - w is that of v -> u).
        smoothing: eps in [0, 1], label smoothing over the valid rows of the batch (not over the queue).
        extra_keys: f[Q,D] further negatives of u -> v (a MoCo queue), no gradient; replicated on a mesh.
        method: see the module. chunk: columns of a tile (a tile has 2 chunk rows).
    Raises:
        ValueError: shapes that do not fit, unknown method, or rows that do not divide over the shards.
    Source: Oord 2018 eq. 4 and CLIP; soft targets of MedCLIP (Wang 2022, eq. 4-6); MoCo (He 2020) for the queue.
    """
    u, v, scale, mask = _inputs(u, v, scale, valid, {"group": group, "soft": soft}, method)
    if extra_keys is not None:
        if extra_keys.ndim != 2 or extra_keys.shape[1] != u.shape[1]:
            raise ValueError(f"extra_keys has shape {extra_keys.shape}: expected (Q, {u.shape[1]}), the width of u")
        extra_keys = lax.stop_gradient(extra_keys.astype(jnp.float32))
    hp = {"n": _count(mask), "direction": direction, "smoothing": smoothing, "soft_temperature": soft_temperature}
    hp = {key: lax.stop_gradient(jnp.asarray(value, jnp.float32)) for key, value in hp.items()}
    form, axes = _form(method, u.shape[0])
    if soft is not None:
        side = {"m": mask, "soft": jnp.where(mask[:, None], lax.stop_gradient(soft.astype(jnp.float32)), 0.0)}
    else:
        ids = _ids(group, mask)
        count = jnp.ones_like(ids, jnp.float32) if group is None else _positives(ids)
        side = {"m": mask, "id": ids, "count": count}
    if form == "dense":
        return _dense_infonce(u, v, scale, side, hp, extra_keys)
    kind = "soft" if soft is not None else "group" if group is not None else "pair"
    return infonce_kernel.chunked(tiles.Static(chunk, axes, form, kind), u, v, scale, side, hp, extra_keys)


def sigmoid(u: jax.Array, v: jax.Array, scale: jax.Array, bias: jax.Array, *, group: jax.Array | None = None,
            soft: jax.Array | None = None, valid: jax.Array | None = None, method: str = "auto",
            chunk: int = CHUNK) -> jax.Array:
    """Binary cross entropy of every pair, -1/n sum_ij log sigmoid(z_ij (s u_i . v_j + b)): an f32 scalar.

    Args:
        u, v, scale, valid, method, chunk: as in `infonce`; n is the number of valid rows.
        bias: b, added to every logit.
        group: i32[B]; z_ij = +1 for all pairs of one group >= 0 and for every row with its own partner, else -1.
        soft: f[B,K] label vectors, replace `group`: the target of pair ij is their cosine clipped to [0, 1] (1 for a
            row and its own partner, else 0 where a vector is all zero), the loss the binary cross entropy with it.
    Raises:
        ValueError: as `infonce`.
    Source: Zhai 2023 (SigLIP), eq. 1.
    """
    u, v, scale, mask = _inputs(u, v, scale, valid, {"group": group, "soft": soft}, method)
    bias = jnp.asarray(bias, jnp.float32)
    n = _count(mask)
    form, axes = _form(method, u.shape[0])
    side = {"m": mask, "id": _ids(None if soft is not None else group, mask)}
    if soft is not None:
        label = jnp.where(mask[:, None], lax.stop_gradient(soft.astype(jnp.float32)), 0.0)
        norm = jnp.linalg.norm(label, axis=1, keepdims=True)
        side["soft"] = label / jnp.where(norm > 0, norm, 1.0)
    if form == "dense":
        return _dense_sigmoid(u, v, scale, bias, side, n)
    static = tiles.Static(chunk, axes, form, "soft" if soft is not None else "group")
    return sigmoid_kernel.chunked(static, u, v, scale, bias, side, n)


def _inputs(u, v, scale, valid, options, method):
    if u.ndim != 2 or u.shape != v.shape:
        raise ValueError(f"u has shape {u.shape} and v {v.shape}: expected two equal (B, D)")
    for name, value in {"valid": valid, **options}.items():
        rank = 2 if name == "soft" else 1
        if value is not None and (value.ndim != rank or value.shape[0] != u.shape[0]):
            raise ValueError(f"{name} has shape {value.shape}: expected {rank} axes and {u.shape[0]} rows, as u")
    if method not in METHODS:
        raise ValueError(f"method {method!r} is unknown: choose one of {', '.join(METHODS)}")
    mask = jnp.ones(u.shape[0], bool) if valid is None else valid.astype(bool)
    return u.astype(jnp.float32), v.astype(jnp.float32), jnp.asarray(scale, jnp.float32), mask


def _form(method: str, batch: int) -> tuple[str, tuple[str, ...]]:
    """The form of `method` and the row axes it runs over."""
    axes = row_axes()
    if method == "auto":
        method = "gather" if axes else "chunked" if batch > DENSE_LIMIT else "dense"
    # Under a mesh "chunked" has rows on several devices, too: it is the gather form.
    return "gather" if method == "chunked" else method, axes


def _count(mask):
    return jnp.maximum(mask.sum(), 1).astype(jnp.float32)


def _ids(group, mask):
    """i32[B] equal exactly for positive pairs: the group, or a negative number of its own where there is none."""
    unique = -1 - jnp.arange(mask.shape[0], dtype=jnp.int32)
    return unique if group is None else jnp.where(mask & (group >= 0), group.astype(jnp.int32), unique)


def _positives(ids):
    """f32[B]: how many rows share each row's id, by sorting."""
    order = jnp.sort(ids)
    ends = (jnp.searchsorted(order, ids, side=side, method="sort") for side in ("right", "left"))
    return (next(ends) - next(ends)).astype(jnp.float32)


def _dense_infonce(u, v, scale, side, hp, queue):
    mask, n, w, eps = side["m"], hp["n"], hp["direction"], hp["smoothing"]
    u, v = jnp.where(mask[:, None], u, 0.0), jnp.where(mask[:, None], v, 0.0)
    pair = mask[:, None] & mask[None, :]
    raw = scale * (u @ v.T)
    logits = jnp.where(pair, raw, NEG)
    wide = logits if queue is None else jnp.concatenate([logits, scale * (u @ queue.T)], 1)
    if "soft" in side:
        label = side["soft"] @ side["soft"].T / hp["soft_temperature"]
        label = jnp.where(pair, label, NEG)
        target = w * jax.nn.softmax(label, 1) + (1 - w) * jax.nn.softmax(label, 0)
    else:
        target = (side["id"][:, None] == side["id"][None, :]) / side["count"][:, None]
    target = (1 - eps) * target + eps / n
    cross = jnp.where(pair, target * raw, 0.0).sum(1)
    each = w * jax.nn.logsumexp(wide, 1) + (1 - w) * jax.nn.logsumexp(logits, 0) - cross
    return jnp.where(mask, each, 0.0).sum() / n


def _dense_sigmoid(u, v, scale, bias, side, n):
    mask = side["m"]
    u, v = jnp.where(mask[:, None], u, 0.0), jnp.where(mask[:, None], v, 0.0)
    logits = scale * (u @ v.T) + bias
    target = (side["id"][:, None] == side["id"][None, :]).astype(jnp.float32)
    if "soft" in side:
        target = jnp.where(target > 0, 1.0, jnp.clip(side["soft"] @ side["soft"].T, 0.0, 1.0))
    each = -(target * jax.nn.log_sigmoid(logits) + (1 - target) * jax.nn.log_sigmoid(-logits))
    return jnp.where(mask[:, None] & mask[None, :], each, 0.0).sum() / n
