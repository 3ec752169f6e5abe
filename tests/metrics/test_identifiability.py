"""R^2 of regressions against scikit-learn's own score."""

import numpy as np
import pytest
from sklearn.metrics import r2_score

from mmrep.metrics import identifiability as ident


def test_r2_is_sklearns_and_weights_are_repeated_rows():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(50, 3))
    p = y + rng.normal(size=(50, 3)) * (0.1, 1, 3)
    assert np.isclose(ident.r2(y, p), r2_score(y, p))
    weights = rng.integers(0, 3, (4, 50))
    assert np.allclose(ident.r2(y, p, weights), [r2_score(np.repeat(y, w, 0), np.repeat(p, w, 0)) for w in weights])
    flat = np.ones((5, 1))
    assert ident.r2(flat, flat) == 1 and ident.r2(flat, flat + 1) == 0


def test_regressions_find_what_is_there():
    rng = np.random.default_rng(1)
    z = rng.normal(size=(900, 2))
    x = np.concatenate([z @ rng.normal(size=(2, 4)), np.sin(2 * z)], 1)
    train, val, test = slice(0, 400), slice(400, 600), slice(600, 900)
    assert ident.r2(z[test], ident.linear(x[train], z[train], x[test])) > 0.999
    square = z**2
    assert ident.r2(square[test], ident.linear(x[train], square[train], x[test])) < 0.1
    predicted, chosen = ident.kernel_ridge(x[train], square[train], (x[val], square[val]), x[test])
    assert ident.r2(square[test], predicted) > 0.9 and chosen["alpha"] in ident.ALPHAS and chosen["gamma"] in ident.GAMMAS
    noise = rng.normal(size=(900, 2))
    assert ident.r2(noise[test], ident.kernel_ridge(x[train], noise[train], (x[val], noise[val]), x[test])[0]) == pytest.approx(0, abs=0.15)
