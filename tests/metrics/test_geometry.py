"""Geometry metrics against closed forms, hand examples and naive loops."""

from itertools import combinations

import numpy as np
import pytest

from mmrep.metrics import geometry as geo


def test_uniformity_closed_form_published_values_and_large_dim():
    for dim, value in ((2, -1.5750), (3, -2.0798), (32, -3.7518), (128, -3.9375)):
        assert geo.uniformity_of_uniform(dim) == pytest.approx(value, abs=6e-5)
    from scipy.special import gammaln, iv

    kappa, d = 4.0, 20
    bessel = np.log(iv(d / 2 - 1, kappa)) + gammaln(d / 2) + (d / 2 - 1) * np.log(2 / kappa)
    assert geo.uniformity_of_uniform(d) == pytest.approx(-4 + bessel, abs=1e-12)
    assert geo.uniformity_of_uniform(4096) == pytest.approx(-4.0, abs=3e-3)  # does not underflow


def test_uniformity_of_samples_reaches_the_floor_and_equals_pdist():
    from scipy.spatial.distance import pdist

    rng = np.random.default_rng(0)
    for dim in (2, 32):
        x = rng.normal(size=(5000, dim))
        assert geo.uniformity(x) == pytest.approx(geo.uniformity_of_uniform(dim), abs=5e-3)
    x = rng.normal(size=(70, 6)) + 1
    expected = np.log(np.exp(-2 * pdist(geo.normalize(x)) ** 2).mean())
    assert geo.uniformity(x, chunk=16) == pytest.approx(expected, rel=1e-12)
    assert geo.uniformity(np.ones((9, 4))) == pytest.approx(0.0, abs=1e-12)


def test_relative_modality_gap_by_hand():
    # Matched pairs are orthogonal (d = 1/2); within x: cos 0 (d = 1/2); within y: cos -1... so d = 1.
    x = np.array([[1.0, 0, 0], [0, 2.0, 0]])
    y = np.array([[0, 0, 3.0], [0, 0, -1.0]])
    assert geo.relative_modality_gap(x, y) == pytest.approx(0.5 / (0.5 + (0.5 + 1.0) / 2))
    # Perfect alignment: the matched mean is the published 1e-3, within both modalities d = 1/2.
    assert geo.relative_modality_gap(x, x) == pytest.approx(1e-3 / (1e-3 + 0.5))


def test_relative_modality_gap_equals_a_naive_loop():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 20, 5)) + np.array([1.0, -0.2])[:, None, None]
    cos = lambda a, b: a @ b / np.linalg.norm(a) / np.linalg.norm(b)  # noqa: E731
    matched = np.mean([(1 - cos(a, b)) / 2 for a, b in zip(x, y)])
    within = [np.mean([(1 - cos(a, b)) / 2 for a, b in combinations(z, 2)]) for z in (x, y)]
    assert geo.relative_modality_gap(x, y) == pytest.approx(matched / (matched + np.mean(within)))
    assert geo.anisotropy(x) == pytest.approx(np.mean([cos(a, b) for a, b in combinations(x, 2)]))
    unit = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y)]
    assert geo.alignment(x, y) == pytest.approx(np.mean([np.sum((a - b) ** 2) for a, b in zip(*unit)]))
    assert geo.alignment(x, y, alpha=1) == pytest.approx(np.mean([np.linalg.norm(a - b) for a, b in zip(*unit)]))
    gap = unit[0].mean(0) - unit[1].mean(0)
    assert geo.modality_gap(x, y) == pytest.approx(np.linalg.norm(gap))
    assert geo.centroid_cosine(x, y) == pytest.approx(cos(unit[0].mean(0), unit[1].mean(0)))


def test_gap_extremes_and_errors():
    x = np.tile([[1.0, 0]], (5, 1))
    assert geo.modality_gap(x, -x) == pytest.approx(2) and geo.centroid_cosine(x, -x) == pytest.approx(-1)
    assert geo.modality_gap(x, 9 * x) == 0 and geo.alignment(x, 9 * x) == 0
    with pytest.raises(ValueError, match="row 2 is not finite"):
        geo.modality_gap(np.array([[1.0], [2.0], [np.nan]]), x)
    with pytest.raises(ValueError, match="one shape"):
        geo.alignment(x, x[:3])


def test_dimensions_of_isotropic_low_rank_and_known_spectra():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20000, 16))
    for dimension in (geo.effective_rank, geo.participation_ratio, geo.stable_rank):
        assert dimension(x) == pytest.approx(16, rel=0.08)
        low = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 40))
        assert dimension(low) <= 3 + 1e-3 and dimension(5 * low) == pytest.approx(dimension(low))
        assert dimension(np.zeros((4, 3))) == 1.0
    sigma = np.array([4.0, 2, 1])
    q, r = (np.linalg.qr(rng.normal(size=s))[0] for s in ((30, 3), (3, 3)))
    z = q * sigma @ r
    p = sigma / 7
    assert geo.effective_rank(z, epsilon=0) == pytest.approx(np.exp(-(p * np.log(p)).sum()))
    assert geo.effective_rank(z) == pytest.approx(geo.effective_rank(z, epsilon=0), abs=1e-5)
    assert geo.participation_ratio(z, center=False) == pytest.approx(21**2 / (256 + 16 + 1))
    assert geo.stable_rank(z) == pytest.approx(21 / 16)
    eigenvalues = np.linalg.eigvalsh(np.cov(x[:500].T))
    assert geo.participation_ratio(x[:500]) == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())


def test_separability_is_chance_of_one_law_and_one_of_two_caps():
    rng = np.random.Generator(np.random.Philox(5))
    x, y, shift = rng.normal(size=(300, 8)), rng.normal(size=(300, 8)), np.eye(8)[0] * 6
    alike = geo.separability(x, y)
    assert alike.shape == (300,) and set(alike) <= {0.0, 0.5, 1.0} and 0.4 < alike.mean() < 0.6
    assert geo.separability(x + shift, y - shift).mean() > 0.99
    assert geo.separability(x, x).mean() <= 0.5  # pairs that fall together cannot be told apart
    with pytest.raises(ValueError, match="10 pairs; got 9"):
        geo.separability(x[:9], y[:9])
