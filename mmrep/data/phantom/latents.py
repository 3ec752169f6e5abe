"""Ground truth of the synthetic subjects: what they have, where, and how each modality happens to show it.

Drawn as a pure function of (seed, subject). Shared content (class, findings, severity, laterality, zone, demographics) comes
first; names with a slash are styles of one modality and carry no information about the content.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmrep.data.phantom.anatomy import ORGANS
from mmrep.data.phantom.philox import bits, choice, normal, uniform

Latents = dict[str, np.ndarray]

CLASSES = ("striated", "columnar", "oblique", "transverse", "laminar", "serrated", "fibrillar", "feathery", "reticular",
           "woven")
FINDINGS = ("opacity", "nodule", "effusion", "cardiomegaly", "pneumothorax", "device")
SEVERITIES = ("mild", "moderate", "severe")
LATERALITIES = ("left", "right")
ZONES = ("upper", "middle", "lower")
N_ATTRIBUTES = 6  # what a report may mention besides the class; text.ATTRIBUTES names them
N_DECOYS = 6  # chance patterns of a finding's size in an image, which no report speaks of

# Every finding has >= 60 positives and negatives among 512 subjects, so an AUROC's standard error is below 0.04.
PREVALENCE = (0.40, 0.35, 0.30, 0.25, 0.20, 0.15)
CLINICAL_PREVALENCE = (0.30, 0.25, 0.20, 0.15, 0.07, 0.03)  # long-tailed; needs some thousands of test subjects

RHYTHMS = ("sinus", "fibrillation", "extrasystole", "bundle_block", "bradycardia")
MARKERS = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet")
N_TEXTURES, N_HISTORIES = 10, 6
SPLITS = {"train": 0, "val": 1 << 28, "test": 1 << 29}  # first subject id of each; ranges cannot meet

# How many raw 64-bit draws each name takes. Adding a name, or lengthening one, never changes another's draws.
DRAWS = {
    "class": 1, "findings": 6, "severity": 1, "laterality": 1, "zone": 1, "lesion": 4, "age": 1, "sex": 1, "bmi": 1,
    "smoking": 1, "genotype": 1, "history": 1, "mentioned": N_ATTRIBUTES,
    "image/vendor": 1, "image/rotation": 1, "image/clutter": 48, "image/cells": 25, "image/jitter": 2, "image/decoy": 1,
    "image/decoys": N_DECOYS,
    "text/template": 1, "text/synonyms": 1, "text/order": 1, "text/header": 1, "text/negation": 6, "text/phrasing": 6,
    "tabular/batch": 1, "tabular/noise": 12, "tabular/flip": 2,
    "organ": 1, "texture": 1, "depth": 1, "rhythm": 1, "hospital": 1, "markers": 4, "style": 3, "style/volume": 6, "style/signal": 6,
    "outcome": 2, "spurious": 1,
}

CONTENT = ("class", "findings", "severity", "severity_bin", "laterality", "zone", "mentioned", "organ", "marker_a", "marker_b",
           "marker_c", "synergy")
STYLES = ("style", "style/volume", "style/signal")
STATIC_TEXT = ("history", "text/template", "text/synonyms", "text/order", "text/header", "text/negation", "text/phrasing")


def latents(seed: int, ids: Sequence[int] | np.ndarray, prevalence: Sequence[float] = PREVALENCE, correlation: float = 0.3,
            causal: float = 0.0, change: float = 1.0, synergy: str = "bijection", match: float = 0.5, spurious: float = 0.0,
            balanced: bool = False, dependent: bool = False) -> Latents:
    """All factors of a block of subjects, each drawn from its own Philox counter block.

    ids: i64[B] in [0, 2^31); prevalence: the six findings' probabilities in (0, 1); correlation: AR(1) of their Gaussian
    copula, in (-1, 1). The defaults keep every finding within 0.15..0.40, because 512 test subjects cannot measure the AUROC
    of a 3 % finding: pass CLINICAL_PREVALENCE for the long tail. causal: correlation in [0, 1) of style with content; change: probability
    that a style differs between modalities; synergy: bijection, xor or parity, and match: its label's rate, see `markers`; spurious: share
    in [-1, 1] of subjects whose vendor tells the first finding (negative: the other way round); balanced: organs equally often;
    dependent: the lesion's place, size and contrast are correlated, see `_tied`.

    Returns class i32[B] 0..9, findings u8[B,6], severity f32[B] in (0,1), severity_bin i32[B] 0..2 (cut at 1/3 and 2/3),
    laterality i32[B] (0 the patient's left), zone i32[B] (0 upper), lesion_x, lesion_y f32[B] in (-1,1) (offset within side
    and zone), lesion_size, lesion_contrast f32[B] (around 1), age f32[B] (years, 18..95), sex i32[B], bmi f32[B],
    smoking, genotype i32[B] 0..2, history i32[B] 0..5, mentioned i32[B,6] (a random order of the report's attributes), organ i32[B]
    0..2, texture i32[B] 0..9, depth i32[B] 0..2 (0 in front), rhythm i32[B] 0..4, hospital i32[B] 0..2, marker_a, marker_b, marker_c,
    synergy i32[B], time f32[B] (months), event u8[B], risk f32[B] (log hazard), style, style/volume, style/signal f32[B,3] (inspiration,
    heart rate, posture) and the styles of one modality; seed and id say whose they are. Raises ValueError for ids or knobs out of range.
    """
    ids = np.asarray(ids, np.int64)
    if ids.ndim != 1 or (len(ids) and (ids.min() < 0 or ids.max() >= 2**31)):
        raise ValueError(f"phantom ids must be a list of integers in [0, 2^31), got shape {ids.shape}: check the rows asked for")
    if len(prevalence) != len(FINDINGS) or not all(0 < p < 1 for p in prevalence):
        raise ValueError(f"phantom prevalence must be {len(FINDINGS)} numbers in (0, 1), got {tuple(prevalence)}")
    for name, value, low, high in (("correlation", correlation, -0.999, 0.999), ("causal", causal, 0, 0.999), ("change", change, 0, 1),
                                   ("spurious", spurious, -1, 1)):
        if not low <= value <= high:
            raise ValueError(f"phantom {name} must lie in {low:g}..{high:g}, got {value}")
    raw = bits(seed, ids, DRAWS)
    u = {name: uniform(raw[name]) for name in ("severity", "lesion", "age", "bmi", "image/rotation")}

    def one(name: str, n: int) -> np.ndarray:
        return choice(raw[name][:, 0], n)

    if dependent:
        u["lesion"] = _tied(u["lesion"], seed)
    severity = u["severity"][:, 0].astype(np.float32)
    lesion = u["lesion"].astype(np.float32)
    low, high = _AGE_RANGE
    block = {
        "seed": np.full(len(ids), seed, np.uint64), "id": ids,
        "class": one("class", len(CLASSES)),
        "findings": _findings(normal(uniform(raw["findings"])), prevalence, correlation),
        "severity": severity, "severity_bin": severity_bin(severity),
        "laterality": one("laterality", 2), "zone": one("zone", 3),
        "lesion_x": 2 * lesion[:, 0] - 1, "lesion_y": 2 * lesion[:, 1] - 1,
        "lesion_size": 0.95 + 0.1 * lesion[:, 2], "lesion_contrast": 0.9 + 0.2 * lesion[:, 3],
        "age": np.round(60 + 15 * normal(low + (high - low) * u["age"][:, 0])).astype(np.float32),
        "sex": one("sex", 2),
        "bmi": np.round(27 * np.exp(0.18 * normal(u["bmi"][:, 0])), 1).astype(np.float32),
        "smoking": one("smoking", 3), "genotype": one("genotype", 3), "history": one("history", N_HISTORIES),
        "mentioned": np.argsort(raw["mentioned"], axis=1, kind="stable").astype(np.int32),
        "organ": one("organ", len(ORGANS)) if balanced else np.take([0, 0, 0, 0, 0, 1, 1, 1, 2, 2], one("organ", 10)).astype(np.int32),
        "texture": one("texture", N_TEXTURES), "depth": one("depth", 3), "rhythm": one("rhythm", len(RHYTHMS)),
        "hospital": one("hospital", 3),
        "image/vendor": one("image/vendor", 3),
        "image/rotation": (5 * normal(u["image/rotation"][:, 0])).astype(np.float32),
        "image/clutter": normal(uniform(raw["image/clutter"])).astype(np.float32),
        "image/cells": raw["image/cells"], "image/jitter": raw["image/jitter"], "image/decoy": one("image/decoy", 2),
        "image/decoys": raw["image/decoys"],
        "text/template": one("text/template", 5), "text/synonyms": one("text/synonyms", 32), "text/order": one("text/order", 24),
        "text/header": one("text/header", 3), "text/negation": choice(raw["text/negation"], 256),
        "text/phrasing": choice(raw["text/phrasing"], 3),
        "tabular/batch": one("tabular/batch", 4), "tabular/noise": normal(uniform(raw["tabular/noise"])).astype(np.float32),
        "tabular/flip": raw["tabular/flip"],
    }
    if spurious:
        tied = block["findings"][:, 0].astype(np.int32) if spurious > 0 else 1 - block["findings"][:, 0].astype(np.int32)
        block["image/vendor"] = np.where(uniform(raw["spurious"][:, 0]) < abs(spurious), 2 * tied, block["image/vendor"])
    return block | markers(raw["markers"], synergy, match) | outcome(block, uniform(raw["outcome"])) | _styles(
        raw, u["severity"][:, 0], u["lesion"], causal, change)


def restyled(seed: int, ids: np.ndarray, models: np.ndarray, causal: float = 0.0, change: float = 1.0, dependent: bool = False,
             **_: Any) -> Latents:
    """style, style/volume and style/signal of subjects `ids` that have the severity of `models`, i64[B] each; keywords of `latents`."""
    raw = bits(seed, ids, {name: DRAWS[name] for name in ("lesion", *STYLES)})
    lesion = uniform(raw["lesion"])
    severity = uniform(bits(seed, models, {"severity": 1})["severity"])[:, 0]
    return _styles(raw, severity, _tied(lesion, seed) if dependent else lesion, causal, change)


def _styles(raw: Latents, severity: np.ndarray, lesion: np.ndarray, causal: float, change: float) -> Latents:
    """The styles, drawn from raw, that follow severity f64[B] and the lesion's size and contrast (of f64[B,4]) as `causal` says."""
    content = normal(np.stack([severity, lesion[:, 2], lesion[:, 3]], -1))
    own = causal * content + np.sqrt(1 - causal**2) * normal(uniform(raw["style"]))
    found = {"style": own.astype(np.float32)}
    for name in STYLES[1:]:  # s~ = s + mask * noise (von Kuegelgen et al. 2021, section 5.1)
        mask, noise = np.split(uniform(raw[name]), 2, axis=1)
        found[name] = (own + (mask < change) * normal(noise)).astype(np.float32)
    return found


def markers(raw: np.ndarray, synergy: str, match: float) -> Latents:
    """Three markers that tell a label only together: u64[B,4] -> marker_a, marker_b, marker_c and synergy, i32[B] each.

    bijection: a uniform in 0..9, synergy 1 with probability `match` and then b = (3 a + 7) mod 10, else b another value, all
    equally often: neither a nor b alone tells the label, and at `match` 0.1 they are independent (Trifeature, Hermann & Lampinen
    2020; a training bias rho is match = rho + (1 - rho) / 10). xor: bits, synergy = a xor b; parity: synergy = a xor b xor c.
    Raises ValueError for another variant or a rate out of 0..1.
    """
    if synergy not in ("bijection", "xor", "parity") or not 0 <= match <= 1:
        raise ValueError(f"phantom synergy must be bijection, xor or parity and match in 0..1, got {synergy!r} and {match}")
    label = (uniform(raw[:, 0]) < match).astype(np.int32)
    if synergy == "bijection":
        a, other = choice(raw[:, 1], 10), choice(raw[:, 2], 9)
        b, c = (3 * a + 7 + np.where(label == 1, 0, 1 + other)) % 10, choice(raw[:, 3], 2)
    else:
        a, c = choice(raw[:, 1], 2), choice(raw[:, 3], 2)
        b = a ^ label ^ (c if synergy == "parity" else 0)
    return {"marker_a": a, "marker_b": b.astype(np.int32), "marker_c": c, "synergy": label}


WEIBULL_SHAPE, WEIBULL_SCALE, CENSOR_RATE = 1.5, 48.0, 0.0151  # scale in months; the rate a month that censors 40 %


def outcome(block: Latents, u: np.ndarray) -> Latents:
    """Survival by a Weibull proportional-hazards model: u f64[B,2] -> time f32[B] (months), event u8[B], risk f32[B] (log hazard ratio).

    risk = severity's normal score + 0.8 effusion + 0.02 (age - 60) + 0.7 where texture < 3 and smoking = 2: the last needs image
    and table together. Censored by an exponential clock, 40 % at the default prevalences.
    """
    risk = normal(block["severity"].astype(np.float64)) + 0.8 * block["findings"][:, 2] + 0.02 * (block["age"] - 60)
    risk = risk + 0.7 * ((block["texture"] < 3) & (block["smoking"] == 2))
    died = WEIBULL_SCALE * (-np.log(u[:, 0]) / np.exp(risk)) ** (1 / WEIBULL_SHAPE)
    left = -np.log(u[:, 1]) / CENSOR_RATE
    return {"time": np.minimum(died, left).astype(np.float32), "event": (died <= left).astype(np.uint8), "risk": risk.astype(np.float32)}


def _tied(u: np.ndarray, seed: int) -> np.ndarray:
    """Independent uniforms f64[B,n] -> correlated ones: a Gaussian copula whose matrix is a Wishart draw of 5 n degrees of freedom,
    scaled to ones on its diagonal (of n degrees it would be near-singular). The same matrix for all subjects of a seed."""
    from scipy.special import ndtr

    n = u.shape[1]
    draws = normal(uniform(bits(seed, np.arange(5 * n), {"lesion/covariance": n})["lesion/covariance"]))
    covariance = draws.T @ draws
    spread = np.sqrt(np.diag(covariance))
    root = np.linalg.cholesky(covariance / spread / spread[:, None])
    z, out = normal(u), np.zeros_like(u)
    for i in range(n):  # in a fixed order of summation: a library's depends on how many rows there are
        out = out + z[:, i, None] * root[:, i]
    return ndtr(out)


def severity_bin(severity: np.ndarray) -> np.ndarray:
    """Severity f32[...] in (0,1) -> i32[...]: 0 mild, 1 moderate, 2 severe, cut at 1/3 and 2/3."""
    return (np.float32(3) * severity).astype(np.int32).clip(0, 2)


_AGE_RANGE = (0.0025551303304279312, 0.9901846713713547)  # normal cdf of (18-60)/15 and (95-60)/15


def _findings(noise: np.ndarray, prevalence: Sequence[float], correlation: float) -> np.ndarray:
    """Gaussian copula with an AR(1) correlation: f_k = 1[g_k < quantile(p_k)]."""
    g = noise.copy()
    for k in range(1, g.shape[1]):
        g[:, k] = correlation * g[:, k - 1] + np.sqrt(1 - correlation**2) * g[:, k]
    return (g < normal(np.asarray(prevalence, np.float64))).astype(np.uint8)


