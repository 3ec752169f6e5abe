"""Retrieval both ways, duplicates counted right."""

from collections.abc import Callable, Iterator

import numpy as np

from mmrep.metrics import intervals
from mmrep.metrics import retrieval as metric
from mmrep.metrics.intervals import Interval


def retrieval(split: Callable[[str], dict], texts: Callable, *, pair: tuple[str, str] = ("image", "text"),
              ks: tuple[int, ...] = (1, 5, 10), on: str = "test") -> Iterator[tuple[str, Interval]]:
    """`retrieval/image_to_text/R@1/instance`, `.../group`, MRR and median rank, both ways, and the ceilings.

    Intervals resample the queries by case against the fixed gallery. Rows that lack a modality are left out.
    """
    data = split(on)
    here = data[f"present/{pair[0]}"] & data[f"present/{pair[1]}"]
    group = data.get("group", data["index"])[here]
    group = np.where(group >= 0, group, -1 - data["index"][here])  # no group: alone
    case = data.get("case", data["index"])[here]
    z = {m: data[f"{m}/embedding"][here] for m in pair}
    for k in ks:
        top = metric.ceiling(group, k)
        yield f"retrieval/ceiling/R@{k}/instance", Interval(top, top, top, len(group))
        yield f"retrieval/chance/R@{k}/instance", Interval(*[min(k / len(group), 1.0)] * 3, len(group))
    for query, gallery in (pair, pair[::-1]):
        values, each = metric.retrieval(z[query], z[gallery], group, ks=ks)
        for name, value in values.items():
            if name.startswith(("R@", "MRR")):
                yield f"retrieval/{query}_to_{gallery}/{name}", intervals.mean_interval(each[name], case)
            elif name.startswith("median_rank"):
                ranks = each[name.replace("median_rank", "rank")]
                yield f"retrieval/{query}_to_{gallery}/{name}", intervals.bootstrap(
                    lambda r: float(np.median(r)), (ranks,), case)
