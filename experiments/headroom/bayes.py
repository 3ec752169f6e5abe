"""The Bayes rules of the phantom's image, table and report, from its latents: what no reading of a modality can beat."""

import numpy as np

from mmrep.data.phantom import latents, parse, render_image
from mmrep.data.phantom.tabular import CODE_ERROR, LABS, SHIFT, sides

from .networks import Labels, Scores, macro

FINDINGS = 6
COUNTS = {"findings": FINDINGS, "class": 10, "severity_bin": 3, "laterality": 2, "zone": 3, "organ": 3, "texture": 10, "marker_a": 10}


def image_bayes(test: object, image: np.ndarray, labels: Labels, whole: bool) -> Scores:
    """The image's Bayes rule given all but the factor asked for: which value's rendering is nearest."""
    block, out = test.latents(), {}

    def distance(**changed: np.ndarray) -> np.ndarray:
        return ((render_image(block | changed, whole=whole).astype(np.float64) - image) ** 2).mean((1, 2, 3))

    for name in [name for name in labels if name in COUNTS]:
        count, scores = COUNTS[name], []
        for k in range(count):
            if name == "findings":
                found = np.stack([block["findings"]] * 2)
                found[0, :, k], found[1, :, k] = 0, 1
                scores.append(distance(findings=found[0]) - distance(findings=found[1]))
            else:
                changed = {name: np.full_like(block["class"], k)}
                if name == "severity_bin":
                    changed["severity"] = np.full_like(block["severity"], (k + 0.5) / 3)
                scores.append(-distance(**changed))
        scores = np.stack(scores, -1)
        scores = scores[:, 1:] - scores[:, :1] if name == "laterality" else scores
        out[name] = macro(labels[name], scores)
    return out


def table_bayes(batch: dict, labels: Labels) -> Scores:
    """The table's Bayes rule: exact likelihoods of laboratory values, codes and lactate, the findings' joint prior counted over 10^5
    subjects."""
    places = 2 ** np.arange(FINDINGS)
    prior = np.bincount(latents(0, np.arange(100_000))["findings"] @ places, minlength=64) / 100_000
    patterns = np.arange(64)[:, None] >> np.arange(FINDINGS) & 1
    z = (batch["tabular"][:, 2:8] - [lab[0] for lab in LABS]) / [lab[1] for lab in LABS] * sides(batch["category"])[:, None]
    misfit = ((z[:, None] - (2 * patterns - 1) * SHIFT) ** 2).sum(-1) / 2
    joint = np.exp(-(misfit - misfit.min(1, keepdims=True))) * prior
    out = {"findings": macro(labels["findings"], joint @ patterns / joint.sum(1, keepdims=True))}
    value = (batch["category"][:, 4] - batch["category"][:, 5] // 2) % 10
    out["class"] = macro(labels["class"], np.where(np.eye(10)[value] > 0, 1 - CODE_ERROR, CODE_ERROR / 9))
    u = (np.arange(300) + 0.5) / 300
    likely = np.exp(-((batch["tabular"][:, 8:9] - 1 - 2 * u) / 0.25) ** 2 / 2).reshape(len(z), 3, 100).sum(-1)
    out["severity_bin"] = macro(labels["severity_bin"], likely / likely.sum(1, keepdims=True))
    return out


def text_bayes(batch: dict, labels: Labels) -> Scores:
    """The report's Bayes rule: the grammar's inverse."""
    read = [parse(text) for text in batch["text"]]
    out = {"findings": macro(labels["findings"], np.array([r["findings"] for r in read]))}
    for name, key in (("class", "class"), ("severity_bin", "severity"), ("laterality", "laterality"), ("zone", "zone")):
        scores = np.eye(COUNTS[name])[[r[key] for r in read]]
        out[name] = macro(labels[name], scores[:, 1:] if name == "laterality" else scores)
    return out
