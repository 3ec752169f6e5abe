"""Linear probe and kNN on frozen features, at several shares of the labels; strength chosen on validation."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from mmrep.metrics import classification
from mmrep.metrics.intervals import Interval, auroc_interval, bootstrap_weighted, mean_interval

STRENGTHS = tuple(10.0 ** np.arange(-4, 3))


def fit(x: np.ndarray, y: np.ndarray, strength: float) -> Callable[[np.ndarray], np.ndarray]:
    """Multinomial logistic regression by L-BFGS; returns f[n, p] -> scores f[n, classes]. y: i[n] or 0/1 [n, K]."""
    from sklearn.linear_model import LogisticRegression

    def one(target: np.ndarray) -> Callable:
        if len(np.unique(target)) < 2:
            return lambda z: np.zeros((len(z), 1))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a hundred iterations rank the strengths as well as convergence would
            model = LogisticRegression(C=strength, max_iter=200).fit(x, target)
        return lambda z: np.atleast_2d(model.decision_function(z).T).T

    if y.ndim == 2:
        models = [one(y[:, k]) for k in range(y.shape[1])]
        return lambda z: np.concatenate([m(z)[:, -1:] for m in models], 1)
    classes = np.unique(y)
    model = one(y)

    def scores(z: np.ndarray) -> np.ndarray:
        raw = model(z)
        raw = np.concatenate([-raw, raw], 1) if raw.shape[1] == 1 else raw
        out = np.full((len(z), int(y.max()) + 1), raw.min() - 1.0)
        out[:, classes] = raw
        return out

    return scores


def knn_scores(x: np.ndarray, y: np.ndarray, z: np.ndarray, k: int = 20, temperature: float = 0.07) -> np.ndarray:
    """Cosine kNN vote weighted by exp(cos / temperature) (Wu 2018; DINO): scores f[n, classes]."""
    unit = lambda a: a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-12)  # noqa: E731
    cosine = unit(z) @ unit(x).T
    near = np.argpartition(-cosine, min(k, len(x)) - 1, 1)[:, :k]
    weight = np.exp(np.take_along_axis(cosine, near, 1) / temperature)
    target = y if y.ndim == 2 else np.eye(int(y.max()) + 1)[y]
    return (weight[..., None] * target[near]).sum(1) / weight.sum(1, keepdims=True)


def score(y: np.ndarray, scores: np.ndarray) -> float:
    """What strength is chosen by: macro AUROC for findings, accuracy for classes."""
    return classification.macro_auroc(y, scores) if y.ndim == 2 else float((scores.argmax(1) == y).mean())


def standardize(x: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """By the training mean and standard deviation."""
    mean, std = x.mean(0), x.std(0) + 1e-6
    return [(a - mean) / std for a in (x, *others)]


class Task(NamedTuple):
    """Frozen features and labels of the three splits. widths: numbers of leading features to choose among, or ()."""

    x: dict[str, np.ndarray]
    y: dict[str, np.ndarray]
    case: dict[str, np.ndarray]
    widths: tuple[int, ...]


def task(split: Callable[[str], dict], label: str, modality: str, feature: str, on: str) -> Task:
    """The rows of train, val and `on` that have the modality and the label."""
    key, kind = f"label/{label}", f"{modality}/{feature}"
    x, y, case = {}, {}, {}
    for name in ("train", "val", on):
        data = split(name)
        if key not in data:
            raise ValueError(f"probe: the data has no {key!r}; it has {[k for k in data if k.startswith('label/')]}")
        target = data[key]
        here = data[f"present/{modality}"] & ((target >= 0).all(-1) if target.ndim == 2 else target >= 0)
        x[name], y[name] = data[kind][here], target[here].astype(int)
        case[name] = data.get("case", data["index"])[here]
    return Task(x, y, case, tuple(split("train").get(f"{modality}/widths", ())))


def fitted_scores(t: Task, on: str, rows: np.ndarray | slice = slice(None), strengths: tuple = STRENGTHS) -> np.ndarray:
    """Scores f[n, classes] on split `on`, of the strength (and width) with the best validation score."""
    x, xv, xt = standardize(t.x["train"][rows], t.x["val"], t.x[on])
    best: tuple[float, np.ndarray] | None = None
    for width in t.widths or (x.shape[1],):
        for strength in strengths:
            model = fit(x[:, :width], t.y["train"][rows], strength)
            value = score(t.y["val"], model(xv[:, :width]))
            if best is None or value > best[0]:
                best = value, model(xt[:, :width])
    return best[1]


def probe(split: Callable[[str], dict], texts: Callable | None = None, *, label: str = "findings",
          modality: str = "image", feature: str = "pooled", fractions: tuple[float, ...] = (1.0, 0.1, 0.01),
          knn: bool = True, on: str = "test", seed: int = 0) -> Iterator[tuple[str, Interval]]:
    """`probe/LABEL/auroc` (and `accuracy` for classes), `probe/LABEL@10%/auroc`, `knn/LABEL/...`.

    Features are standardized on train; the strength is chosen on the whole of validation; fractions are nested subsets
    of the training cases. Intervals: case bootstrap.
    """
    t = task(split, label, modality, feature, on)
    cases = np.unique(t.case["train"])
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(cases))
    place = order[np.searchsorted(cases, t.case["train"])] / len(cases)  # nested: fewer cases are a subset of more
    for fraction in fractions:
        use = place < fraction
        name = label if fraction == 1 else f"{label}@{100 * fraction:g}%"
        y = t.y["train"][use]
        if use.sum() < 4 or (y.ndim == 1 and len(np.unique(y)) < 2):
            continue
        yield from report(f"probe/{name}", t.y[on], fitted_scores(t, on, use), t.case[on])
        if knn and fraction == 1 and not t.widths:
            yield from report(f"knn/{name}", t.y[on], knn_scores(t.x["train"], t.y["train"], t.x[on]), t.case[on])


def paired(ours: Callable[[str], dict], theirs: Callable[[str], dict], *, label: str = "findings",
           modality: str = "image", feature: str = "pooled", on: str = "test", **_: Any) -> Iterator[tuple[str, Interval]]:
    """Differences ours - theirs of the full-label probes, resampled by case on the same cases."""
    a, b = (task(s, label, modality, feature, on) for s in (ours, theirs))
    sa, sb = fitted_scores(a, on), fitted_scores(b, on)
    y, case = a.y[on], a.case[on]
    if y.ndim == 1:
        hits = [(s.argmax(1) == y).astype(float) for s in (sa, sb)]
        yield f"probe/{label}/accuracy", mean_interval(hits[0] - hits[1], case, bounds=None)
    if y.ndim == 1 and sa.shape[1] == 2:
        sa, sb = sa[:, 1] - sa[:, 0], sb[:, 1] - sb[:, 0]
    area = classification.auroc if sa.ndim == 1 else classification.macro_auroc
    yield f"probe/{label}/auroc", bootstrap_weighted(lambda w: area(y, sa, w) - area(y, sb, w), len(y), case)


def report(name: str, y: np.ndarray, scores: np.ndarray, case: np.ndarray) -> Iterator[tuple[str, Interval]]:
    """AUROC (macro) and, for classes, accuracy, with case intervals."""
    if y.ndim == 1:
        yield f"{name}/accuracy", mean_interval((scores.argmax(1) == y).astype(float), case)
        if scores.shape[1] == 2:
            scores = scores[:, 1] - scores[:, 0]
    try:
        yield f"{name}/auroc", auroc_interval(y, scores, case)
    except ValueError:
        return  # no class of this split has both labels
