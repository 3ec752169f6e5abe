"""Zero-shot classification with prompt ensembles, multi-class and multi-label."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from mmrep.core.names import nearest
from mmrep.evals.named import Found, cases, column, constant, known, labels, mask, tried, variant
from mmrep.metrics import classification, intervals
from mmrep.metrics.geometry import normalize


def prompts_of(spec: dict, label: str, names: list[str] | None) -> tuple[list[list[str]], list[list[str]] | None]:
    """Prompts a class, in the order of the label's numbers, and negative ones for a multi-label task.

    spec: {"prompts": "phantom"} or {"templates": ("a picture of {}", ...), "classes": (...), "negative": ("no {}",)}.
    names: what the source calls the classes. `classes` must be these, in any order, or {name: wording}; where the source
    names none, they are taken in the order of the numbers. Raises ValueError.
    """
    if spec.get("prompts") in ("phantom", "phantom whole"):
        from mmrep.data import phantom
        found = phantom.prompts(label, whole=spec["prompts"] == "phantom whole")
        return found[1], (found[2] if len(found) > 2 else None)
    if spec.get("prompts"):
        raise ValueError(f"prompts: unknown {spec['prompts']!r}; valid: phantom, phantom whole (reports that name the organ), or give "
                         "templates")
    given = spec.get("classes") or names or ()
    words = dict(given) if isinstance(given, dict) else {c: c for c in given}
    if not words or not spec.get("templates"):
        raise ValueError(f"zero-shot of {label!r} needs templates, such as ('a picture of {{}}',), and, unless the source names them, "
                         "classes")
    for name in words if names else ():
        if name not in names:
            raise ValueError(f"classes: label {label!r} has no class {name!r}; {nearest(name, names)}")
    if names and len(words) < len(names):
        raise ValueError(f"classes: label {label!r} also has the class {next(n for n in names if n not in words)!r}")
    for template in (*spec["templates"], *(spec.get("negative") or ())):
        if template.format("") == template.format("x"):
            raise ValueError(f"templates: {template!r} has no {{}} where the class goes: all classes would have one prompt")
    order = names or list(words)
    fill = lambda templates: [[t.format(words[c]) for t in templates] for c in order]  # noqa: E731
    return fill(spec["templates"]), fill(spec["negative"]) if spec.get("negative") else None


def zeroshot(split: Callable[[str], dict], texts: Callable[[list[str]], np.ndarray], *, label: str = "class",
             modality: str = "image", prompts: str | None = None, templates: tuple = (), classes: tuple | dict = (),
             negative: tuple = (), names: dict | None = None, on: str = "test") -> Iterator[tuple[str, Found]]:
    """`zeroshot/LABEL/top1`, its chance and `.../balanced_accuracy` (one class), or `.../auroc` (findings); case intervals.

    A class's vector is the normalized mean of its prompts' embeddings (CLIP). Findings: softmax over the cosines with
    positive and negative prompts (CheXzero, Tiu 2022). prompts: "phantom" takes the phantom's own wording, "phantom whole" that
    of its whole reports. Of another modality than the image the names are `zeroshot/LABEL:modality/...`. Raises ValueError without a
    text encoder, the label, the modality, or prompts for every class.
    """
    t = task(split, texts, label, modality, prompts, templates, classes, negative, names, on)
    name = f"zeroshot/{variant(label, modality=(modality, 'image'))}"
    y, case = t.y, cases(split(on))[t.here]
    wanted = ("auroc",) if y.ndim == 2 else ("top1", "top1/chance", "balanced_accuracy")
    if t.twins:
        yield from ((f"{name}/{metric}", t.twins) for metric in wanted)
        return
    if y.ndim == 2:
        yield tried(f"{name}/auroc", lambda: intervals.auroc_interval(y, t.scores, case, mask(y)))
        return
    predicted = t.scores.argmax(1)
    yield f"{name}/top1/chance", constant(1 / t.scores.shape[1], len(y))
    yield tried(f"{name}/top1", lambda: intervals.mean_interval((predicted == y).astype(float), case))
    yield tried(f"{name}/balanced_accuracy", lambda: intervals.bootstrap(
        lambda a, b: float(classification.balanced_accuracy(a, b)), (y, predicted), case, n_boot=200, bounds=(0.0, 1.0)))


class Task(NamedTuple):
    """here: bool[n], rows that are judged; of these scores f[m, classes] (of findings: above 0 where the positive prompts are nearer) and
    y, the labels; twins: why the scores tell nothing, "" where they do."""

    here: np.ndarray
    scores: np.ndarray
    y: np.ndarray
    twins: str


def task(split: Callable[[str], dict], texts: Callable | None, label: str, modality: str, prompts: str | None, templates: tuple,
         classes: tuple | dict, negative: tuple, names: dict | None, on: str) -> Task:
    """What `zeroshot` judges. Raises ValueError as it does."""
    if texts is None:
        raise ValueError("zero-shot needs a text encoder; set config.encoders.text")
    spec = {"prompts": prompts, "templates": templates, "classes": classes, "negative": negative}
    data = split(on)
    y = labels(data, label)
    positive, minus = prompts_of(spec, label, (names or {}).get(label))
    if y.ndim == 2 and minus is None:
        raise ValueError(f"zero-shot of {label!r}: several labels an example need `negative` prompts")
    here = known(data, modality, y)
    z, y = column(data, f"{modality}/embedding")[here], y[here]
    top = y.shape[1] if y.ndim == 2 else int(y.max(initial=-1)) + 1
    if top > len(positive) or y.ndim == 2 and top < len(positive):
        raise ValueError(f"zero-shot of {label!r}: prompts of {len(positive)} classes for {top}")

    def vectors(groups: list[list[str]]) -> np.ndarray:
        flat = texts([p for g in groups for p in g])
        ends = np.cumsum([len(g) for g in groups])
        return normalize(np.stack([normalize(part).mean(0) for part in np.split(flat, ends[:-1])]))

    classes_of, twins = vectors(positive), ""
    if found := _twins(classes_of):
        a, b = (positive[k][0] for k in found)
        twins = (f"{a[:60]!r} and {b[:60]!r} are one prompt to the text encoder: is what differs behind config.tokenizer.length, or "
                 "unknown to its tokenizer?")
    scores = z @ classes_of.T
    if y.ndim == 2 and not twins:
        # cosines are scaled as in CheXzero's softmax over the pair; the order of examples does not depend on the scale
        scores = scores - z @ vectors(minus).T
    return Task(here, scores, y, twins)


def _twins(vectors: np.ndarray) -> tuple[int, int] | None:
    """Two classes of equal vectors, which nothing can tell apart; None where there are none."""
    _, first, which = np.unique(vectors, axis=0, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[which.ravel()] != np.arange(len(vectors)))
    return (int(first[which.ravel()[again[0]]]), int(again[0])) if len(again) else None
