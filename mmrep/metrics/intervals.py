"""Intervals and nulls: case bootstrap, mean of per-query values, delete-group jackknife, permutation null, Wilson.

Which one (coverage of the 95 % interval by simulation stands in tests/metrics/test_intervals.py):
  per-example metric (accuracy, AUROC, F1, ECE)      `mean_interval` for means, `auroc_interval`, else `bootstrap(_weighted)`
  retrieval, gallery held fixed                      `mean_interval` of the per-query values
  pairwise metric (CKA, kNN, uniformity, rank, gap)  `jackknife`, beside a `permutation_null` at the same n and k
  difference of two methods on the same examples     `mean_interval(a - b, bounds=None)`, or `bootstrap_weighted` of the difference
`cases` [n] names the patient or case of every row: cases, not rows, are resampled. Everything is a function of the
seed.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

Arrays = np.ndarray | tuple[np.ndarray, ...]
Bounds = tuple[float, float] | None
_BLOCK = 1 << 22  # elements of a block of weights: 32 MiB


class Interval(NamedTuple):
    """A value, the ends of its interval, and n, the number of rows it rests on."""

    value: float
    low: float
    high: float
    n: int


class Null(NamedTuple):
    """A statistic, its mean, upper and lower quantile when the pairing is permuted, the p-value, rows, permutations."""

    value: float
    mean: float
    upper: float
    p: float
    n: int
    permutations: int
    lower: float


def wilson(successes: float, n: float, level: float = 0.95, degrees: float | None = None) -> Interval:
    """Wilson score interval of a proportion, in [0, 1]; n > 0, may be fractional (an effective sample size).

    Never of zero width: 50 of 50 gives [0.929, 1]. degrees: use a t quantile, for a variance estimated from few cases.
    Source: Wilson 1927.
    """
    if not (n > 0 and -1e-9 <= successes <= n * (1 + 1e-9)):
        raise ValueError(f"wilson needs 0 <= successes <= n and n > 0; got {successes} of {n}")
    p = min(max(successes / n, 0.0), 1.0)
    z = _quantile(level, degrees)
    center = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At the ends the limit is the value itself; only rounding would say otherwise.
    return Interval(p, min(float(max(center - half, 0.0)), p), max(float(min(center + half, 1.0)), p), round(n))


def mean_interval(
    values: np.ndarray,
    cases: np.ndarray | None = None,
    bounds: Bounds = (0.0, 1.0),
    level: float = 0.95,
    n_boot: int = 1000,
    seed: int = 0,
) -> Interval:
    """Interval of the mean of per-example values f[n] over cases: accuracy, hits at k, reciprocal ranks, differences.

    For retrieval the values are the queries', the gallery is held fixed: the interval speaks of new queries against
    this gallery, not of another gallery.
    bounds (low, high): the values lie in them; a Wilson interval with the effective sample size m(1 - m) / se^2, se the
    case-resampling standard error in closed form (nothing is drawn), and a t quantile with cases - 1 degrees. It keeps
    coverage near the bounds, where the percentile bootstrap is too short (0.908 against 0.961 at 0.95 of 50, 0.39
    against 0.91 at 0.99 of 50), and has positive width where all values agree (the effective size is then the number of
    cases). bounds None: percentile case bootstrap with tails widened for few cases, as `bootstrap`.
    Raises ValueError for fewer than two cases, values outside bounds or not finite, with the row.
    Source: Korn & Graubard 1998 for the effective size; cluster variance of a ratio, Cochran 1977, 11.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(f"values must be finite and [n]; got shape {values.shape}")
    codes, count = _cases(cases, len(values))
    if bounds is None:
        # Only the sums and sizes of the cases enter, so the resampling runs over cases, not rows.
        sums, sizes = np.bincount(codes, values), np.bincount(codes).astype(np.float64)
        replicates = [(w @ sums) / (w @ sizes) for w in _weights(np.arange(count), count, n_boot, seed)]
        return _percentile(float(values.mean()), np.concatenate(replicates), level, count, len(values), None)
    outside = (values < bounds[0] - 1e-9) | (values > bounds[1] + 1e-9)
    if outside.any():
        row = int(np.argmax(outside))
        raise ValueError(f"value {values[row]} of row {row} is outside the bounds {bounds}; pass bounds=None")
    mean = float(values.mean())
    variance = np.square(np.bincount(codes, values - mean)).sum() * count / (count - 1) / len(values) ** 2
    return _bounded(mean, float(variance), bounds, level, float(count), count - 1, len(values))


def bootstrap(
    statistic: Callable[..., float],
    arrays: Arrays,
    cases: np.ndarray | None = None,
    n_boot: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    bounds: Bounds = None,
    support: float | None = None,
) -> Interval:
    """Case bootstrap of statistic(*arrays), arrays [n, ...] whose rows are resampled together, by case.

    bounds None: percentile interval, tails widened for few cases (t in place of z and sqrt(C / (C - 1)): Hesterberg
    2015). bounds (low, high), the statistic's range: the bootstrap gives the variance, the interval is Wilson's with
    the effective size v(1 - v) / variance and a t quantile; the percentile interval is too short near a bound (AUROC
    0.96 with 18 positives: 0.87 against 0.92). Where the value sits ON a bound (an AUROC of 1) the bootstrap sees no
    spread, and the size becomes `support`: the number of cases that carry the statistic (default all; for AUROC those
    of the rarer label), which also gives the t quantile its degrees.
    A resample in which the statistic is NaN or raises ValueError (a class is missing) is left out; ValueError where
    that is more than half. NOT for pairwise metrics: resampled duplicates are each other's neighbors; use `jackknife`.
    The loop is slow; where the metric accepts weights use `bootstrap_weighted`.
    """
    arrays = arrays if isinstance(arrays, tuple) else (arrays,)
    codes, count = _cases(cases, len(arrays[0]))
    if any(len(a) != len(codes) for a in arrays):
        raise ValueError(f"arrays must have one length; got {[len(a) for a in arrays]}")
    replicates = _replicates(lambda rows: statistic(*(a[rows] for a in arrays)), codes, count, n_boot, seed)
    return _percentile(float(statistic(*arrays)), replicates, level, count, len(codes), bounds, support)


def bootstrap_weighted(
    statistic: Callable[[np.ndarray], np.ndarray],
    n: int,
    cases: np.ndarray | None = None,
    n_boot: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    bounds: Bounds = None,
    support: float | None = None,
) -> Interval:
    """`bootstrap` for a statistic of weights: f[B, n] multiplicities -> f[B], in blocks, without a loop over resamples.

    `bootstrap_weighted(lambda w: macro_auroc(labels, scores, w), len(labels), cases, bounds=(0, 1))`; the difference of
    two methods is `lambda w: macro_auroc(labels, a, w) - macro_auroc(labels, b, w)`. The value is the statistic at
    weights of one.
    """
    codes, count = _cases(cases, n)
    value = float(statistic(np.ones((1, n)))[0])
    replicates = np.concatenate([statistic(w) for w in _weights(codes, count, n_boot, seed)])
    return _percentile(value, replicates, level, count, n, bounds, support)


def auroc_interval(
    labels: np.ndarray,
    scores: np.ndarray,
    cases: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    n_boot: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Case-bootstrap interval of the (macro) AUROC; labels and scores as `classification.macro_auroc`, or both [n].

    With one class the `support` is m, the cases of its rarer label. With several, whose variances go as 1 / m_k, it is
    1 + Satterthwaite's degrees of freedom, (sum 1/m_k)^2 / sum 1/(m_k^2 (m_k - 1)), at most the number of cases: a
    macro mean with a class of two positives rests on little, and its interval says so.
    """
    from mmrep.metrics import classification

    labels, scores = np.asarray(labels), np.asarray(scores)
    if scores.ndim == 1:
        labels, scores = labels[:, None], scores[:, None]
        mask = None if mask is None else np.asarray(mask)[:, None]
    used = classification.auroc_per_class(labels, scores, mask).classes
    codes = _cases(cases, len(labels))[0]
    positive = labels[:, None] == used if labels.ndim == 1 else labels[:, used] == 1
    known = np.ones(positive.shape, bool) if mask is None else np.asarray(mask, bool)[:, used]
    sides = [(codes[p & k], codes[~p & k]) for p, k in zip(positive.T, known.T)]
    rarer = np.array([min(len(np.unique(side)) for side in pair) for pair in sides], np.float64)
    support = 1 + np.square((1 / rarer).sum()) / (1 / (np.square(rarer) * np.maximum(rarer - 1, 1))).sum()
    support = min(float(support), len(np.unique(codes)))
    return bootstrap_weighted(lambda w: classification.macro_auroc(labels, scores, w, mask), len(labels), cases,
                              n_boot, seed, level, (0.0, 1.0), support)


def jackknife(
    statistic: Callable[[np.ndarray], float],
    n: int,
    cases: np.ndarray | None = None,
    blocks: int = 20,
    seed: int = 0,
    level: float = 0.95,
    bounds: Bounds = None,
    debias: bool = False,
) -> Interval:
    """Delete-group jackknife for pairwise metrics: value -+ t_{G-1} sqrt((G - 1) / G sum_g (s_g - mean s)^2).

    statistic: sorted row indices i[m] -> float, called G + 1 times; cases are dealt at random into G = min(blocks,
    cases) groups of nearly equal size, each left out once. No row is ever repeated, so nobody becomes its own neighbor.
    The interval is for the statistic's expectation AT THIS n, which for effective rank (low at small n) and the gap
    (high where it is small) is not the population's value. debias=True moves value and interval by the jackknife's
    estimate of a bias of order 1 / n, (G - 1)(mean s - value): then they are for the population. Not for mutual kNN: at
    fixed k it falls as n grows, so every s_g sits above the value; without debias that common shift cancels and only
    the spread enters. For neighbor statistics that spread is an overestimate (Efron & Stein 1981): the standard error
    of mutual kNN comes out 1.4 to 1.6 times too large and the coverage 0.99 to 1 (half-sampling is no better). The same
    holds where the first-order term vanishes: debiased CKA of independent views, uniformity of the uniform law.
    Ends are cut to `bounds`. Raises ValueError for fewer than three cases.
    Source: Quenouille 1956, Tukey 1958; Shao & Wu 1989 for deleting groups.
    """
    from scipy.stats import t

    codes, count = _cases(cases, n, least=3)
    groups = min(blocks, count)
    if groups < 3:
        raise ValueError(f"the jackknife needs at least three blocks; got {groups}")
    group = np.empty(count, np.int64)
    group[np.random.default_rng(seed).permutation(count)] = np.arange(count) % groups
    value = float(statistic(np.arange(n)))
    left = np.array([statistic(np.flatnonzero(group[codes] != g)) for g in range(groups)], np.float64)
    error = np.sqrt((groups - 1) / groups * np.square(left - left.mean()).sum())
    half = t.ppf(0.5 + level / 2, groups - 1) * error
    value -= (groups - 1) * float(left.mean() - value) if debias else 0.0
    low, high = bounds if bounds is not None else (-np.inf, np.inf)
    return Interval(value, float(max(value - half, low)), float(min(value + half, high)), n)


def permutation_null(
    statistic: Callable[[np.ndarray], float], n: int, n_perm: int = 200, seed: int = 0, level: float = 0.95
) -> Null:
    """What a similarity of x and y reads when their rows are paired at random: mean, `level` and
    1 - `level` quantiles, p-value.

    statistic: permutation i[n] of y's rows -> float, at the same n and k as the value reported, e.g.
    `lambda p: knn_overlap(table_x, knn_permuted(table_y, p)).mean()` or
    `lambda p: cka_from_grams(kx, ky[np.ix_(p, p)])`.
    p = (1 + #{null >= value}) / (1 + n_perm). Rows must be exchangeable: pass one row per case. Source: Phipson & Smyth
    2010.
    """
    rng = np.random.default_rng(seed)
    value = float(statistic(np.arange(n)))
    null = np.array([statistic(rng.permutation(n)) for _ in range(n_perm)], np.float64)
    p = (1 + (null >= value - 1e-12).sum()) / (1 + n_perm)
    low, high = (float(q) for q in np.quantile(null, [1 - level, level]))
    return Null(value, float(null.mean()), high, float(p), n, n_perm, low)


def _cases(cases: np.ndarray | None, n: int, least: int = 2) -> tuple[np.ndarray, int]:
    """Case code 0..C-1 of every row, and C."""
    if cases is None:
        codes = np.arange(n)
    else:
        if np.shape(cases) != (n,):
            raise ValueError(f"cases must name the case of each of {n} rows; got shape {np.shape(cases)}")
        codes = np.unique(cases, return_inverse=True)[1].reshape(-1)
    count = int(codes.max(initial=-1)) + 1
    if count < least:
        raise ValueError(f"an interval needs at least {least} cases; got {count}")
    return codes, count


def _weights(codes: np.ndarray, count: int, n_boot: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks f64[b, n] of row multiplicities: `count` cases drawn with replacement, n_boot times in all."""
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // max(len(codes), count))
    for start in range(0, n_boot, block):
        size = min(block, n_boot - start)
        drawn = rng.integers(0, count, (size, count)) + np.arange(size)[:, None] * count
        times = np.bincount(drawn.reshape(-1), minlength=size * count).reshape(size, count).astype(np.float64)
        yield times if len(codes) == count and (codes == np.arange(count)).all() else times[:, codes]


def _replicates(
    statistic: Callable[[np.ndarray], float], codes: np.ndarray, count: int, n_boot: int, seed: int
) -> np.ndarray:
    """statistic(rows) for n_boot resamples of cases, NaN where it raises ValueError; draws as `_weights`."""
    values = []
    for block in _weights(codes, count, n_boot, seed):
        for times in block.astype(np.int64):
            try:
                values.append(float(statistic(np.repeat(np.arange(len(codes)), times))))
            except ValueError:  # a class is missing from the resample
                values.append(np.nan)
    return np.array(values)


def _percentile(
    value: float, replicates: np.ndarray, level: float, count: int, n: int, bounds: Bounds, support: float | None = None
) -> Interval:
    from scipy.stats import norm

    usable = replicates[~np.isnan(replicates)]
    if 2 * len(usable) < len(replicates) or not len(usable):
        lost = len(replicates) - len(usable)
        raise ValueError(f"the statistic is undefined in {lost} of {len(replicates)} resamples; "
                         "the sample has too few cases of some class")
    if bounds is not None:
        trials = float(count if support is None else support)
        # The rarer label's cases, not all cases, are what the spread is estimated from.
        degrees = max(1, round(min(trials, count)) - 1)
        return _bounded(value, float(usable.var()) * count / (count - 1), bounds, level, trials, degrees, n)
    tail = norm.cdf(-np.sqrt(count / (count - 1)) * _quantile(level, count - 1))
    low, high = (float(q) for q in np.quantile(usable, [tail, 1 - tail]))
    return Interval(value, low, high, n)


def _bounded(
    value: float, variance: float, bounds: tuple[float, float], level: float, trials: float, degrees: int, n: int
) -> Interval:
    """Wilson interval on the scale of `bounds`, effective size m(1 - m) / variance, `trials` where that is 0 / 0."""
    low, width = bounds[0], bounds[1] - bounds[0]
    unit = min(max((value - low) / width, 0.0), 1.0)
    spread = unit * (1 - unit)
    # At a bound (or where every case agrees) the sample shows no spread: what is left is the number of trials.
    effective = spread * width**2 / variance if variance > 1e-12 * spread * width**2 and spread > 1e-12 else trials
    inner = wilson(unit * effective, effective, level, degrees)
    return Interval(value, min(low + width * inner.low, value), max(low + width * inner.high, value), n)


def _quantile(level: float, degrees: float | None) -> float:
    from scipy.stats import norm, t

    return float(norm.ppf(0.5 + level / 2) if degrees is None else t.ppf(0.5 + level / 2, degrees))
