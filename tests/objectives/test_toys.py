"""Objectives of the toy studies against naive references: distances and inner products in InfoNCE, alignment and uniformity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmrep.core.types import Encoded
from mmrep.objectives import OBJECTIVES

rng = np.random.default_rng(0)
N, D = 13, 5
A, B = rng.normal(size=(2, N, D)).astype(np.float32)
HERE = np.array([True] * 10 + [False] * 3)


def value(objective, a, b, here=None):
    """(loss, gradient to both) of an objective with a fixed temperature, whose encodings are the same in every field."""
    batch = {"index": jnp.arange(N)} | ({"valid": jnp.asarray(here)} if here is not None else {})
    hp = {k: jnp.float32(v) for k, v in objective.hp.items()}

    def loss(a, b):
        both = {"a": Encoded(pooled=a, embedding=a), "b": Encoded(pooled=b, embedding=b)}
        return objective.loss({}, {}, both, batch, None, hp, {})[0]

    return float(loss(a, b)), jax.grad(loss, (0, 1))(jnp.asarray(a), jnp.asarray(b))


@pytest.mark.parametrize("similarity", ["dot", "l2"])
@pytest.mark.parametrize("here", [None, HERE])
def test_unnormalized_infonce_is_the_sum_over_rows(similarity, here):
    def naive(a, b, scale):
        s = np.array([[(x @ y if similarity == "dot" else -np.square(x - y).sum()) for y in b] for x in a], np.float64) * scale
        rows = [np.log(np.exp(row).sum()) - row[i] for i, row in enumerate(s)]
        columns = [np.log(np.exp(row).sum()) - row[i] for i, row in enumerate(s.T)]
        return (np.mean(rows) + np.mean(columns)) / 2

    objective = OBJECTIVES["contrastive"]("a", "b", similarity=similarity, temperature=0.7, learn_temperature=False)
    assert objective.needs == {"a": ("pooled",), "b": ("pooled",)}
    loss, grads = value(objective, A, B, here)
    kept = slice(None) if here is None else here
    assert np.isclose(loss, naive(A[kept], B[kept], 1 / 0.7), rtol=1e-5)
    step = 1e-3 * rng.normal(size=A.shape) * (1 if here is None else here[:, None])
    slope = (value(objective, A + step, B, here)[0] - value(objective, A - step, B, here)[0]) / 2
    assert np.isclose(slope, (np.asarray(grads[0]) * step).sum(), rtol=0.02, atol=1e-6)
    if here is not None:
        assert not np.asarray(grads[0])[~here].any()


@pytest.mark.parametrize("here", [None, HERE, np.zeros(N, bool)])
def test_alignment_and_uniformity_are_wang_and_isolas(here):
    u, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (A, B))
    kept = slice(None) if here is None else here
    x, y = u[kept].astype(np.float64), v[kept].astype(np.float64)

    def uniform(z):
        pairs = [np.exp(-1.5 * np.square(z[i] - z[j]).sum()) for i in range(len(z)) for j in range(len(z)) if i != j]
        return np.log(np.mean(pairs)) if pairs else 0.0

    want = 0.8 * (np.mean(np.linalg.norm(x - y, axis=1) ** 3) if len(x) else 0.0) + 0.3 * (uniform(x) + uniform(y)) / 2
    loss, grads = value(OBJECTIVES["align_uniform"]("a", "b", align=0.8, uniform=0.3, power=3.0, t=1.5), u, v, here)
    assert np.isclose(loss, want, rtol=1e-4, atol=1e-6) and all(np.isfinite(g).all() for g in grads)


def test_unknown_similarities_are_named():
    with pytest.raises(ValueError, match="did you mean 'cosine'"):
        OBJECTIVES["contrastive"]("a", "b", similarity="cosin")
