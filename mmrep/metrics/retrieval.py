"""Retrieval with ties averaged and duplicates named: ranks, recall at k, reciprocal rank, ceilings.

Two metrics are kept apart. `R@k/instance`: the hit is the query's own partner; where m gallery items cannot be told
apart (duplicates) even a perfect encoder hits with min(k, m) / m, the ceiling. `R@k/group`: the hit is any item of the
query's group; ceiling 1. Both are exact expectations under random breaking of ties, so a constant encoder scores
exactly chance.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mmrep.metrics.geometry import normalize

Scores = np.ndarray | tuple[np.ndarray, np.ndarray]
Positives = np.ndarray | tuple[np.ndarray, np.ndarray] | None


class Ranks(NamedTuple):
    """Where each query's best positive stands in the gallery; i64[n] each.

    above: items with a strictly higher score; tied: items with the same score, the best positive included;
    positive: how many of the tied are positives (1 for instance retrieval without positives tied to each other).
    """

    above: np.ndarray
    tied: np.ndarray
    positive: np.ndarray


def ranks(scores: Scores, positives: Positives = None, *, tolerance: float = 1e-6, chunk: int = 1024) -> Ranks:
    """Tie-aware rank of every query's best positive.

    scores: a similarity matrix f[n, m], or (query f[n, d], gallery f[m, d]), whose cosine is then taken chunk by chunk
    (memory O(chunk * m)). positives: i[n] index of the query's own partner in the gallery (instance); or (query group
    [n], gallery group [m]) labels of any type (group); None pairs row i with item i. Scores within `tolerance` times
    the largest absolute score (1 for embeddings) of the best positive's are ties: equal inputs embedded at different
    batch positions differ by rounding, and their order must not count. Differences of that size carry no information in
    f32. Raises ValueError for shapes that do not fit, a partner outside the gallery, or a query without a positive,
    with its row.
    """
    return _ranks(scores, [positives], tolerance, chunk)[0]


def hits(found: Ranks, k: int) -> np.ndarray:
    """Probability that a positive is among the top k under random tie breaking, f64[n] in [0, 1].

    1 - C(t - p, k - a) / C(t, k - a) with a above, t tied and p positive: hypergeometric; (k - a) / t for one positive.
    """
    from scipy.special import gammaln

    if k < 1:
        raise ValueError(f"k must be at least 1; got {k}")
    tied, positive = found.tied, found.positive
    drawn = np.clip(k - found.above, 0, tied)
    rest = tied - positive - drawn  # places left for the negatives: below zero, a positive is certainly drawn
    safe = np.maximum(rest, 0)
    log_miss = gammaln(tied - positive + 1) + gammaln(tied - drawn + 1) - gammaln(tied + 1) - gammaln(safe + 1)
    many = np.where((rest < 0) & (drawn > 0), 1.0, -np.expm1(np.where(drawn > 0, log_miss, 0.0)))
    return np.where(positive == 1, drawn / tied, many)


def expected_rank(found: Ranks) -> np.ndarray:
    """Expected rank (1 is best) of the best positive under random tie breaking: a + (t + 1) / (p + 1), f64[n]."""
    return found.above + (found.tied + 1) / (found.positive + 1)


def reciprocal_rank(found: Ranks) -> np.ndarray:
    """Expectation of 1 / rank of the best positive under random tie breaking, f64[n] in (0, 1]; its mean is MRR."""
    combinations, where = np.unique(np.stack(found, 1), axis=0, return_inverse=True)
    values = np.empty(len(combinations))
    for i, (above, tied, positive) in enumerate(combinations.tolist()):
        # P(the first positive of p is at place j of t): p/t at first, then the chance that the next is not one either.
        j = np.arange(1, tied - positive + 1)
        survive = np.concatenate([[1.0], np.cumprod((tied - positive - j + 1) / (tied - j + 1))])
        place = np.arange(1, tied - positive + 2)
        values[i] = (survive * positive / (tied - place + 1) / (above + place)).sum()
    return values[where.reshape(-1)]


def ceiling(group: np.ndarray, k: int, gallery_group: np.ndarray | None = None) -> float:
    """The best possible R@k/instance: mean over queries of min(k, m) / m, m = the multiplicity of the query's group.

    An upper bound where the query does not determine the group, as an image that its caption says only part of.

    group [n] labels of the queries; gallery_group [m] labels of the gallery, the same as `group` by default.
    """
    gallery_group = group if gallery_group is None else gallery_group
    query, gallery = _codes(group, gallery_group)
    multiplicity = np.bincount(gallery, minlength=int(max(query.max(), gallery.max())) + 1)[query]
    if not multiplicity.all():
        raise ValueError(f"query {int(np.argmin(multiplicity))} has no item of its group in the gallery")
    return float((np.minimum(k, multiplicity) / multiplicity).mean())


def chance(group: np.ndarray, k: int) -> float:
    """R@k/group of an encoder that tells nothing apart, the gallery being the n queries' own partners.

    Mean over queries of 1 - C(n - m, k) / C(n, k), m = the multiplicity of the query's group [n]; k / n without duplicates.
    """
    codes = _codes(group, group)[0]
    n, multiplicity = len(codes), np.bincount(codes)[codes]
    return float(hits(Ranks(np.zeros(n, int), np.full(n, n), multiplicity), k).mean())


def retrieval(
    query: np.ndarray,
    gallery: np.ndarray,
    group: np.ndarray | None = None,
    ks: Sequence[int] = (1, 5, 10),
    partner: np.ndarray | None = None,
    gallery_group: np.ndarray | None = None,
    tolerance: float = 1e-6,
    chunk: int = 1024,
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """All retrieval metrics of one direction, and the per-query values behind them (for `intervals.mean_interval`).

    query f[n, d], gallery f[m, d]; partner i[n] (default: row i's is item i, n <= m); group [n] and gallery_group [m]
    labels (default of the latter: `group`, which then needs n = m; default of both: every item alone).
    Returns (values, per_query). values: `R@k/instance`, `R@k/group`, `ceiling@k/instance`, `MRR/instance`, `MRR/group`,
    `median_rank/instance`, `median_rank/group`, `n`, `gallery`; per_query: f64[n] under the same names
    (`rank/...` for the expected ranks). Recall is in [0, 1]; compare it only at equal gallery size.
    Raises ValueError as `ranks`.
    """
    labels = partner if group is None else (group, group if gallery_group is None else gallery_group)
    instance, any_of_group = _ranks((query, gallery), [partner, labels], tolerance, chunk)
    values: dict[str, float] = {"n": float(len(query)), "gallery": float(len(gallery))}
    per_query: dict[str, np.ndarray] = {}
    for name, found in (("instance", instance), ("group", any_of_group)):
        for k in ks:
            per_query[f"R@{k}/{name}"] = hits(found, k)
        per_query[f"MRR/{name}"] = reciprocal_rank(found)
        per_query[f"rank/{name}"] = expected_rank(found)
        values[f"median_rank/{name}"] = float(np.median(per_query[f"rank/{name}"]))
    values.update({name: float(v.mean()) for name, v in per_query.items() if not name.startswith("rank/")})
    for k in ks:
        values[f"ceiling@{k}/instance"] = 1.0 if group is None else ceiling(labels[0], k, labels[1])
    return values, per_query


def _ranks(scores: Scores, wanted: Sequence[Positives], tolerance: float, chunk: int) -> list[Ranks]:
    """`ranks` for several kinds of positives in one pass over the similarities, which are the cost."""
    blocks, n, m, scale = _blocks(scores, chunk)
    kinds = [_check(positives, n, m) for positives in wanted]
    out = [np.empty((3, n), np.int64) for _ in kinds]
    for start, block in blocks:
        rows = slice(start, start + len(block))
        for (partner, groups), counts in zip(kinds, out):
            if groups is None:
                best = block[np.arange(len(block)), partner[rows]][:, None]
                counts[2, rows] = 1
            else:
                mask = groups[0][rows, None] == groups[1][None]
                best = np.where(mask, block, -np.inf).max(1, keepdims=True)
                counts[2, rows] = (mask & (block >= best - tolerance * scale)).sum(1)
            counts[0, rows] = (block > best + tolerance * scale).sum(1)
            counts[1, rows] = (block >= best - tolerance * scale).sum(1) - counts[0, rows]
    return [Ranks(*counts) for counts in out]


def _blocks(scores: Scores, chunk: int) -> tuple[Iterator[tuple[int, np.ndarray]], int, int, float]:
    if isinstance(scores, tuple):
        query, gallery = normalize(scores[0]), normalize(scores[1])
        if query.shape[1] != gallery.shape[1]:
            raise ValueError(f"query and gallery must have one width; got {query.shape} and {gallery.shape}")
        n, m = len(query), len(gallery)
        return ((s, query[s : s + chunk] @ gallery.T) for s in range(0, n, chunk)), n, m, 1.0
    scores = np.asarray(scores)
    if scores.ndim != 2 or 0 in scores.shape or not np.isfinite(scores).all():
        raise ValueError(f"scores must be a finite, non-empty matrix [queries, gallery]; got shape {scores.shape}")
    n, m = scores.shape
    blocks = ((s, np.asarray(scores[s : s + chunk], np.float64)) for s in range(0, n, chunk))
    return blocks, n, m, float(np.abs(scores).max())


def _check(positives: Positives, n: int, m: int) -> tuple[np.ndarray | None, tuple[np.ndarray, np.ndarray] | None]:
    """(partner index, None) or (None, (query group, gallery group)), validated."""
    if isinstance(positives, tuple):
        query, gallery = _codes(*positives)
        if len(query) != n or len(gallery) != m:
            raise ValueError(f"groups have {len(query)} and {len(gallery)} labels for {n} queries and {m} items")
        lonely = ~np.isin(query, gallery)
        if lonely.any():
            raise ValueError(f"query {int(np.argmax(lonely))} has no item of its group in the gallery")
        return None, (query, gallery)
    partner = np.arange(n) if positives is None else np.asarray(positives)
    if partner.shape != (n,) or not np.issubdtype(partner.dtype, np.integer):
        raise ValueError(f"positives must be integers [{n}]; got {partner.dtype} {partner.shape}")
    outside = (partner < 0) | (partner >= m)
    if outside.any():
        row = int(np.argmax(outside))
        raise ValueError(f"query {row} has its partner at {int(partner[row])}, outside the gallery of {m}")
    return partner, None


def _codes(query: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    query, gallery = np.asarray(query).reshape(-1), np.asarray(gallery).reshape(-1)
    codes = np.unique(np.concatenate([query, gallery]), return_inverse=True)[1].reshape(-1)
    return codes[: len(query)], codes[len(query) :]
