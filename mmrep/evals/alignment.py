"""How two modalities' embeddings lie: gap, similarity of structure, spread."""

import re
from collections.abc import Callable, Iterator

import numpy as np

from mmrep.evals.named import Found, cases, column, tried, variant
from mmrep.metrics import geometry, similarity
from mmrep.metrics.intervals import Interval, jackknife, mean_interval, permutation_null

PAIR = ("image", "text")
UNIT, FREE = (0.0, 1.0), (-np.inf, np.inf)
# the range of each metric; `alignment` is the mean squared distance of unit vectors, `uniformity` a logarithm of at most 1
BOUNDS = {"gap": (0.0, 2.0), "rmg": UNIT, "alignment": (0.0, 4.0), "cka_linear": UNIT, "cka_debiased_linear": (-1.0, 1.0),
          "mutual_knn": UNIT, "uniformity": (-np.inf, 0.0), "effective_rank": (1.0, np.inf)}


def alignment(split: Callable[[str], dict], texts: Callable, *, pair: tuple[str, str] = PAIR, k: int = 10,
              limit: int = 1024, separability: bool = False, on: str = "test") -> Iterator[tuple[str, Found]]:
    """`alignment/gap`, `rmg`, `cka_debiased_linear`, `mutual_knn@10`, ... of one row a case, at most `limit` of them.

    They are spread over the data, for files are often sorted; n says how many. Intervals: delete-group jackknife.
    separability: also `alignment/separability`, the accuracy at which a hyperplane tells the modalities of unseen pairs apart.
    `.../null` is what randomly paired rows read, at the same n and k: the mean and the middle 95 % of permutations. Of
    another pair the names begin with `alignment:a-b/`. Raises ValueError for a pair that is not there.
    """
    pair = tuple(pair)
    if len(pair) != 2 or pair[0] == pair[1]:
        raise ValueError(f"pair: needs two modalities, got {pair}")
    data, prefix = split(on), variant("alignment", pair=(pair, PAIR))
    rows = np.flatnonzero(column(data, f"present/{pair[0]}") & column(data, f"present/{pair[1]}"))
    here = one_a_case(rows, cases(data), limit)
    n, both = len(here), [column(data, f"{m}/embedding")[here] for m in pair]
    x, y = (geometry.normalize(z) for z in both) if n else both
    few = f"{n} cases hold both modalities; 20 are needed" if n < 20 else ""
    near = few or (f"{n} cases hold both modalities; more than {2 * k} are needed" if n <= 2 * k else "")
    one = {f"{name}/{m}": (lambda i, fn=getattr(geometry, name), z=z: fn(z[i]))
           for name in ("uniformity", "effective_rank") for m, z in zip(pair, (x, y))}
    two = {"gap": geometry.modality_gap, "rmg": geometry.relative_modality_gap, "alignment": geometry.alignment,
           "cka_linear": similarity.linear_cka, "cka_debiased_linear": similarity.cka_debiased_linear,
           f"mutual_knn@{k}": lambda a, b: similarity.mutual_knn(a, b, k)}
    for name, fn in {**{m: (lambda i, fn=fn: fn(x[i], y[i])) for m, fn in two.items()}, **one}.items():
        why = near if name.startswith("mutual_knn") else few
        yield (f"{prefix}/{name}", why) if why else tried(
            f"{prefix}/{name}", lambda fn=fn, bounds=BOUNDS[re.split("[@/]", name)[0]]: jackknife(fn, n, bounds=bounds))
    if separability:
        yield (f"{prefix}/separability", few) if few else tried(
            f"{prefix}/separability", lambda: mean_interval(geometry.separability(x, y)))
    for name, why, statistic in (("cka_debiased_linear", few, lambda: _permuted_cka(x, y)),
                                 (f"mutual_knn@{k}", near, lambda: _permuted_knn(x, y, k))):
        yield (f"{prefix}/{name}/null", why) if why else tried(f"{prefix}/{name}/null", lambda s=statistic: _null(s(), n))


def one_a_case(rows: np.ndarray, case: np.ndarray, limit: int) -> np.ndarray:
    """The first of `rows` (ascending) of every case, at most `limit` of them, spread evenly."""
    first = np.sort(rows[np.unique(case[rows], return_index=True)[1]])
    return first[np.linspace(0, len(first) - 1, limit).astype(int)] if len(first) > limit else first


def _null(statistic: Callable, n: int) -> Interval:
    null = permutation_null(statistic, n, n_perm=200, level=0.975)
    return Interval(null.mean, null.lower, null.upper, n)


def _permuted_cka(x: np.ndarray, y: np.ndarray) -> Callable:
    return lambda order: similarity.cka_debiased_linear(x, y[order])


def _permuted_knn(x: np.ndarray, y: np.ndarray, k: int) -> Callable:
    tables = similarity.knn(x, k), similarity.knn(y, k)
    return lambda order: float(similarity.knn_overlap(tables[0], similarity.knn_permuted(tables[1], order)).mean())
