"""Linear probe and kNN on frozen features, at several shares of the labels; strength chosen on validation."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from mmrep.evals.named import (
    Found,
    area,
    cases,
    column,
    constant,
    known,
    labels,
    log_softmax,
    report,
    tried,
    variant,
)
from mmrep.metrics.intervals import Interval, bootstrap_weighted, mean_interval

STRENGTHS = tuple(10.0 ** np.arange(-4, 3))


def fit(x: np.ndarray, y: np.ndarray, strength: float, classes: int) -> Callable[[np.ndarray], np.ndarray]:
    """Multinomial logistic regression by L-BFGS; returns f[n, p] -> scores f[n, classes].

    y: i[n], whose scores are log-probabilities (logits of different rows cannot be compared: each row's are known but for a
    constant), or 0/1 [n, classes] with -1 for unknown, whose scores are logits. A class without an example scores below all
    others.
    """

    def one(x: np.ndarray, target: np.ndarray) -> Callable:
        if len(np.unique(target)) < 2:
            return lambda z: np.zeros((len(z), 1))
        from sklearn.linear_model import LogisticRegression
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # two hundred iterations rank the strengths as well as convergence would
            model = LogisticRegression(C=strength, max_iter=200).fit(x, target)
        return lambda z: np.atleast_2d(model.decision_function(z).T).T

    if y.ndim == 2:
        models = [one(x[y[:, k] >= 0], y[y[:, k] >= 0, k]) for k in range(y.shape[1])]
        return lambda z: np.concatenate([m(z)[:, -1:] for m in models], 1)
    seen, model = np.unique(y), one(x, y)

    def scores(z: np.ndarray) -> np.ndarray:
        raw = model(z)
        raw = np.concatenate([np.zeros_like(raw), raw], 1) if raw.shape[1] == 1 and len(seen) == 2 else raw
        raw = log_softmax(raw)
        out = np.full((len(z), classes), raw.min(initial=0.0) - 1.0)
        out[:, seen] = raw
        return out

    return scores


def knn_scores(x: np.ndarray, y: np.ndarray, z: np.ndarray, k: int = 20, temperature: float = 0.07,
               classes: int | None = None) -> np.ndarray:
    """Cosine kNN vote weighted by exp(cos / temperature) (Wu 2018; DINO): scores f[n, classes]; y as `fit`."""
    unit = lambda a: a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-12)  # noqa: E731
    cosine = unit(z) @ unit(x).T
    near = np.argpartition(-cosine, min(k, len(x)) - 1, 1)[:, :k]
    weight = np.exp(np.take_along_axis(cosine, near, 1) / temperature)[..., None]
    if y.ndim == 1:
        y = np.eye(int(y.max()) + 1 if classes is None else classes)[y]
    weight = weight * (y[near] >= 0)
    return (weight * y[near]).sum(1) / np.maximum(weight.sum(1), 1e-30)


def score(y: np.ndarray, scores: np.ndarray) -> float:
    """What strength is chosen by: macro AUROC for findings, accuracy for classes."""
    return float(area(y, scores)) if y.ndim == 2 else float((scores.argmax(1) == y).mean())


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
    classes: int

    def pool(self, seed: int, fraction: float) -> np.ndarray:
        """bool[n]: the training rows of a share of the cases; smaller shares are subsets of larger ones."""
        names = np.unique(self.case["train"])
        order = np.random.Generator(np.random.Philox(seed)).permutation(len(names))
        return order[np.searchsorted(names, self.case["train"])] < fraction * len(names) - 1e-9


def task(split: Callable[[str], dict], label: str, modality: str, feature: str, on: str) -> Task:
    """The rows of train, val and `on` that have the modality and a known label. Raises ValueError where one is missing."""
    x, y, case = {}, {}, {}
    for name in ("train", "val", on):
        data = split(name)
        target = labels(data, label)
        here = known(data, modality, target)
        x[name], y[name], case[name] = column(data, f"{modality}/{feature}")[here], target[here], cases(data)[here]
    two = y["train"].ndim == 2
    classes = y["train"].shape[1] if two else 1 + max(int(v.max(initial=-1)) for v in y.values())
    return Task(x, y, case, tuple(split("train").get(f"{modality}/widths", ())), classes)


def fitted(t: Task, on: str, rows: np.ndarray | slice = slice(None), strengths: tuple = STRENGTHS) -> tuple[np.ndarray, float, int]:
    """Scores f[n, classes] on split `on`, and the strength and width they are of: those with the best validation score.

    Raises ValueError where training or validation rows cannot tell.
    """
    y = t.y["train"][rows]
    if len(y) < 4 or not any(len(np.unique(c[c >= 0])) > 1 for c in (y.T if y.ndim == 2 else [y])):
        raise ValueError(f"{len(y)} labels to train on{', all of one class' if len(y) > 3 else ': too few'}")
    if not len(t.y["val"]):
        raise ValueError("no validation row has the label: nothing to choose the strength by")
    x, xv, xt = standardize(t.x["train"][rows], t.x["val"], t.x[on])
    best: tuple[float, np.ndarray, float, int] | None = None
    for width in t.widths or (x.shape[1],):
        for strength in strengths:
            model = fit(x[:, :width], y, strength, t.classes)
            value = score(t.y["val"], model(xv[:, :width]))
            if best is None or value > best[0]:
                best = value, model(xt[:, :width]), strength, width
    return best[1:]


def title(label: str, modality: str, feature: str) -> str:
    """The label, and the modality and feature where they are not the image's pooled output."""
    return variant(label, modality=(modality, "image"), feature=(feature, "pooled"))


def probe(split: Callable[[str], dict], texts: Callable | None = None, *, label: str = "findings",
          modality: str = "image", feature: str = "pooled", fractions: tuple[float, ...] = (1.0, 0.1, 0.01),
          knn: bool = True, on: str = "test", seed: int = 0) -> Iterator[tuple[str, Found]]:
    """`probe/LABEL/auroc` (and `accuracy` for classes), `probe/LABEL@10%/auroc`, `knn/LABEL/...`, `knn/LABEL@10%/...`.

    A share is of the training cases that were embedded (`config.eval.limit` rows spread over the split, 0 for all) and
    know the label: `probe/LABEL@10%/n_labels` says how many rows that is. Shares are nested. Features are standardized
    on the share; the strength is chosen on the whole of validation and recorded (`probe/LABEL/strength`, of raw inputs also
    `width`: how many components). Intervals: case bootstrap. Of another modality or feature the names are
    `probe/LABEL:text:embedding/...`. Raises ValueError for a label, modality or feature that is not there.
    """
    if feature not in ("pooled", "embedding"):
        raise ValueError(f"feature: {feature!r}; valid: pooled, embedding")
    if not all(0 < f <= 1 for f in fractions):
        raise ValueError(f"fractions: {tuple(fractions)} are not all in (0, 1]; write 10 % as 0.1")
    t = task(split, label, modality, feature, on)
    for fraction in fractions:
        name = title(label, modality, feature) + ("" if fraction == 1 else f"@{100 * fraction:g}%")
        use = t.pool(seed, fraction)
        x, y = t.x["train"][use], t.y["train"][use]
        yield f"probe/{name}/n_labels", constant(int(use.sum()), int(use.sum()))
        chosen: dict[str, float] = {}

        def scores(rows: np.ndarray = use, chosen: dict = chosen) -> np.ndarray:
            found, chosen["strength"], chosen["width"] = fitted(t, on, rows)
            return found

        yield from attempted(f"probe/{name}", t, on, scores)
        for key in ("strength", "width") if t.widths else ("strength",):
            yield f"probe/{name}/{key}", constant(chosen[key], len(t.y["val"])) if key in chosen else "no probe was fitted"
        if knn and not t.widths:
            yield from attempted(f"knn/{name}", t, on, lambda: knn_scores(x, y, t.x[on], classes=t.classes))


def attempted(name: str, t: Task, on: str, compute: Callable[[], np.ndarray]) -> Iterator[tuple[str, Found]]:
    """`report` of the scores, or the reason why there are none, by the same names."""
    try:
        _not_its_own(on)
        if not len(t.y["train"]) or not len(t.y[on]):
            raise ValueError(f"no row of {'train' if len(t.y[on]) else on} knows the label")
        yield from report(name, t.y[on], compute(), t.case[on])
    except ValueError as error:
        for metric in ("auroc",) if t.y[on].ndim == 2 else ("accuracy", "accuracy/chance", "auroc"):
            yield f"{name}/{metric}", str(error)


def _not_its_own(on: str) -> None:
    if on == "train":
        raise ValueError("a probe is fitted on train: read it on val, test or other data")


def paired(ours: Callable[[str], dict], theirs: Callable[[str], dict], *, label: str = "findings",
           modality: str = "image", feature: str = "pooled", on: str = "test", **_: Any) -> Iterator[tuple[str, Found]]:
    """Differences ours - theirs of the full-label probes, resampled by case on the same cases."""
    a, b = (task(s, label, modality, feature, on) for s in (ours, theirs))
    y, case, name = a.y[on], a.case[on], f"probe/{title(label, modality, feature)}"
    metrics = ("auroc",) if y.ndim == 2 else ("accuracy", "auroc")
    try:
        _not_its_own(on)
        sa, sb = fitted(a, on)[0], fitted(b, on)[0]
    except ValueError as error:
        yield from ((f"{name}/{m}", str(error)) for m in metrics)
        return

    def difference(metric: str) -> Interval:
        if metric == "accuracy":
            hits = [(s.argmax(1) == y).astype(float) for s in (sa, sb)]
            if (hits[0] == hits[1]).all():  # resampling would give an interval of no width, as if it were known exactly
                raise ValueError("both are right on the same rows: there is no difference to resample")
            return mean_interval(hits[0] - hits[1], case, bounds=None)
        return bootstrap_weighted(lambda w: area(y, sa, w) - area(y, sb, w), len(y), case)

    for metric in metrics:
        yield tried(f"{name}/{metric}", lambda m=metric: difference(m))
