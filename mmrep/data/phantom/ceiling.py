"""Retrieval ceilings: what a perfect encoder reaches where several subjects have the same report."""

import numpy as np

from mmrep.metrics import retrieval


def ceiling(groups: object, k: int = 1) -> dict[str, float]:
    """Ceilings of image -> text (or text -> image) retrieval within the gallery given.

    groups: i32[N], equal where two reports say the same, or a Source with a `group` array of all its rows; k >= 1.
    Returns {"R@k/instance": mean over queries of min(k, m) / m, with m the number of rows of the query's group, "R@k/group":
    1.0, "multiplicity": mean m}. A perfect encoder cannot tell the m rows of a group apart, and ties are averaged. Exact
    where an image determines its report: all findings mentioned (`n_mentioned` 6), pairs true (`pair_noise` 0), no text missing;
    otherwise an upper bound that is not reached.
    Raises ValueError for an empty gallery or k < 1.
    """
    values = np.asarray(getattr(groups, "group", groups))
    if values.ndim != 1 or not len(values) or k < 1:
        raise ValueError(f"ceiling needs a non-empty list of group ids and k >= 1, got shape {values.shape} and k={k}")
    counts = np.unique(values, return_counts=True)[1]
    return {f"R@{k}/instance": retrieval.ceiling(values, k), f"R@{k}/group": 1.0,
            "multiplicity": float((counts * counts).sum() / len(values))}
