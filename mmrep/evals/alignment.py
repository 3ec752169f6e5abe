"""How two modalities' embeddings lie: gap, similarity of structure, spread."""

from collections.abc import Callable, Iterator

import numpy as np

from mmrep.metrics import geometry, similarity
from mmrep.metrics.intervals import Interval, jackknife, permutation_null


def alignment(split: Callable[[str], dict], texts: Callable, *, pair: tuple[str, str] = ("image", "text"), k: int = 10,
              limit: int = 1024, on: str = "test") -> Iterator[tuple[str, Interval]]:
    """`alignment/gap`, `rmg`, `cka_debiased_linear`, `mutual_knn@10`, ... of paired rows (at most `limit`, n is said).

    Intervals: delete-group jackknife over cases. `.../null` is what randomly paired rows read, at the same n and k.
    """
    data = split(on)
    here = np.flatnonzero(data[f"present/{pair[0]}"] & data[f"present/{pair[1]}"])[:limit]
    x, y = (geometry.normalize(data[f"{m}/embedding"][here]) for m in pair)
    n, case = len(here), data.get("case", data["index"])[here]
    if n < 20:
        return
    both: dict[str, Callable] = {
        "gap": geometry.modality_gap, "rmg": geometry.relative_modality_gap, "alignment": geometry.alignment,
        "cka_linear": similarity.linear_cka, "cka_debiased_linear": similarity.cka_debiased_linear}
    if n > 2 * k:
        both[f"mutual_knn@{k}"] = lambda a, b: similarity.mutual_knn(a, b, k)
    for name, fn in both.items():
        yield f"alignment/{name}", jackknife(lambda i, fn=fn: fn(x[i], y[i]), n, case)
    for name, m, z in (("uniformity", pair[0], x), ("uniformity", pair[1], y), ("effective_rank", pair[0], x),
                       ("effective_rank", pair[1], y)):
        fn = getattr(geometry, name)
        yield f"alignment/{name}/{m}", jackknife(lambda i, fn=fn, z=z: fn(z[i]), n, case)
    for name in ("cka_debiased_linear", f"mutual_knn@{k}"):
        if name in both:
            null = permutation_null(lambda p, fn=both[name]: fn(x, y[p]), n, n_perm=40)
            yield f"alignment/{name}/null", Interval(null.mean, null.mean, null.upper, n)
