"""Which modality shows which factor of the whole phantom: the matrix that tests and the headroom study hold the data to."""

from collections.abc import Mapping

# 1 shown, 0.5 hinted at (a noisy, coarse or partial reading), 0 independent of it. Found: experiments/headroom
_ROWS = {  #         image volume signal text tabular features
    "class":        (1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    "findings":     (1.0, 1.0, 0.0, 1.0, 0.5, 0.0),  # a signal shows cardiomegaly alone
    "cardiomegaly": (1.0, 1.0, 1.0, 1.0, 0.5, 0.0),
    "severity":     (1.0, 1.0, 1.0, 0.5, 0.5, 0.5),
    "severity_bin": (1.0, 1.0, 1.0, 1.0, 0.5, 0.5),
    "laterality":   (1.0, 1.0, 0.0, 1.0, 0.0, 0.0),
    "zone":         (1.0, 1.0, 0.0, 1.0, 0.0, 0.0),
    "organ":        (1.0, 1.0, 0.0, 1.0, 1.0, 1.0),
    "age":          (0.0, 0.0, 0.5, 0.0, 1.0, 0.0),
    "sex":          (0.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "bmi":          (0.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "smoking":      (0.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "genotype":     (0.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "texture":      (1.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "depth":        (0.0, 1.0, 0.0, 0.0, 0.0, 0.0),
    "rhythm":       (0.0, 0.0, 1.0, 0.0, 0.0, 0.0),
    "history":      (0.0, 0.0, 0.0, 1.0, 0.0, 0.0),
    "marker_a":     (1.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "marker_b":     (0.0, 0.0, 0.0, 1.0, 0.0, 0.0),
    "marker_c":     (0.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "vendor":       (1.0, 0.0, 0.0, 0.0, 0.0, 0.0),
}
MODALITIES = ("image", "volume", "signal", "text", "tabular", "features")
VISIBILITY: Mapping[str, Mapping[str, float]] = {name: dict(zip(MODALITIES, row)) for name, row in _ROWS.items()}
