"""Classification metrics that accept bootstrap weights: accuracy, F1, AUROC, average precision, calibration.

Labels are i[n] class indices (multi-class), 0/1 [n] (binary) or 0/1 [n, K] (multi-label). Every metric takes
`weights`: None gives a float; f[B, n] gives f64[B], one value per weighting, in one vectorized pass (a bootstrap
resample is a vector of multiplicities). Only in the latter can a value be NaN: where a resample leaves the metric
undefined.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Values = float | np.ndarray


class PerClass(NamedTuple):
    """Per-class values f64[C] of the `classes` i64[C] that have both labels, their mean, and the classes `left_out`."""

    macro: float
    values: np.ndarray
    classes: np.ndarray
    left_out: np.ndarray


def accuracy(labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None = None) -> Values:
    """Share of right predictions, in [0, 1]. labels i[n]; predictions i[n] or scores f[n, K] (argmax, first of
    ties)."""
    labels, predictions = _classes(labels, predictions)
    return _mean(labels == predictions, weights)


def balanced_accuracy(labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None = None) -> Values:
    """Mean recall over the classes that occur in the labels, in [0, 1]. Arguments as `accuracy`."""
    labels, predictions = _classes(labels, predictions)
    classes = np.unique(labels)
    true = labels[:, None] == classes
    w = _weights(weights, len(labels))
    support = w @ true
    recall = _divide(w @ (true & (predictions == labels)[:, None]), support)
    return _out(np.where(support > 0, recall, 0.0).sum(1) / (support > 0).sum(1), weights)


def macro_f1(labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None = None) -> Values:
    """Mean F1 over the classes that occur in labels or predictions, in [0, 1] (as sklearn). Arguments as `accuracy`."""
    labels, predictions = _classes(labels, predictions)
    classes = np.union1d(labels, predictions)
    true, chosen = labels[:, None] == classes, predictions[:, None] == classes
    w = _weights(weights, len(labels))
    total = w @ true.astype(np.float64) + w @ chosen.astype(np.float64)
    f1 = _divide(2 * (w @ (true & chosen)), total)
    return _out(f1.sum(1) / (total > 0).sum(1), weights)


def auroc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> Values:
    """Area under the ROC curve, ties counted one half, in [0, 1]. labels 0/1 [n], scores f[n] (higher = positive).

    Raises ValueError where only one label occurs (use `auroc_per_class`, which reports such classes instead).
    """
    labels, scores = _binary(labels, scores)
    return _out(_auroc(labels, scores, _weights(weights, len(labels))), weights)


def average_precision(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> Values:
    """Average precision, sum of (R_i - R_{i-1}) P_i over distinct thresholds (as sklearn), in [0, 1]; as `auroc`."""
    labels, scores = _binary(labels, scores)
    return _out(_average_precision(labels, scores, _weights(weights, len(labels))), weights)


def auroc_per_class(labels: np.ndarray, scores: np.ndarray, mask: np.ndarray | None = None) -> PerClass:
    """One-vs-rest (labels i[n]) or multi-label (labels 0/1 [n, K]) AUROC of each class from scores f[n, K].

    mask bool [n, K]: False leaves an uncertain or missing label out. Classes without both labels are left out of the
    macro mean and reported. Raises ValueError where no class has both labels.
    """
    return _per_class(_auroc, labels, scores, mask)


def average_precision_per_class(labels: np.ndarray, scores: np.ndarray, mask: np.ndarray | None = None) -> PerClass:
    """Average precision of each class; arguments and treatment of empty classes as `auroc_per_class`."""
    return _per_class(_average_precision, labels, scores, mask)


def macro_auroc(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None, mask: np.ndarray | None = None
) -> Values:
    """Mean AUROC over the classes with both labels, as `auroc_per_class`; with weights, over those with both in each
    row."""
    return _macro(_auroc, labels, scores, weights, mask)


def macro_average_precision(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None, mask: np.ndarray | None = None
) -> Values:
    """Mean average precision over the classes with both labels; arguments as `macro_auroc`."""
    return _macro(_average_precision, labels, scores, weights, mask)


def ece(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15, weights: np.ndarray | None = None) -> Values:
    """Expected calibration error of the top probability in equal-width bins (lo, hi]: sum |B|/n |acc - conf|, in [0,
    1].

    labels i[n]; probabilities f[n, K] in [0, 1], or f[n] of the positive class for binary labels (threshold 0.5).
    Biased upward at small n. Source: Guo et al. 2017 (ICML), equation 3.
    """
    p = _probabilities(labels, probabilities)
    p = np.stack([1 - p, p], 1) if p.ndim == 1 else p
    confidence, right = p.max(1), p.argmax(1) == np.asarray(labels)
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gap = np.zeros((len(p), bins))
    gap[np.arange(len(p)), place] = right - confidence
    w = _weights(weights, len(p))
    return _out(np.abs(w @ gap).sum(1) / w.sum(1), weights)


def brier(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> Values:
    """Brier score: mean of sum_k (p_k - y_k)^2 for f[n, K] with labels i[n] (in [0, 2]); mean of (p - y)^2 for f[n]
    with binary labels (in [0, 1]). Source: Brier 1950."""
    p, labels = _probabilities(labels, probabilities), np.asarray(labels)
    if p.ndim == 1:
        return _mean(np.square(p - labels), weights)
    return _mean(np.square(p - (labels[:, None] == np.arange(p.shape[1]))).sum(1), weights)


def _auroc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """f64[B] for bool[n], f[n], f64[B, n]; NaN where a weighting leaves one label only."""
    order, start, end = _tie_groups(scores)
    positive = np.flatnonzero(labels[order])
    negative = np.flatnonzero(~labels[order])
    if not len(positive) or not len(negative):
        return np.full(len(weights), np.nan)
    w = weights[:, order[positive]]
    below = np.zeros((len(weights), len(negative) + 1))
    np.cumsum(weights[:, order[negative]], axis=1, out=below[:, 1:])
    # Negatives strictly below, and up to and including the tie group, of every positive: half of each.
    first, last = np.searchsorted(negative, start[positive]), np.searchsorted(negative, end[positive])
    wins = np.einsum("bp,bp->b", w, below[:, first]) + np.einsum("bp,bp->b", w, below[:, last])
    return _divide(0.5 * wins, w.sum(1) * below[:, -1], empty=np.nan)


def _average_precision(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """As `_auroc`: mean over positives of the precision at their threshold."""
    order, _, end = _tie_groups(-np.asarray(scores, np.float64))
    positive = np.flatnonzero(labels[order])
    if len(positive) in (0, len(labels)):
        return np.full(len(weights), np.nan)
    everything = np.cumsum(weights[:, order], axis=1)
    w = weights[:, order[positive]]
    found = np.cumsum(w, axis=1)
    last = end[positive]
    precision = _divide(found[:, np.searchsorted(positive, last) - 1], everything[:, last - 1])
    return _divide(np.einsum("bp,bp->b", w, precision), found[:, -1], empty=np.nan)


def _tie_groups(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ascending order, and for each sorted place the bounds [start, end) of its group of equal scores."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    return order, np.searchsorted(ordered, ordered, "left"), np.searchsorted(ordered, ordered, "right")


def _columns(
    labels: np.ndarray, scores: np.ndarray, mask: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(positive bool[n, K], scores f64[n, K], mask bool[n, K]), validated."""
    labels, scores = np.asarray(labels), np.asarray(scores, np.float64)
    if scores.ndim != 2 or len(labels) != len(scores) or labels.ndim > 1 and labels.shape != scores.shape:
        raise ValueError(f"scores must be [n, K] and labels [n] or [n, K]; got {scores.shape} and {labels.shape}")
    if not np.isfinite(scores).all():
        raise ValueError(f"scores row {int(np.argmin(np.isfinite(scores).all(1)))} is not finite")
    if labels.ndim == 1:
        if len(labels) and not (0 <= labels.min() and labels.max() < scores.shape[1]):
            raise ValueError(f"labels must lie in 0..{scores.shape[1] - 1}; got {labels.min()}..{labels.max()}")
        positive = labels[:, None] == np.arange(scores.shape[1])
    else:
        positive = labels == 1
        known = positive | (labels == 0) if mask is None else positive | (labels == 0) | ~np.asarray(mask, bool)
        if not known.all():
            raise ValueError(f"labels row {int(np.argmin(known.all(1)))} has a value other than 0 or 1; mask it out")
    mask = np.ones(scores.shape, bool) if mask is None else np.asarray(mask, bool)
    if mask.shape != scores.shape:
        raise ValueError(f"mask must have the scores' shape {scores.shape}; got {mask.shape}")
    return positive, scores, mask


def _per_class(metric: Callable, labels: np.ndarray, scores: np.ndarray, mask: np.ndarray | None) -> PerClass:
    positive, scores, mask = _columns(labels, scores, mask)
    one = np.ones((1, len(scores)))
    columns = [metric(positive[m, c], scores[m, c], one[:, : m.sum()])[0] for c, m in enumerate(mask.T)]
    values = np.array(columns)
    usable = np.flatnonzero(~np.isnan(values))
    if not len(usable):
        raise ValueError("no class has both a positive and a negative label; the metric is undefined")
    return PerClass(float(values[usable].mean()), values[usable], usable, np.flatnonzero(np.isnan(values)))


def _macro(metric: Callable, labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None,
           mask: np.ndarray | None) -> Values:
    if weights is None:
        return _per_class(metric, labels, scores, mask).macro
    positive, scores, mask = _columns(labels, scores, mask)
    weights = _weights(weights, len(scores))
    total, count = np.zeros(len(weights)), np.zeros(len(weights))
    for c, m in enumerate(mask.T):
        values = metric(positive[m, c], scores[m, c], weights if m.all() else weights[:, m])
        total += np.where(np.isnan(values), 0.0, values)
        count += ~np.isnan(values)
    return _divide(total, count, empty=np.nan)


def _classes(labels: np.ndarray, predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    predictions = predictions.argmax(1) if predictions.ndim == 2 else predictions
    if labels.ndim != 1 or labels.shape != predictions.shape or not len(labels):
        raise ValueError(f"labels and predictions must be [n], n > 0; got {labels.shape} and {predictions.shape}")
    return labels, predictions


def _binary(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, scores = np.asarray(labels), np.asarray(scores, np.float64)
    if labels.ndim != 1 or labels.shape != scores.shape or not np.isin(labels, (0, 1)).all():
        raise ValueError(f"labels must be 0/1 [n] and scores f[n]; got {labels.shape} and {scores.shape}")
    if not np.isfinite(scores).all():
        raise ValueError(f"scores row {int(np.argmin(np.isfinite(scores)))} is not finite")
    if labels.min(initial=1) == labels.max(initial=0):
        raise ValueError("only one label occurs: the metric is undefined")
    return labels == 1, scores


def _probabilities(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    p = np.asarray(probabilities, np.float64)
    if p.ndim not in (1, 2) or len(p) != len(np.asarray(labels)) or not ((p >= -1e-6) & (p <= 1 + 1e-6)).all():
        raise ValueError(f"probabilities must be [n] or [n, K] in [0, 1] beside labels [n]; got shape {p.shape}")
    return p


def _weights(weights: np.ndarray | None, n: int) -> np.ndarray:
    if weights is None:
        return np.ones((1, n))
    weights = np.asarray(weights, np.float64)
    if weights.ndim != 2 or weights.shape[1] != n:
        raise ValueError(f"weights must be [B, {n}]; got {weights.shape}")
    return weights


def _mean(values: np.ndarray, weights: np.ndarray | None) -> Values:
    w = _weights(weights, len(values))
    return _out(w @ values.astype(np.float64) / w.sum(1), weights)


def _divide(a: np.ndarray, b: np.ndarray, empty: float = 0.0) -> np.ndarray:
    return np.divide(a, b, out=np.full(np.broadcast(a, b).shape, empty), where=b > 0)


def _out(values: np.ndarray, weights: np.ndarray | None) -> Values:
    return float(values[0]) if weights is None else values
