"""The same pictures, texts or ids in two sources: what a model was trained on must not be what it is tested on."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmrep.data.audit import duplicates
from mmrep.data.audit.scan import Scan

CONTENT = ("image", "volume", "signal", "features")
TRUSTED = 0.5  # share of the pairs matched by name whose pictures must match, too, for the names to count as ids of one registry


def overlap(a: Scan, b: Scan, bits: int = duplicates.BITS, examples: int = 20) -> dict[str, Any]:
    """What two scans share: {"rows": [of a, of b], "kinds": {kind: {"rows": [of a, of b], "values", "pairs": [[row, row], ...]}},
    "same": {"rows": [of a, of b], "kinds"}, "names_trusted"}; rows are numbers in the files, from 0 (of a mixture "COMPONENT:number").

    kinds: image, volume, signal, features ... (equal content), image_near (`duplicates.near`), name (file names that are equal, or one a
    part of the other with five characters and three digits or more: synpic40275 and MPX1024_synpic40275), text and text_near (equal
    but for case, punctuation and white space). "same" is what a test must not share with training: content and near-identical pictures,
    rows without either (texts alone) by text_near; and names where half or more of the rows matched by name also hold the same picture,
    which counters (0001.png) do not.
    """
    pairs_of = matches(a, b, bits)
    found, kinds = {kind: _of_pairs(pairs) for kind, pairs in pairs_of.items()}, same_kinds(a, b, pairs_of, bits)
    rows = [np.unique(np.concatenate([found[k][side] for k in kinds] or [np.zeros(0, np.int64)])) for side in (0, 1)]
    return {"rows": [len(a), len(b)],
            "kinds": {kind: {"rows": [len(in_a), len(in_b)], "values": values,
                             "pairs": [[a.named(i), b.named(j)] for i, j in pairs[:examples]]}
                      for kind, (in_a, in_b, values, pairs) in found.items()},
            "same": {"rows": [len(rows[0]), len(rows[1])], "kinds": kinds}, "names_trusted": "name" in kinds}


def shared_rows(a: Scan, b: Scan, bits: int = duplicates.BITS) -> tuple[np.ndarray, dict[str, int]]:
    """(bool[n] of b: whether the row is "same" as one of a, {kind: rows of b}); see `overlap`."""
    found = matches(a, b, bits)
    mark = np.zeros(len(b), bool)
    for kind in same_kinds(a, b, found, bits):
        mark[found[kind][1]] = True
    return mark, {kind: len(np.unique(rows)) for kind, (_, rows) in found.items()}


def matches(a: Scan, b: Scan, bits: int = duplicates.BITS) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """kind -> pairs (i64[k] of a, i64[k] of b), one pair a row of either side at least; every row that has a partner is in one."""
    out = {}
    for key in a.digest.keys() & b.digest.keys():
        if key in ("name", "tabular", "category") or key.startswith("mask/"):
            continue
        out["text_near" if key == "text~" else key] = _equal(a.digest[key], b.digest[key])
    if len(a.hash) and len(b.hash):
        parts: list = [out["image"]]
        rows_a, rows_b = (_first(one.digest["image"], np.flatnonzero(one.comparable)) for one in (a, b))  # equal ones are compared once
        for i, j in duplicates.near(a.hash[rows_a], a.thumb[rows_a], b.hash[rows_b], b.thumb[rows_b], bits):
            parts.append((rows_a[i], rows_b[j]))
        pairs = tuple(np.concatenate([part[side] for part in parts]) for side in (0, 1))
        out["image_near"] = _spread(a.digest["image"], b.digest["image"], pairs)
    if "name" in a.digest and "name" in b.digest:
        out["name"] = _names(a, b)
    return dict(sorted(out.items()))


def _equal(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of equal values, 0 left out: each row of a that has a partner with its first, each of b with its first."""
    here_a, here_b = np.flatnonzero(a), np.flatnonzero(b)
    values_a, first_a = np.unique(a[here_a], return_index=True)
    values_b, first_b = np.unique(b[here_b], return_index=True)
    both, at_a, at_b = np.intersect1d(values_a, values_b, return_indices=True)
    partner_a, partner_b = here_a[first_a[at_a]], here_b[first_b[at_b]]
    rows_a, rows_b = here_a[np.isin(a[here_a], both)], here_b[np.isin(b[here_b], both)]
    pairs = np.concatenate([np.stack([rows_a, partner_b[np.searchsorted(both, a[rows_a])]], 1),
                            np.stack([partner_a[np.searchsorted(both, b[rows_b])], rows_b], 1)])
    pairs = np.unique(pairs, axis=0)
    return pairs[:, 0], pairs[:, 1]


def _first(digest: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The first of `rows` with each distinct digest."""
    return rows[np.unique(digest[rows], return_index=True)[1]]


def _spread(a: np.ndarray, b: np.ndarray, pairs: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of distinct digests (u64[n] of a, of b) for all rows that hold these."""
    out = [pairs]
    for digest, side in ((a, 0), (b, 1)):
        partner: dict[int, int] = {}
        for own, other in zip(digest[pairs[side]].tolist(), pairs[1 - side].tolist()):
            partner.setdefault(own, other)
        rows = np.flatnonzero(np.isin(digest, np.fromiter(partner, np.uint64, len(partner))))
        others = np.array([partner[d] for d in digest[rows].tolist()], np.int64)
        out.append((rows, others) if side == 0 else (others, rows))
    both = np.unique(np.concatenate([np.stack(p, 1) for p in out]).astype(np.int64), axis=0)
    return both[:, 0], both[:, 1]


def _names(a: Scan, b: Scan) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows whose pictures' names are equal, or one a part of the other."""
    names_a, names_b = a.digest["name"], b.digest["name"]
    index: dict[int, list[int]] = defaultdict(list)
    for j in _first(names_b, np.flatnonzero(names_b)).tolist():
        for part in b.parts[j]:
            index[part].append(j)
    pairs = set()
    for i in _first(names_a, np.flatnonzero(names_a)).tolist():
        for part in a.parts[i]:
            pairs |= {(i, j) for j in index.get(part, ()) if part in (int(names_a[i]), int(names_b[j]))}
    found = np.array(sorted(pairs), np.int64).reshape(-1, 2)
    return _spread(names_a, names_b, (found[:, 0], found[:, 1]))


def _of_pairs(pairs: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray, int, list[tuple[int, int]]]:
    """(rows of a, rows of b, number of connected things that are shared, one pair of each)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    i, j = pairs
    rows_a, at_a = np.unique(i, return_inverse=True)
    rows_b, at_b = np.unique(j, return_inverse=True)
    n = len(rows_a) + len(rows_b)
    if not n:
        return rows_a, rows_b, 0, []
    count, label = connected_components(coo_array((np.ones(len(i), bool), (at_a, at_b + len(rows_a))), shape=(n, n)), directed=False)
    _, first = np.unique(label[at_a], return_index=True)
    return rows_a, rows_b, int(count), [(int(i[k]), int(j[k])) for k in first]


def same_kinds(a: Scan, b: Scan, found: Mapping[str, tuple[np.ndarray, np.ndarray]], bits: int = duplicates.BITS) -> list[str]:
    """The kinds of `matches` that mean that a row of b is a row of a."""
    kinds = [kind for kind in found if kind in (*CONTENT, "image_near") or kind.endswith("_features")]
    if not kinds and "text_near" in found:  # texts alone
        kinds = ["text_near"]
    if "name" in found and "image_near" in found:
        i, j = found["name"]
        alike = a.digest["image"][i] == b.digest["image"][j]
        near = a.comparable[i] & b.comparable[j] & (np.bitwise_count(a.hash[i] ^ b.hash[j]) <= bits)
        alike[near] |= duplicates.correlation(a.thumb[i[near]], b.thumb[j[near]]) >= duplicates.ALIKE
        if len(i) and alike.mean() >= TRUSTED:
            kinds.append("name")
    return kinds


def as_text(found: Mapping[str, Any], a: str, b: str) -> str:
    """What `overlap` found, for a terminal."""
    from mmrep.data.audit.validate import WHAT

    lines = [f"A {a}: {found['rows'][0]:,} rows; B {b}: {found['rows'][1]:,} rows"]
    for kind, v in found["kinds"].items():
        pairs = "; ".join(f"{i} and {j}" for i, j in v["pairs"][:5])
        what = {"name": "names of pictures, equal or one in the other"}.get(kind, WHAT.get(kind, f"equal {kind}"))
        lines.append(f"  {kind:12}{v['values']:,} {what}: {v['rows'][0]:,} rows of A, {v['rows'][1]:,} of B"
                     + (f", e.g. rows {pairs}" if pairs else ""))
    same = found["same"]
    kinds = ", ".join(same["kinds"]) or "nothing that both hold"
    lines.append(f"  the same, by {kinds}: {same['rows'][0]:,} rows of A, {same['rows'][1]:,} of B")
    if "name" in found["kinds"] and not found["names_trusted"] and found["kinds"]["name"]["values"]:
        lines.append("  names alone are not taken for ids: fewer than half of the rows that they match hold the same picture")
    return "\n".join(lines)
