"""Linear probe and kNN on frozen features, at several shares of the labels; strength chosen on validation."""

import warnings
from collections.abc import Callable, Iterator

import numpy as np

from mmrep.metrics import classification, intervals
from mmrep.metrics.intervals import Interval

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


def choose(train: tuple, val: tuple, strengths: tuple = STRENGTHS) -> tuple[float, Callable]:
    """(strength, fitted scores) with the best validation score."""
    tried = [(s, fit(*train, s)) for s in strengths]
    return max(tried, key=lambda t: score(val[1], t[1](val[0])))


def probe(split: Callable[[str], dict], texts: Callable, *, label: str = "findings", modality: str = "image",
          feature: str = "pooled", fractions: tuple[float, ...] = (1.0, 0.1, 0.01), knn: bool = True, on: str = "test",
          seed: int = 0) -> Iterator[tuple[str, Interval]]:
    """`probe/LABEL/auroc` (and `accuracy` for classes), `probe/LABEL@10%/auroc`, `knn/LABEL/...`.

    Features are standardized on train; the strength is chosen on validation (a subset of it at small fractions would
    add noise, so all of it); fractions are nested subsets of the training cases. Intervals: case bootstrap.
    """
    key, kind = f"label/{label}", f"{modality}/{feature}"

    def rows(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        data = split(name)
        if key not in data:
            raise ValueError(f"probe: the data has no {key!r}; it has {[k for k in data if k.startswith('label/')]}")
        y = data[key]
        here = data[f"present/{modality}"] & ((y >= 0).all(-1) if y.ndim == 2 else y >= 0)
        return data[kind][here], y[here].astype(int), data.get("case", data["index"])[here]

    (x, y, case), (xv, yv, _), (xt, yt, case_t) = rows("train"), rows("val"), rows(on)
    cases = np.unique(case)
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(cases))
    place = order[np.searchsorted(cases, case)] / len(cases)  # nested: a smaller fraction keeps a subset of the cases
    for fraction in fractions:
        use = place < fraction
        name = label if fraction == 1 else f"{label}@{100 * fraction:g}%"
        if use.sum() < 4 or (y.ndim == 1 and len(np.unique(y[use])) < 2):
            continue
        a, b, c = standardize(x[use], xv, xt)
        _, model = choose((a, y[use]), (b, yv))
        yield from report(f"probe/{name}", yt, model(c), case_t)
        if knn and fraction == 1:
            yield from report(f"knn/{name}", yt, knn_scores(x, y, xt), case_t)


def report(name: str, y: np.ndarray, scores: np.ndarray, case: np.ndarray) -> Iterator[tuple[str, Interval]]:
    """AUROC (macro) and, for classes, accuracy, with case intervals."""
    if y.ndim == 1:
        yield f"{name}/accuracy", intervals.mean_interval((scores.argmax(1) == y).astype(float), case)
        if scores.shape[1] == 2:
            y, scores = y, scores[:, 1] - scores[:, 0]
    try:
        yield f"{name}/auroc", intervals.auroc_interval(y, scores, case)
    except ValueError:
        return  # no class of this split has both labels
