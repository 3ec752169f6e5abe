"""CKA and mutual kNN against naive references, invariances and closed forms."""

import numpy as np
import pytest

from mmrep.metrics import similarity as sim


def _pair(n: int, p: int, q: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 4))
    return tuple(z @ rng.normal(size=(4, w)) + rng.normal(size=(n, w)) + 3 for w in (p, q))


def _naive_hsic_unbiased(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    """Song 2012 through its U-statistic: mean over distinct (i, j, q, r), n <= 8."""
    from itertools import permutations

    total = [k[i, j] * (l[i, j] + l[q, r] - 2 * l[i, q]) for i, j, q, r in permutations(range(len(k)), 4)]
    return float(np.mean(total))


def test_cka_biased_equals_its_definition_in_both_forms():
    for n, p, q in ((60, 5, 9), (12, 40, 30)):  # feature form, Gram form
        x, y = _pair(n, p, q)
        h = np.eye(n) - 1 / n
        k, m = h @ x @ x.T @ h, h @ y @ y.T @ h
        expected = np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m))
        assert sim.linear_cka(x, y) == pytest.approx(expected, rel=1e-10)
        assert sim.cka_from_grams(x @ x.T, y @ y.T, debiased=False) == pytest.approx(expected, rel=1e-9)


def test_debiased_hsic_equals_the_u_statistic():
    x, y = _pair(7, 3, 4)
    k, m = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0), np.fill_diagonal(m, 0)
    assert sim.hsic_unbiased(x @ x.T, y @ y.T) == pytest.approx(_naive_hsic_unbiased(k, m), rel=1e-9)


def test_debiased_cka_forms_agree():
    for n, p, q in ((60, 5, 9), (12, 40, 30)):
        x, y = _pair(n, p, q)
        assert sim.cka_debiased_linear(x, y) == pytest.approx(sim.cka_from_grams(x @ x.T, y @ y.T), rel=1e-9)


@pytest.mark.parametrize("cka", [sim.linear_cka, sim.cka_debiased_linear, sim.rbf_cka])
def test_cka_invariances(cka):
    x, y = _pair(50, 6, 9)
    rng = np.random.default_rng(1)
    q, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    value = cka(x, y)
    assert cka(x, x) == pytest.approx(1, abs=1e-12)
    assert cka(x @ q * 7.3 + 11, y) == pytest.approx(value, rel=1e-8)
    assert cka(y, x) == pytest.approx(value, rel=1e-10)
    assert abs(cka(x @ np.diag([100, 1, 1, 1, 1, 0.01]), y) - value) > 0.01  # not invariant to linear maps
    assert cka(np.full((50, 6), 0.1, np.float32), y) == 0.0  # collapsed
    with pytest.raises(ValueError, match="same number"):
        cka(x, y[:-1])
    x[3, 2] = np.nan
    with pytest.raises(ValueError, match="x row 3 is not finite"):
        cka(x, y)


def test_independent_wide_gaussians_debiased_is_zero_biased_near_one():
    rng = np.random.default_rng(0)
    draws = [(rng.normal(size=(64, 8192)), rng.normal(size=(64, 8192))) for _ in range(8)]
    debiased = np.array([sim.cka_debiased_linear(x, y) for x, y in draws])
    assert abs(debiased.mean()) < 4 * debiased.std(ddof=1) / np.sqrt(len(draws)) and abs(debiased.mean()) < 0.02
    assert sim.linear_cka(*draws[0]) > 0.98


def test_rbf_cka_tends_to_linear_for_a_wide_kernel():
    x, y = _pair(80, 5, 7)
    assert sim.rbf_cka(x, y, fraction=300.0) == pytest.approx(sim.linear_cka(x, y), abs=1e-4)


def test_knn_equals_a_naive_loop_with_ties_by_index():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3)).astype(np.float32)
    x[5:12] = x[4]  # duplicates
    x[20:] = np.round(x[20:])  # and more ties
    unit = x.astype(np.float64) / np.maximum(np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True), 1e-300)
    for k in (1, 3, 10, 39):
        table = sim.knn(x, k, chunk=7)
        for i in range(40):
            order = sorted((j for j in range(40) if j != i), key=lambda j: (-round(float(unit[i] @ unit[j]), 9), j))
            assert table[i].tolist() == sorted(order[:k])
    with pytest.raises(ValueError, match="between 1 and n - 1 = 39"):
        sim.knn(x, 40)


def test_mutual_knn_identical_rotated_and_independent():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 8))
    q, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    assert sim.mutual_knn(x, x @ q * 3) == 1.0
    n, k = 200, 10
    values = [sim.mutual_knn(rng.normal(size=(n, 8)), rng.normal(size=(n, 5)), k) for _ in range(40)]
    assert abs(np.mean(values) - k / (n - 1)) < 3 * np.std(values, ddof=1) / np.sqrt(len(values))


def test_knn_overlap_is_the_set_intersection():
    rng = np.random.default_rng(0)
    a, b = (np.array([np.sort(rng.choice(12, 5, replace=False)) for _ in range(30)]) for _ in range(2))
    assert np.allclose(sim.knn_overlap(a, b), [len(set(i) & set(j)) / 5 for i, j in zip(a, b)])


def test_products_of_kernels_are_debiased_cka():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 7))
    y = x[:, :5] + rng.normal(size=(40, 5))
    order = rng.permutation(40)
    kernels = sim.cka_kernel(x), sim.cka_kernel(y)[np.ix_(order, order)]
    assert np.isclose((kernels[0] * kernels[1]).sum(), sim.cka_debiased_linear(x, y[order]), atol=1e-6)
    assert np.isclose((kernels[0] ** 2).sum(), 1, atol=1e-5) and not sim.cka_kernel(np.ones((40, 3))).any()
