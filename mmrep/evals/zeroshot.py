"""Zero-shot classification with prompt ensembles, multi-class and multi-label."""

from collections.abc import Callable, Iterator

import numpy as np

from mmrep.metrics import classification, intervals
from mmrep.metrics.geometry import normalize
from mmrep.metrics.intervals import Interval


def prompts_of(spec: dict, label: str, names: list[str] | None) -> tuple[list[list[str]], list[list[str]] | None]:
    """Prompts a class, and negative ones for a multi-label task.

    spec: {"prompts": "phantom"} or {"templates": ("a picture of {}", ...), "classes": (...), "negative": ("no {}",)}.
    """
    if spec.get("prompts") == "phantom":
        from mmrep.data import phantom
        found = phantom.prompts(label)
        return found[1], (found[2] if len(found) > 2 else None)
    classes = list(spec.get("classes") or names or ())
    if not classes or not spec.get("templates"):
        raise ValueError(f"config.evals: zero-shot of {label!r} needs templates and, unless the source names them, classes")
    fill = lambda templates: [[t.format(c) for t in templates] for c in classes]  # noqa: E731
    return fill(spec["templates"]), fill(spec["negative"]) if spec.get("negative") else None


def zeroshot(split: Callable[[str], dict], texts: Callable[[list[str]], np.ndarray], *, label: str = "class",
             modality: str = "image", prompts: str | None = None, templates: tuple = (), classes: tuple = (),
             negative: tuple = (), names: dict | None = None, on: str = "test") -> Iterator[tuple[str, Interval]]:
    """`zeroshot/LABEL/top1`, `.../macro_f1` (one class), or `.../auroc` (findings), with case intervals.

    A class's vector is the normalized mean of its prompts' embeddings (CLIP). Findings: softmax over the cosines with
    positive and negative prompts (CheXzero, Tiu 2022). prompts: "phantom" takes the phantom's own wording.
    """
    spec = {"prompts": prompts, "templates": templates, "classes": classes, "negative": negative}
    data = split(on)
    key = f"label/{label}"
    if key not in data:
        raise ValueError(f"zeroshot: the data has no {key!r}; it has {[k for k in data if k.startswith('label/')]}")
    y = data[key]
    known = data[f"present/{modality}"] & ((y >= 0).all(-1) if y.ndim == 2 else y >= 0)
    z, y, case = data[f"{modality}/embedding"][known], y[known], data.get("case", data["index"])[known]
    positive, minus = prompts_of(spec, label, (names or {}).get(label))

    def vectors(groups: list[list[str]]) -> np.ndarray:
        flat = texts([p for g in groups for p in g])
        ends = np.cumsum([len(g) for g in groups])
        return normalize(np.stack([normalize(part).mean(0) for part in np.split(flat, ends[:-1])]))

    scores = z @ vectors(positive).T
    name = f"zeroshot/{label}"
    if y.ndim == 2:
        if minus is None:
            raise ValueError(f"zeroshot of {label!r}: several labels an example need `negative` prompts")
        # cosines are scaled as in CheXzero's softmax over the pair; the order of examples does not depend on the scale
        scores = scores - z @ vectors(minus).T
        yield f"{name}/auroc", intervals.auroc_interval(y, scores, case)
        return
    hit = (scores.argmax(1) == y).astype(float)
    yield f"{name}/top1", intervals.mean_interval(hit, case)
    predicted = scores.argmax(1)
    yield f"{name}/balanced_accuracy", intervals.bootstrap(
        lambda a, b: float(classification.balanced_accuracy(a, b)), (y, predicted), case, n_boot=200, bounds=(0.0, 1.0))
