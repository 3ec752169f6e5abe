"""What the trained heads of a `supervised` term predict: fine-tuned models are read by their own head, not by a probe."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from mmrep import config as cfg
from mmrep.core.names import nearest
from mmrep.evals.named import Found, cases, column, known, labels, log_softmax, report, variant
from mmrep.objectives.views import as_view


class Head(NamedTuple):
    """A head: whose term, what of which encoder it reads, "ce" or "bce", and its params kernel [D, K] and bias [K]."""

    term: str
    modality: str
    feature: str
    kind: str
    params: dict

    def logits(self, x: Any) -> Any:
        """f[n, K] of features f[n, D]."""
        return x @ self.params["kernel"] + self.params["bias"]


def heads_of(config: Any, params: dict) -> dict[tuple[str, str], Head]:
    """{(term, label): Head} of every supervised term. params: the run's, whole; a frozen term's are there, too."""
    found = {}
    for term, spec in cfg.plain(config.objectives).items():
        if spec["name"] == "supervised":
            modality = as_view(spec.get("view", "image")).modality
            for label, head in spec["heads"].items():
                found[term, label] = Head(term, modality, spec.get("feature", "pooled"), head["kind"],
                                          params["objectives"][term][label])
    return found


def of_term(heads: dict[tuple[str, str], Head], term: str) -> dict[str, Head]:
    """{label: Head} of one term; "" is the only one. Raises ValueError for another."""
    terms = sorted({t for t, _ in heads})
    if not term and len(terms) != 1:
        raise ValueError(f"supervised: the config has {len(terms)} supervised terms; say which by term=, "
                         f"valid: {', '.join(terms) or 'none'}")
    if term and term not in terms:
        raise ValueError(f"term: no supervised term {term!r}; {nearest(term, terms)}")
    return {label: head for (t, label), head in heads.items() if t == (term or terms[0])}


def supervised(split: Callable[[str], dict], texts: Callable | None = None, *, heads: dict[tuple[str, str], Head],
               term: str = "", names: dict | None = None, trained: dict | None = None, on: str = "test"
               ) -> Iterator[tuple[str, Found]]:
    """`supervised/LABEL/accuracy` (classes) and `supervised/LABEL/auroc` of every head of a term; case intervals.

    Of a term given by name the names are `supervised/LABEL:term/...`. names, trained: {label: class names} of this data
    and of the training data; classes are matched by name. Raises ValueError for a term, modality or label that is not
    there, or a class that was not trained.
    """
    data = split(on)
    for label, head in of_term(heads, term).items():
        y = matched(labels(data, label), label, (names or {}).get(label), (trained or {}).get(label))
        classes = head.params["kernel"].shape[1]
        if (y.ndim == 2) != (head.kind == "bce") or (y.shape[1] != classes if y.ndim == 2 else y.max(initial=0) >= classes):
            raise ValueError(f"label {label!r}: a {head.kind} head of {classes} classes cannot be read on labels "
                             f"{y.shape} up to {int(y.max(initial=0))}")
        here = known(data, head.modality, y)
        scores = np.asarray(head.logits(column(data, f"{head.modality}/{head.feature}")[here]))
        scores = log_softmax(scores) if head.kind == "ce" else scores
        yield from report(f"supervised/{variant(label, term=(term, ''))}", y[here], scores, cases(data)[here])


def matched(y: np.ndarray, label: str, names: list[str] | None, trained: list[str] | None) -> np.ndarray:
    """Class numbers (or columns of findings) of this data as the training data numbered them."""
    if not names or not trained or list(names) == list(trained):
        return y
    for name in names:
        if name not in trained:
            raise ValueError(f"label {label!r}: the class {name!r} was not trained; {nearest(name, trained)}")
    place = np.array([list(trained).index(name) for name in names])
    if y.ndim == 1:
        return np.where(y >= 0, place[np.maximum(y, 0)], -1)
    out = np.full((len(y), len(trained)), -1)
    out[:, place] = y
    return out
