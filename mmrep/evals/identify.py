"""Which known latents a representation holds: R^2 of regressions from frozen features."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mmrep.data.sources import spread
from mmrep.evals.named import Found, cases, column, tried, variant
from mmrep.evals.probe import standardize
from mmrep.metrics import identifiability
from mmrep.metrics.intervals import bootstrap_weighted


def identify(split: Callable[[str], dict], *, labels: Sequence[str] = ("content", "style"), modality: str = "image",
             feature: str = "pooled", kernel: bool = True, limit: int = 1024, on: str = "test") -> Iterator[tuple[str, Found]]:
    """`identify/LABEL/r2_linear` and, with `kernel`, `identify/LABEL/r2_kernel` of real-valued labels f[n] or f[n, d].

    Features and labels are standardized by train; kernel regressions are fitted on at most `limit` training rows, their grid is chosen on
    at most as many of val. Of another modality or feature than image and pooled the names say so. Intervals resample cases of `on`.
    """
    data = {name: split(name) for name in ("train", "val", on)}
    of = [variant(modality, feature=(feature, "pooled"))] if (modality, feature) != ("image", "pooled") else []
    for label in labels:
        name = "/".join(["identify", *of, label])
        x, y, case = {}, {}, {}
        for part, rows in data.items():
            here = column(rows, f"present/{modality}")
            target = column(rows, f"label/{label}").astype(np.float64)
            x[part], y[part] = column(rows, f"{modality}/{feature}")[here].astype(np.float64), target.reshape(len(target), -1)[here]
            case[part] = cases(rows)[here]
        if min(map(len, y.values())) < 3:
            yield f"{name}/r2_linear", "fewer than three rows hold the modality"
            if kernel:
                yield f"{name}/r2_kernel", "fewer than three rows hold the modality"
            continue
        x["train"], x["val"], x[on] = standardize(x["train"], x["val"], x[on])
        y["train"], y["val"], y[on] = standardize(y["train"], y["val"], y[on])
        few = {part: spread(len(y[part]), min(limit, len(y[part]))) for part in ("train", "val")}

        def interval(predicted: np.ndarray, y=y[on], case=case[on]) -> Found:
            return bootstrap_weighted(lambda w: identifiability.r2(y, predicted, w), len(y), case)

        yield tried(f"{name}/r2_linear", lambda x=x, y=y: interval(identifiability.linear(x["train"], y["train"], x[on])))
        if kernel:
            yield tried(f"{name}/r2_kernel", lambda x=x, y=y, few=few: interval(identifiability.kernel_ridge(
                x["train"][few["train"]], y["train"][few["train"]], (x["val"][few["val"]], y["val"][few["val"]]), x[on])[0]))
