"""Statistics over seeds against scipy, closed forms and simulation."""

import itertools

import numpy as np
import pytest
from scipy import stats

from mmrep.metrics import seeds


def test_t_interval_is_scipys_and_covers():
    x = np.random.default_rng(0).normal(3, 2, 7)
    mean, low, high = seeds.t_interval(x)
    want = stats.ttest_1samp(x, 0).confidence_interval(0.95)
    assert np.allclose([mean, low, high], [x.mean(), want.low, want.high])
    assert np.isnan(seeds.t_interval([1.0])[1:]).all() and np.isnan(seeds.t_interval([])).all()
    draws = np.random.default_rng(1).normal(0, 1, (4000, 5))
    inside = np.mean([low < 0 < high for _, low, high in map(seeds.t_interval, draws)])
    assert abs(inside - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 4000)


def test_sign_flips_are_exact_for_few_pairs():
    d = np.random.default_rng(2).normal(0.5, 1, 9)
    patterns = np.array(list(itertools.product((1, -1), repeat=9)))
    assert seeds.sign_flip(d) == np.mean(np.abs(patterns @ d) >= abs(d.sum()) - 1e-12)
    want = stats.permutation_test((d,), lambda x: x.mean(), permutation_type="samples", n_resamples=np.inf, vectorized=False)
    assert np.isclose(seeds.sign_flip(d), want.pvalue)
    assert seeds.sign_flip([1, 2, 3]) == seeds.smallest_p(3) == 0.25  # three paired seeds never can
    assert seeds.sign_flip([0.0, 0.0]) == 1.0 and seeds.sign_flip([5.0]) == 1.0
    assert np.isnan(seeds.sign_flip([])) and np.isnan(seeds.sign_flip([1.0, np.nan]))


def test_sign_flips_of_many_pairs_are_close_to_the_t_test_and_keep_their_level():
    rng = np.random.default_rng(3)
    d = rng.normal(0.4, 1, 40)
    assert abs(seeds.sign_flip(d) - stats.ttest_1samp(d, 0).pvalue) < 0.01
    p = np.array([seeds.sign_flip(x) for x in rng.normal(0, 1, (2000, 8))])
    assert np.mean(p <= 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)


def test_holm_steps_down():
    assert np.allclose(seeds.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])  # Holm 1979, by hand
    assert np.allclose(seeds.holm([0.5, 0.9]), [1.0, 1.0]) and seeds.holm([]) == []
    with_nan = seeds.holm([0.01, np.nan])
    assert with_nan[0] == 0.02 and np.isnan(with_nan[1])


def test_effect_and_detectable_difference():
    d = np.array([0.2, 0.5, 0.1, 0.4])
    g = d.mean() / d.std(ddof=1) * (1 - 3 / (4 * 3 - 1))
    assert np.isclose(seeds.hedges_g(d), g) and np.isnan(seeds.hedges_g([1.0, 1.0, 1.0])) and np.isnan(seeds.hedges_g([1.0, 2.0]))
    rng, n, sd = np.random.default_rng(4), 8, 1.0
    shift = np.median([seeds.detectable(rng.normal(0, sd, n)) for _ in range(400)])
    power = np.mean([stats.ttest_1samp(rng.normal(shift, sd, n), 0).pvalue < 0.05 for _ in range(1500)])
    assert abs(power - 0.8) < 0.08  # the usual approximation of the noncentral t
    assert np.isnan(seeds.detectable([1.0])) and pytest.approx(0) == seeds.detectable([2.0, 2.0])
