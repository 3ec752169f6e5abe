"""`mmrep compare A B`: two runs on the same rows: how alike their layers are, whose evaluations are better, which examples flipped."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mmrep.core.names import nearest
from mmrep.core.types import View
from mmrep.data.batches import META
from mmrep.evals.alignment import one_a_case
from mmrep.evals.named import Found, cases, tried, variant
from mmrep.evals.probe import fitted, task, title
from mmrep.evals.suite import as_json, reasons
from mmrep.evals.zeroshot import task as zeroshot_task
from mmrep.evaluate import count_read, may_be_test
from mmrep.metrics import retrieval, similarity
from mmrep.metrics.intervals import Interval, jackknife, mean_interval
from mmrep.opened import Opened, open_run

SHOWN = 10  # rows that are listed of each kind of flip
FEWEST, LEAST = 10, 20  # cases of a subgroup; rows of an interval of similarities
SHUFFLES = 100  # random pairings of the rows: what a similarity reads where there is none


def compare(a: str | Path, b: str | Path, split: str = "test", by: tuple[str, ...] = (), limit: int = 1024, data: dict | None = None
            ) -> dict[str, Any]:
    """Compare two runs on a split; counts a reading of test in both.

    Returns {"layers": {modality: {"a", "b": names of layers, "cka", "mutual_knn": a matrix each, "null": of either what SHUFFLES random
    pairings of the rows read, a matrix of the "mean" and one of the 95 % quantile, "high"}}, "embeddings": the same between all modalities'
    embeddings, with "interval": matrices of "low" and "high", 95 % by the delete-group jackknife, "differences": {evaluation: b - a, paired
    by case}, "flips": {evaluation: {"a_only", "b_only": how many and which rows only one run gets right, "both", "neither"}}, "subgroups":
    {evaluation: {label: {value: b - a, and how many flipped}}}, "left_out", "n", "rows"}.
    by: labels of few classes, whose values are the subgroups. Layers are compared on at most `limit` rows, one a case: debiased linear
    CKA and mutual kNN@10 of mean tokens. Raises ValueError where the runs do not read the same rows, share no modality, or a label is not
    there.
    """
    runs = [open_run(folder, data) for folder in (a, b)]
    features = [_features(o, split) for o in runs]
    _check_same(runs, features, split)
    for o in runs:
        count_read(o.folder, int(may_be_test(split, data)))
    ours, theirs = (f(split) for f in features)
    shared = [m for m in runs[0].suite.modalities if m in runs[1].suite.modalities]
    if not shared:
        mine, others = (", ".join(o.suite.modalities) for o in runs)
        raise ValueError(f"{a} has encoders of {mine}, {b} of {others}: none in common, so there is nothing to compare")
    layers = {m: _matrices(*(_layers(o, split, m) for o in runs), limit) for m in shared}
    embedded = [{m: f[f"{m}/embedding"] for m in o.suite.modalities if f"{m}/embedding" in f} for o, f in zip(runs, (ours, theirs))]
    whole = np.logical_and.reduce([ours[f"present/{m}"] & theirs[f"present/{m}"] for m in shared])
    rows = one_a_case(np.flatnonzero(whole), cases(ours), limit)
    right, left_out = _right(runs, features, split)
    differences, missing = _differences(right, cases(ours))
    embedded = [{m: z[rows] for m, z in e.items()} for e in embedded]
    return {"a": str(a), "b": str(b), "steps": [o.step for o in runs], "split": split, "n": len(ours["index"]), "rows": len(rows),
            "layers": layers, "embeddings": _similar(*embedded) | {"interval": _intervals(*embedded)},
            "differences": differences, "left_out": left_out | missing, "flips": {k: _flips(v, ours["index"]) for k, v in right.items()},
            "subgroups": {k: _subgroups(v, ours, by) for k, v in right.items()} if by else {}}


def _features(o: Opened, split: str) -> Callable:
    """The suite's features, read under the run's mesh."""
    with jax.set_mesh(o.run.mesh):
        o.suite.source(split)
    inner = o.suite.features(o.params, o.run.config.eval.limit)

    def features(name: str, stream: str = "") -> dict:
        with jax.set_mesh(o.run.mesh):
            return inner(name, stream)

    return features


def _check_same(runs: list[Opened], features: list[Callable], split: str) -> None:
    """Raise ValueError where the two runs' rows are not the same ones, as far as numbers of rows, cases and labels tell."""
    ours, theirs = (f(split) for f in features)
    keys = [k for k in ours if k in theirs and (k in ("index", "case", "group") or k.startswith("label/"))]
    for key in keys:
        if ours[key].shape != theirs[key].shape or not np.array_equal(ours[key], theirs[key], equal_nan=ours[key].dtype.kind == "f"):
            raise ValueError(f"{runs[0].folder} and {runs[1].folder} do not read the same rows of {split}: their {key!r} differ; give both "
                             "the same data with --data")


def _layers(o: Opened, split: str, modality: str) -> dict[str, np.ndarray]:
    """{layer: f32[n, D]} of every row that holds the modality, mean over tokens; the rows' numbers under "index", cases under "case"."""
    found: dict[str, list] = {}
    with jax.set_mesh(o.run.mesh):
        for batch in o.suite._batches(split, o.suite.stream):
            encoded, rows = o.suite._encode(o.params["encoders"], View(modality), batch)
            mark = rows["present"][modality]
            here = rows["valid"] & (mark[:, 0] if mark.ndim == 2 else mark)
            layers = {k: v for k, v in encoded.out.items() if not k.startswith("attention")} | {"pooled": encoded.pooled,
                                                                                                 "embedding": encoded.embedding}
            for name, value in layers.items():
                value = np.asarray(value, np.float32)
                found.setdefault(name, []).append((value.mean(tuple(range(1, value.ndim - 1))) if value.ndim > 2 else value)[here])
            found.setdefault("index", []).append(rows["index"][here])
            found.setdefault("case", []).append(rows["case"][here] if "case" in rows else rows["index"][here])
    depth = lambda name: (name != "patches", not name.startswith(("block", "layer")), name == "embedding", name)  # noqa: E731
    return {k: np.concatenate(found[k]) for k in sorted(found, key=depth)}


def _matrices(a: dict, b: dict, limit: int) -> dict[str, Any]:
    """{"a", "b", "cka", "mutual_knn"} of the layers of two encoders, on one row a case."""
    rows = one_a_case(np.arange(len(a["index"])), a["case"], limit)
    return _similar(*({k: v[rows] for k, v in x.items() if k not in (*META, "index", "case")} for x in (a, b)))


def _similar(a: dict[str, np.ndarray], b: dict[str, np.ndarray], k: int = 10) -> dict[str, Any]:
    """CKA (debiased, linear) and mutual kNN of every pair of representations of the same rows; None where too few rows tell."""
    n = len(next(iter(a.values()), ()))
    near = {side: {name: similarity.knn(z, k) for name, z in of.items()} for side, of in (("a", a), ("b", b))} if n > 2 * k else {}
    return {"a": list(a), "b": list(b),
            "cka": [[similarity.cka_debiased_linear(x, y) for y in b.values()] for x in a.values()] if n > 3 else None,
            "mutual_knn": [[float(similarity.knn_overlap(near["a"][x], near["b"][y]).mean()) for y in b] for x in a] if near else None,
            "null": {"cka": _null(_shuffled_cka(a, b), n) if n > 3 and a and b else None,
                     "mutual_knn": _null(_shuffled_knn(near["a"], near["b"], n), n) if near and b else None}}


def _null(pairs: Callable, n: int) -> dict[str, list]:
    """{"mean", "high": 95 % quantile} of pairs(order) -> matrix f[A, B], over SHUFFLES orders of n rows."""
    rng = np.random.default_rng(0)
    found = [pairs(rng.permutation(n)) for _ in range(SHUFFLES)]
    return {"mean": np.mean(found, 0).tolist(), "high": np.quantile(found, 0.95, 0).tolist()}


def _shuffled_cka(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> Callable:
    """order i[n] -> f[A, B], debiased CKA of every a with every b whose rows are shuffled: kernels once, then their halves' products."""
    (i, j), n = np.triu_indices(len(next(iter(a.values()))), 1), len(next(iter(a.values())))
    ours = np.stack([2 * similarity.cka_kernel(x)[i, j] for x in a.values()])
    theirs = np.stack([similarity.cka_kernel(y).reshape(-1) for y in b.values()])
    return lambda order: ours @ theirs[:, order[i] * n + order[j]].T


def _shuffled_knn(a: dict[str, np.ndarray], b: dict[str, np.ndarray], n: int) -> Callable:
    """order i[n] -> f[A, B], mutual kNN of every table a i[n, k] with every b whose rows are shuffled: `knn_overlap` of `knn_permuted`,
    from marks n x n that are made once, since of 14 x 14 layers a shuffle takes 0.03 s so, and 0.5 s pair by pair."""
    theirs = np.zeros((len(b), n, n), bool)
    for mark, table in zip(theirs, b.values()):
        np.put_along_axis(mark, table, True, 1)
    theirs = theirs.reshape(len(b), -1)
    return lambda order: np.stack([theirs[:, (order[:, None] * n + order[table]).reshape(-1)].mean(1) for table in a.values()])


def _intervals(a: dict[str, np.ndarray], b: dict[str, np.ndarray], k: int = 10) -> dict[str, Any]:
    """{"cka", "mutual_knn": {"low", "high": a matrix each}} of every pair, 95 % by the delete-group jackknife; None of too few rows."""
    n, near = len(next(iter(a.values()), ())), {}

    def neighbors(z: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Every pair leaves out the same rows, so that each side is searched once."""
        key = id(z), rows.tobytes()
        if key not in near:
            near[key] = similarity.knn(z[rows], k)
        return near[key]

    def matrices(statistic: Callable, least: float) -> dict[str, list]:
        found = [[jackknife(partial(statistic, x, y), n, bounds=(least, 1.0)) for y in b.values()] for x in a.values()]
        return {end: [[getattr(one, end) for one in row] for row in found] for end in ("low", "high")}

    return {"cka": matrices(lambda x, y, i: similarity.cka_debiased_linear(x[i], y[i]), -1.0) if n >= LEAST else None,
            "mutual_knn": matrices(lambda x, y, i: float(similarity.knn_overlap(neighbors(x, i), neighbors(y, i)).mean()), 0.0)
            if n > max(2 * k, LEAST - 1) else None}


def _right(runs: list[Opened], features: list[Callable], split: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """({evaluation: f[2, n], what each run scores a row, NaN where it is not judged}, {evaluation: why there is none}).

    Of what both configs evaluate: 1 or 0 of the classes of a probe and of zero-shot (of findings: the share that is right at a logit of 0,
    or at prompts equally near), and of retrieval@1.
    """
    found, why = {}, {}
    specs = [{name: spec for name, spec, stream in o.suite.entries() if stream == o.suite.stream} for o in runs]
    n = len(features[0](split)["index"])
    for name, spec in specs[0].items():
        if specs[1].get(name) != spec or spec["name"] not in ("probe", "retrieval", "zeroshot"):
            continue
        kwargs = {k: v for k, v in spec.items() if k != "name"}
        try:
            if spec["name"] == "probe":
                found |= _of_probe(features, split, n, **kwargs)
            elif spec["name"] == "zeroshot":
                found |= _of_zeroshot(runs, features, split, n, **kwargs)
            else:
                found |= _of_retrieval(features, split, n, **kwargs)
        except ValueError as error:
            why[name] = str(error)
    return found, why


def _of_probe(features: list[Callable], split: str, n: int, label: str = "findings", modality: str = "image", feature: str = "pooled",
              **_: Any) -> dict[str, np.ndarray]:
    scored = np.full((2, n), np.nan)
    for row, f in zip(scored, features):
        t = task(f, label, modality, feature, split)
        scores, y, data = fitted(t, split)[0], t.y[split], f(split)
        target = data[f"label/{label}"]
        here = data[f"present/{modality}"] & ((target >= 0).any(-1) if target.ndim == 2 else target >= 0)
        row[here] = _share_right(scores, y)
    return {f"probe/{title(label, modality, feature)}": scored}


def _of_zeroshot(runs: list[Opened], features: list[Callable], split: str, n: int, label: str = "class", modality: str = "image",
                 prompts: str | None = None, templates: tuple = (), classes: tuple | dict = (), negative: tuple = (), **_: Any
                 ) -> dict[str, np.ndarray]:
    scored = np.full((2, n), np.nan)
    for row, o, f in zip(scored, runs, features):
        def texts(asked: list[str], o: Opened = o) -> np.ndarray:
            with jax.set_mesh(o.run.mesh):
                return o.suite.texts(o.params["encoders"], asked)

        names = getattr(o.suite.source(split), "label_names", {})
        t = zeroshot_task(f, texts if o.suite.texts else None, label, modality, prompts, templates, classes, negative, names, split)
        if t.twins:
            raise ValueError(t.twins)
        row[t.here] = _share_right(t.scores, t.y)
    return {f"zeroshot/{variant(label, modality=(modality, 'image'))}": scored}


def _share_right(scores: np.ndarray, y: np.ndarray) -> np.ndarray:
    """f[n]: 1 or 0 of classes i[n]; of findings i[n, k] the share of the known ones whose score has their sign."""
    if y.ndim == 1:
        return (scores.argmax(1) == y).astype(float)
    return np.where(y >= 0, (scores > 0) == (y > 0), np.nan).astype(float).mean(1, where=y >= 0)


def _of_retrieval(features: list[Callable], split: str, n: int, pair: tuple[str, str] = ("image", "text"), **_: Any
                  ) -> dict[str, np.ndarray]:
    out = {}
    for query, gallery in (tuple(pair), tuple(pair)[::-1]):
        scored = np.full((2, n), np.nan)
        for row, f in zip(scored, features):
            data = f(split)
            here = data[f"present/{query}"] & data[f"present/{gallery}"]
            group = data.get("group", data["index"])[here]
            row[here] = retrieval.retrieval(data[f"{query}/embedding"][here], data[f"{gallery}/embedding"][here], group, ks=(1,))[1][
                "R@1/instance"]
        out[f"retrieval/{query}_to_{gallery}/R@1"] = scored
    return out


def _differences(right: dict[str, np.ndarray], case: np.ndarray) -> tuple[dict[str, dict], dict[str, str]]:
    """Means of b - a with 95 % intervals by case, and why there is none."""
    found: dict[str, Found] = {}
    for name, (a, b) in right.items():
        here = np.isfinite(a) & np.isfinite(b)
        found |= [tried(name, partial(_mean, (b - a)[here], case[here]))]
    return as_json(found), reasons(found)


def _mean(difference: np.ndarray, case: np.ndarray) -> Interval:
    if not difference.any():
        raise ValueError("both score every row alike: there is no difference to resample")
    return mean_interval(difference, case, bounds=None)


def _flips(scored: np.ndarray, index: np.ndarray) -> dict[str, Any]:
    """Rows that only one run gets right (a half or more of it), and numbers of those that both or neither do."""
    here = np.isfinite(scored).all(0)
    a, b = (row[here] >= 0.5 for row in scored)
    rows = index[here]
    only = {"a_only": a & ~b, "b_only": b & ~a}
    return {"both": int((a & b).sum()), "neither": int((~a & ~b).sum())} | {
        k: {"n": int(mark.sum()), "rows": rows[mark][:SHOWN].tolist()} for k, mark in only.items()}


def _subgroups(scored: np.ndarray, data: dict, by: tuple[str, ...]) -> dict[str, dict[str, dict]]:
    """{label: {value: the difference b - a within it, "n" rows, and of these how many "both", "a_only", "b_only", "neither" are right
    in}}; without interval where it has fewer than FEWEST cases.

    Raises ValueError for a label that is not there or has no classes.
    """
    out: dict[str, dict] = {}
    here, case = np.isfinite(scored).all(0), cases(data)
    for label in by:
        y = data.get(f"label/{label}")
        if y is None or y.dtype.kind not in "iu":
            known = [k[6:] for k, v in data.items() if k.startswith("label/") and v.dtype.kind in "iu"]
            raise ValueError(f"--by {label}: no label of classes is called so; {nearest(label, known)}")
        columns = {label: y} if y.ndim == 1 else {f"{label}[{k}]": y[:, k] for k in range(y.shape[1])}
        for name, column in columns.items():
            for value in np.unique(column[here & (column >= 0)]):
                mark = here & (column == value)
                d = (scored[1] - scored[0])[mark]
                enough = len(np.unique(case[mark])) >= FEWEST and d.any()
                one = mean_interval(d, case[mark], bounds=None) if enough else Interval(float(d.mean()), np.nan, np.nan, len(d))
                flips = _flips(scored[:, mark], data["index"][mark])
                out.setdefault(name, {})[str(int(value))] = {"value": one.value, "low": one.low, "high": one.high, "n": int(mark.sum())} | {
                    key: count["n"] if isinstance(count, dict) else count for key, count in flips.items()}
    return out
