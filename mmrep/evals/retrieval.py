"""Retrieval both ways, duplicates counted right."""

from collections.abc import Callable, Iterator

import numpy as np

from mmrep.data.sources import own
from mmrep.evals.named import Found, cases, column, constant, tried, variant
from mmrep.metrics import intervals
from mmrep.metrics import retrieval as metric

PAIR = ("image", "text")


def retrieval(split: Callable[[str], dict], texts: Callable, *, pair: tuple[str, str] = PAIR,
              ks: tuple[int, ...] = (1, 5, 10), on: str = "test") -> Iterator[tuple[str, Found]]:
    """`retrieval/image_to_text/R@1/instance`, `.../group`, MRR and median rank, both ways, the ceilings and chances.

    The ceiling is that of duplicates alone: a query cannot tell its own partner from the others of its `group`.
    Intervals resample the queries by case against the fixed gallery. Rows that lack a modality are left out. Of another
    pair the ceilings and chances are called `retrieval/ceiling:a-b/...`. Raises ValueError for a pair that is not there.
    """
    pair = tuple(pair)
    if len(pair) != 2 or pair[0] == pair[1]:
        raise ValueError(f"pair: needs two modalities, got {pair}")
    data = split(on)
    here = column(data, f"present/{pair[0]}") & column(data, f"present/{pair[1]}")
    z = {m: column(data, f"{m}/embedding")[here] for m in pair}
    group = own(data.get("group", data["index"]), data["index"])[here]
    case, n = cases(data)[here], int(here.sum())
    for k in ks:
        for kind, of, value in (("ceiling", "instance", lambda k=k: metric.ceiling(group, k)),
                                ("chance", "instance", lambda k=k: min(k / n, 1.0)),
                                ("chance", "group", lambda k=k: metric.chance(group, k))):
            name = f"retrieval/{variant(kind, pair=(pair, PAIR))}/R@{k}/{of}"
            yield name, constant(value(), n) if n else "no row holds both modalities"
    for query, gallery in (pair, pair[::-1]):
        way = f"retrieval/{query}_to_{gallery}"
        if n < 2:  # the names are those of any data
            values, each = metric.retrieval(np.eye(2), np.eye(2), np.arange(2), ks=ks)
        else:
            values, each = metric.retrieval(z[query], z[gallery], group, ks=ks)
        for name in (v for v in values if v.startswith(("R@", "MRR", "median_rank"))):
            if n < 2:
                yield f"{way}/{name}", f"{n} rows hold both modalities"
            elif name.startswith(("R@", "MRR")):
                yield tried(f"{way}/{name}", lambda name=name: intervals.mean_interval(each[name], case))
            else:
                ranks = each[name.replace("median_rank", "rank")]
                yield tried(f"{way}/{name}", lambda ranks=ranks: intervals.bootstrap(
                    lambda r: float(np.median(r)), (ranks,), case))
