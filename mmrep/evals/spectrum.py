"""How many dimensions a representation uses: its singular values, and what sums them up."""

from collections.abc import Callable, Iterator

import numpy as np

from mmrep.evals.alignment import one_a_case
from mmrep.evals.named import Found, cases, column, constant, tried, variant
from mmrep.metrics import geometry
from mmrep.metrics.intervals import jackknife


def spectrum(split: Callable[[str], dict], *, modality: str = "image", feature: str = "embedding", values: int = 0, limit: int = 2048,
             on: str = "test") -> Iterator[tuple[str, Found]]:
    """`spectrum/effective_rank`, `participation_ratio`, `anisotropy`, `dimensions` and the first `values` logs of singular values.

    Of the covariance of one row a case, at most `limit`: effective_rank is of the centered features (exp of the entropy of their singular
    values), dimensions counts singular values of the covariance above 1e-3 of the first, `log_sv/01`, ... are their natural logs (Jing et
    al. 2022, figure 3). Of another modality or feature than image and embedding the names say so.
    """
    name = "/".join(["spectrum"] + ([variant(modality, feature=(feature, "embedding"))] if (modality, feature) != ("image", "embedding")
                                    else []))
    data = split(on)
    rows = one_a_case(np.flatnonzero(column(data, f"present/{modality}")), cases(data), limit)
    x = column(data, f"{modality}/{feature}")[rows].astype(np.float64)
    few = f"{len(rows)} cases hold the modality; 20 are needed" if len(rows) < 20 else ""
    for metric, fn, bounds in (("effective_rank", lambda i: geometry.effective_rank(x[i], center=True), (1.0, np.inf)),
                               ("participation_ratio", lambda i: geometry.participation_ratio(x[i]), (1.0, np.inf)),
                               ("anisotropy", lambda i: geometry.anisotropy(x[i]), (-1.0, 1.0))):
        yield (f"{name}/{metric}", few) if few else tried(f"{name}/{metric}", lambda fn=fn, b=bounds: jackknife(fn, len(x), bounds=b))
    found = np.square(geometry.singular_values(x, center=True)) / max(len(x) - 1, 1) if not few else np.zeros(0)
    whole = lambda v: few or constant(float(v), len(x))  # noqa: E731
    yield f"{name}/dimensions", whole((found > 1e-3 * found.max(initial=0)).sum() if len(found) else 0)
    for i in range(values):
        at = np.log(max(found[i], 1e-300)) if i < len(found) else np.nan
        yield f"{name}/log_sv/{i + 1:02d}", few or (constant(float(at), len(x)) if i < len(found) else "there are fewer dimensions")
