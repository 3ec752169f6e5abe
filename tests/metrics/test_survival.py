"""Harrell's C against its definition, pair by pair, and where it is known."""

import numpy as np
import pytest

from mmrep.metrics.survival import concordance


def naive(time, event, risk):
    good = pairs = 0.0
    for i in range(len(time)):
        for j in range(len(time)):
            if event[i] and (time[i] < time[j] or time[i] == time[j] and not event[j]):
                pairs += 1
                good += 1.0 if risk[i] > risk[j] else 0.5 if risk[i] == risk[j] else 0.0
    return good / pairs


@pytest.mark.parametrize("seed", range(6))
def test_it_is_its_definition_with_ties_in_time_and_risk(seed):
    rng = np.random.default_rng(seed)
    time, event, risk = rng.integers(1, 12, 70).astype(float), rng.random(70) < 0.6, rng.integers(0, 5, 70).astype(float)
    assert concordance(time, event, risk, chunk=7) == pytest.approx(naive(time, event, risk), abs=1e-12)
    assert concordance(time, event, risk) + concordance(time, event, -risk) == pytest.approx(1)


def test_known_values_and_bad_input():
    time = np.arange(1.0, 9)
    assert concordance(time, np.ones(8), -time) == 1 and concordance(time, np.ones(8), time) == 0
    assert concordance(time, np.ones(8), np.zeros(8)) == 0.5 and concordance([1, 1], [1, 0], [2, 1]) == 1
    # Weibull proportional hazards without censoring: P(the higher risk dies first) = mean of 1 / (1 + exp(-|difference of log hazards|))
    rng = np.random.default_rng(0)
    risk = rng.normal(size=4000)
    died = (-np.log(rng.random(4000)) / np.exp(risk)) ** (1 / 1.5)
    difference = np.abs(risk[:, None] - risk[None])[np.triu_indices(4000, 1)]
    assert concordance(died, np.ones(4000), risk) == pytest.approx((1 / (1 + np.exp(-difference))).mean(), abs=0.01)
    for wrong, why in (((time, np.ones(7), time), "one each of every subject"), ((time, np.ones(8), time * np.nan), "NaN or infinity"),
                       ((time, np.full(8, np.nan), time), "neither 0 nor 1"), ((time, -np.ones(8), time), "neither 0 nor 1"),
                       ((time, np.zeros(8), time), "no subject is known to die")):
        with pytest.raises(ValueError, match=why):
            concordance(*wrong)
