"""Statistics over seeds: intervals of means, paired tests by sign flips, Holm's correction, effect sizes, what a design can detect.

The unit is a run: how examples vary within a test set is another question, which the intervals of `intervals` answer.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np

DRAWS = 100_000  # random flips for more pairs
EXACT = 16  # up to so many pairs all 2^n sign patterns are counted


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """(mean, low, high) of Student's t interval over runs; the ends are NaN for fewer than two. NaN among the values gives NaN."""
    from scipy.stats import t

    x = np.asarray(values, np.float64)
    if not len(x):
        return math.nan, math.nan, math.nan
    mean = float(x.mean())
    if len(x) < 2:
        return mean, math.nan, math.nan
    half = float(t.ppf(0.5 + level / 2, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x)))
    return mean, mean - half, mean + half


def sign_flip(differences: Sequence[float], draws: int = DRAWS, seed: int = 0) -> float:
    """Two-sided p of paired differences under H0: each is as likely -d as d (Fisher 1935). Exact up to 16 pairs, else by random flips.

    p = share of sign patterns whose |mean| is at least the observed one's; the smallest possible is 2 / 2^n. NaN for no pairs.
    """
    d = np.asarray(differences, np.float64)
    if not len(d) or not np.isfinite(d).all():
        return math.nan
    seen = abs(d.sum()) - 1e-12 * np.abs(d).sum()  # equal sums must count as equal whatever their rounding
    if len(d) <= EXACT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(d) - 1))).reshape(2 ** (len(d) - 1), len(d) - 1)
        sums = d[0] + signs @ d[1:]  # the other half is its mirror image
        return float((np.abs(sums) >= seen).mean())
    rng = np.random.Generator(np.random.Philox(seed))
    signs = rng.integers(0, 2, (draws, len(d)), np.int8) * 2.0 - 1.0
    return float(((np.abs(signs @ d) >= seen).sum() + 1) / (draws + 1))


def smallest_p(n: int) -> float:
    """The smallest two-sided p that `sign_flip` can give of n pairs: 0.25 of three; of more than 16 that of its random flips."""
    return 2.0 ** (1 - n) if 0 < n <= EXACT else 1 / (DRAWS + 1) if n else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values (Holm 1979), in the given order; NaN stays NaN and counts as one of the family."""
    p = np.asarray(p, np.float64)
    adjusted, running = np.full(len(p), math.nan), 0.0
    order = [i for i in np.argsort(p, kind="stable") if not math.isnan(p[i])]
    for rank, i in enumerate(order):
        running = max(running, min((len(p) - rank) * p[i], 1.0))
        adjusted[i] = running
    return adjusted.tolist()


def hedges_g(differences: Sequence[float]) -> float:
    """Standardized mean of paired differences, mean / deviation, with Hedges' correction for few pairs (Hedges 1981, eq. 6e); NaN for
    fewer than three, of which the correction makes 0, or where all are equal."""
    d = np.asarray(differences, np.float64)
    if len(d) < 3 or not d.std(ddof=1) > 0:
        return math.nan
    return float(d.mean() / d.std(ddof=1) * (1 - 3 / (4 * (len(d) - 1) - 1)))


def detectable(differences: Sequence[float], power: float = 0.8, level: float = 0.95) -> float:
    """The smallest true mean difference that as many pairs of this deviation would find in `power` of all studies, by a t test; NaN for
    fewer than two pairs."""
    from scipy.stats import t

    d = np.asarray(differences, np.float64)
    if len(d) < 2:
        return math.nan
    free = len(d) - 1
    return float((t.ppf(0.5 + level / 2, free) + t.ppf(power, free)) * d.std(ddof=1) / math.sqrt(len(d)))
