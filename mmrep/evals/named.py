"""What evaluators share: columns of features by name, rows that know a label, results with a reason where there is none."""

from collections.abc import Callable, Iterator

import numpy as np

from mmrep.core.names import nearest
from mmrep.data.sources import own
from mmrep.metrics import classification
from mmrep.metrics.intervals import Interval, auroc_interval, mean_interval

Found = Interval | str  # a metric, or why there is none


def column(data: dict, key: str) -> np.ndarray:
    """A column of features. Raises ValueError naming the nearest one."""
    if key not in data:
        raise ValueError(f"the data have no {key!r}; {nearest(key, [k for k in data if '/' in k])}")
    return data[key]


def labels(data: dict, label: str) -> np.ndarray:
    """i[n] or i[n, K], -1 where unknown. Raises ValueError for a label that is not there, or holds real numbers."""
    y = column(data, f"label/{label}")
    if y.dtype.kind == "f":
        raise ValueError(f"label {label!r} holds real numbers; an evaluator of classes needs whole ones")
    return y.astype(int)


def known(data: dict, modality: str, y: np.ndarray) -> np.ndarray:
    """bool[n]: rows that hold the modality and at least one label."""
    return column(data, f"present/{modality}") & ((y >= 0).any(-1) if y.ndim == 2 else y >= 0)


def cases(data: dict) -> np.ndarray:
    """The patient or case of every row; one of its own where the source names none, or a negative one."""
    return own(data.get("case", data["index"]), data["index"])


def variant(label: str, **changed: tuple) -> str:
    """The label, and behind colons what is not its default: name=(value, default)."""
    return ":".join([label, *("-".join(v) if isinstance(v, tuple) else v for v, usual in changed.values() if v != usual)])


def tried(name: str, compute: Callable[[], Interval]) -> tuple[str, Found]:
    """(name, interval), or (name, reason) where the rows are too few or too alike for one."""
    try:
        return name, compute()
    except ValueError as error:
        return name, str(error)


def constant(value: float, n: int) -> Interval:
    """A number that is no estimate: chance, a ceiling, a count."""
    return Interval(value, value, value, n)


def report(name: str, y: np.ndarray, scores: np.ndarray, case: np.ndarray) -> Iterator[tuple[str, Found]]:
    """AUROC (macro) and, for classes, accuracy, with case intervals, and `accuracy/chance`, of the best constant answer.

    y: i[n] or i[n, K] with -1 unknown; scores f[n, K], of classes probabilities or their logarithms, of findings anything
    that ranks the rows.
    """
    if y.ndim == 1:
        yield tried(f"{name}/accuracy", lambda: mean_interval((scores.argmax(1) == y).astype(float), case))
        yield f"{name}/accuracy/chance", constant(np.bincount(y).max() / len(y), len(y)) if len(y) else "no row knows the label"
    yield tried(f"{name}/auroc", lambda: auroc_interval(y, binary(scores) if y.ndim == 1 else scores, case, mask(y)))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """f[n, K], in f64: log-probabilities, which, other than logits, rank the rows by what they say of a class."""
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def binary(scores: np.ndarray) -> np.ndarray:
    """Of two classes f[n, 2], the second's margin f[n]; else the scores."""
    return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores


def mask(y: np.ndarray) -> np.ndarray | None:
    """bool[n, K] of the known findings; None for classes, whose unknown rows are left out before."""
    return y >= 0 if y.ndim == 2 else None


def area(y: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray | float:
    """Macro AUROC, with bootstrap weights f[B, n] one value each; y and scores as `report`."""
    scores = binary(scores) if y.ndim == 1 else scores
    if scores.ndim == 1:
        return classification.auroc(y, scores, weights)
    return classification.macro_auroc(y, scores, weights, mask(y))
