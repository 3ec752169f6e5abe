"""A small picture of what a run has learned, as plain values: a 2-D map of two modalities' embeddings, and what some queries find."""

from typing import Any

import numpy as np

FEW_CLASSES = 20


def projection(features: dict, names: dict[str, Any] | None = None, rows: int = 200, queries: int = 12, found: int = 5
               ) -> dict[str, Any] | None:
    """{"rows", "pair", "xy", "label", "retrieval"} of a split's features; None where fewer than two modalities were embedded.

    rows: of the source, at most `rows` that hold both modalities, spread evenly. xy: {modality: [[x, y], ...]}, two principal components of
    both together. label: {"name", "values", "names"} of the first label of few classes, or None. retrieval: for `queries` of these rows
    and either direction {"from", "query", "found": [[row, cosine], ...]}, searched among all rows. names: class names by label.
    """
    embedded = sorted((k.split("/")[0] for k in features if k.endswith("/embedding")), key=lambda m: (m not in ("image", "text"), m))
    if len(embedded) < 2:
        return None
    a, b = embedded[:2]
    both = np.flatnonzero(features[f"present/{a}"] & features[f"present/{b}"])
    if len(both) < 3:
        return None
    few = both[np.linspace(0, len(both) - 1, min(rows, len(both))).astype(int)]
    z = {m: features[f"{m}/embedding"].astype(np.float64) for m in (a, b)}
    joint = np.concatenate([z[a][few], z[b][few]])
    joint = joint - joint.mean(0)
    xy = joint @ np.linalg.svd(joint, full_matrices=False)[2][:2].T
    xy = np.pad(xy, ((0, 0), (0, 2 - xy.shape[1])))
    index, some = features["index"], few[np.linspace(0, len(few) - 1, min(queries, len(few))).astype(int)]
    retrieval = []
    for start, end in ((a, b), (b, a)):
        gallery = np.flatnonzero(features[f"present/{end}"])
        scores = z[start][some] @ z[end][gallery].T
        best = np.argsort(-scores, axis=1, kind="stable")[:, :found]
        for q, score, order in zip(some, scores, best):
            hits = [[int(index[gallery[j]]), round(float(score[j]), 3)] for j in order]
            retrieval.append({"from": start, "query": int(index[q]), "found": hits})
    return {"rows": index[few].tolist(), "pair": [a, b], "label": _label(features, few, names or {}), "retrieval": retrieval,
            "xy": {m: np.round(part, 4).tolist() for m, part in zip((a, b), np.split(xy, 2))}}


def _label(features: dict, few: np.ndarray, names: dict[str, Any]) -> dict | None:
    """The first label of 2 to `FEW_CLASSES` classes."""
    for key in sorted(k for k in features if k.startswith("label/")):
        y = features[key]
        if y.ndim == 1 and y.dtype.kind in "iu" and y.max(initial=-1) < FEW_CLASSES and len(np.unique(y[y >= 0])) > 1:
            known = [str(n) for n in names.get(key[6:], ())]
            return {"name": key[6:], "values": y[few].tolist(), "names": known}
    return None
