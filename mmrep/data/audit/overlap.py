"""The same pictures, texts or ids in two sources: what a model was trained on must not be what it is tested on."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmrep.data.audit import duplicates
from mmrep.data.audit.scan import Scan

CONTENT = ("image", "volume", "signal", "features")
Pairs = tuple[np.ndarray, np.ndarray]  # i64[k] places in a, i64[k] in b
TRUSTED = 0.5  # share of the pairs matched by name whose pictures must match, too, for the names to count as ids of one registry


def overlap(a: Scan, b: Scan, bits: int = duplicates.BITS, examples: int = 20, cases: str = "auto") -> dict[str, Any]:
    """What two scans share: {"rows": [of a, of b], "kinds": {kind: {"rows": [of a, of b], "values", "pairs": [[row, row], ...]}},
    "same": {"rows": [of a, of b], "kinds"}, "names_trusted", "cases_trusted", "not_compared": {kind: why}}; rows are numbers in the
    files, from 0 (of a mixture "COMPONENT:number").

    kinds: image, volume, signal, features ... (equal content, of any of a row's samples), image_near (`duplicates.near`), case (equal ids
    of patients or cases), name (file names that are equal, or one a part of the other with five characters and three digits or
    more: synpic40275 and MPX1024_synpic40275), text and text_near (equal but for case, punctuation and white space). "same" is what a
    test must not share with training: content and near-identical pictures, rows without either (texts alone) by text_near; names where
    half or more of the rows matched by name also hold the same picture, which counters (0001.png) do not; and cases, unless one of
    them numbers its own in order (`hashes.counted`), or always ("yes"), or never ("no"), as `cases` says.
    """
    if cases not in ("auto", "yes", "no"):
        raise ValueError(f"--cases {cases}: is not auto, yes or no")
    pairs_of = matches(a, b, bits)
    found, kinds = {kind: _of_pairs(pairs) for kind, pairs in pairs_of.items()}, same_kinds(a, b, pairs_of, bits, cases)
    rows = [np.unique(np.concatenate([found[k][side] for k in kinds] or [np.zeros(0, np.int64)])) for side in (0, 1)]
    why = {kind: " and ".join(f"{side} {'keeps no ids, only numbers for them' if kind in one.ids else 'has none'}"
                              for side, one in (("A", a), ("B", b)) if kind not in one.digest) for kind in ("case", "text", *CONTENT)}
    return {"rows": [len(a), len(b)],
            "kinds": {kind: {"rows": [len(in_a), len(in_b)], "values": values,
                             "pairs": [[a.named(i), b.named(j)] for i, j in pairs[:examples]]}
                      for kind, (in_a, in_b, values, pairs) in found.items()},
            "same": {"rows": [len(rows[0]), len(rows[1])], "kinds": kinds},
            "names_trusted": "name" in kinds, "cases_trusted": "case" in kinds,
            "not_compared": {kind: told for kind, told in why.items() if told and
                             (kind == "case" or kind in a.digest or kind in b.digest)}}


def shared_rows(a: Scan, b: Scan, bits: int = duplicates.BITS, cases: str = "auto") -> tuple[np.ndarray, dict[str, int]]:
    """(bool[n] of b: whether the row is "same" as one of a, {kind: rows of b}); see `overlap`."""
    found = matches(a, b, bits)
    mark = np.zeros(len(b), bool)
    for kind in same_kinds(a, b, found, bits, cases):
        mark[found[kind][1]] = True
    return mark, {kind: len(np.unique(rows)) for kind, (_, rows) in found.items()}


def matches(a: Scan, b: Scan, bits: int = duplicates.BITS) -> dict[str, Pairs]:
    """kind -> pairs (i64[k] of a, i64[k] of b), one pair a row of either side at least; every row that has a partner is in one."""
    out = {}
    for key in a.digest.keys() & b.digest.keys():
        if key not in ("file", "name", "id", "tabular", "category") and not key.startswith("mask/"):
            one, other = a.digest[key], b.digest[key]
            out["text_near" if key == "text~" else key] = _rows(one.rows, other.rows, _equal(one.values, other.values))
    one, other = a.pictures, b.pictures
    if len(one.rows) and len(other.rows):
        places = [_first(of.digest, np.flatnonzero(of.comparable)) for of in (one, other)]  # equal ones are compared once
        near = duplicates.near(one.hash[places[0]], one.thumb[places[0]], other.hash[places[1]], other.thumb[places[1]], bits)
        parts = [_equal(one.digest, other.digest), *((places[0][i], places[1][j]) for i, j in near)]
        pairs = tuple(np.concatenate([part[side] for part in parts]) for side in (0, 1))
        out["image_near"] = _rows(one.rows, other.rows, _spread(one.digest, other.digest, pairs))
    if "name" in a.digest and "name" in b.digest:
        out["name"] = _rows(a.digest["name"].rows, b.digest["name"].rows, _names(a, b))
    return dict(sorted(out.items()))


def _rows(a: np.ndarray, b: np.ndarray, pairs: Pairs) -> Pairs:
    """Pairs of what rows are known by, as pairs of these rows."""
    both = np.unique(np.stack([a[pairs[0]], b[pairs[1]]], 1).astype(np.int64).reshape(-1, 2), axis=0)
    return both[:, 0], both[:, 1]


def _equal(a: np.ndarray, b: np.ndarray) -> Pairs:
    """Pairs of places of equal values: each of a that has a partner with its first, each of b with its first."""
    values_a, first_a = np.unique(a, return_index=True)
    values_b, first_b = np.unique(b, return_index=True)
    both, at_a, at_b = np.intersect1d(values_a, values_b, return_indices=True)
    partner_a, partner_b = first_a[at_a], first_b[at_b]
    in_a, in_b = np.flatnonzero(np.isin(a, both)), np.flatnonzero(np.isin(b, both))
    return (np.concatenate([in_a, partner_a[np.searchsorted(both, b[in_b])]]),
            np.concatenate([partner_b[np.searchsorted(both, a[in_a])], in_b]))


def _first(digest: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The first of `places` with each distinct digest."""
    return places[np.unique(digest[places], return_index=True)[1]]


def _spread(a: np.ndarray, b: np.ndarray, pairs: Pairs) -> Pairs:
    """The pairs of distinct digests (u64[n] of a, of b) for all places that hold these."""
    out = [pairs]
    for digest, side in ((a, 0), (b, 1)):
        partner: dict[int, int] = {}
        for own, other in zip(digest[pairs[side]].tolist(), pairs[1 - side].tolist()):
            partner.setdefault(own, other)
        places = np.flatnonzero(np.isin(digest, np.fromiter(partner, np.uint64, len(partner))))
        others = np.array([partner[d] for d in digest[places].tolist()], np.int64)
        out.append((places, others) if side == 0 else (others, places))
    both = np.unique(np.concatenate([np.stack(p, 1) for p in out]).astype(np.int64), axis=0)
    return both[:, 0], both[:, 1]


def _names(a: Scan, b: Scan) -> Pairs:
    """Pairs of places of pictures' names that are equal, or one a part of the other."""
    names_a, names_b = a.digest["name"].values, b.digest["name"].values
    index: dict[int, list[int]] = defaultdict(list)
    for j in _first(names_b, np.arange(len(names_b))).tolist():
        for part in b.parts[j]:
            index[part].append(j)
    pairs = set()
    for i in _first(names_a, np.arange(len(names_a))).tolist():
        for part in a.parts[i]:
            pairs |= {(i, j) for j in index.get(part, ()) if part in (int(names_a[i]), int(names_b[j]))}
    found = np.array(sorted(pairs), np.int64).reshape(-1, 2)
    return _spread(names_a, names_b, (found[:, 0], found[:, 1]))


def _of_pairs(pairs: Pairs) -> tuple[np.ndarray, np.ndarray, int, list[tuple[int, int]]]:
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


def same_kinds(a: Scan, b: Scan, found: Mapping[str, Pairs], bits: int = duplicates.BITS, cases: str = "auto") -> list[str]:
    """The kinds of `matches` that mean that a row of b is a row of a."""
    kinds = [kind for kind in found if kind in (*CONTENT, "image_near") or kind.endswith("_features")]
    if not kinds and "text_near" in found:  # texts alone
        kinds = ["text_near"]
    if "name" in found and "image_near" in found and len(found["name"][0]) and _alike(a, b, found["name"], bits).mean() >= TRUSTED:
        kinds.append("name")
    if "case" in found and (cases == "yes" or cases == "auto" and not (a.counted or b.counted)):
        kinds.append("case")
    return kinds


def _alike(a: Scan, b: Scan, pairs: Pairs, bits: int) -> np.ndarray:
    """bool[k]: whether the two rows of each pair hold the same picture, or near-identical ones, among theirs."""
    bounds = [[np.searchsorted(one.pictures.rows, rows, side) for side in ("left", "right")] for one, rows in zip((a, b), pairs)]
    (low_a, high_a), (low_b, high_b) = bounds
    counts = (high_a - low_a) * (high_b - low_b)
    pair = np.repeat(np.arange(len(counts)), counts)
    inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    i, j = low_a[pair] + inside // (high_b - low_b)[pair], low_b[pair] + inside % (high_b - low_b)[pair]
    one, other = a.pictures, b.pictures
    same = one.digest[i] == other.digest[j]
    near = np.flatnonzero(one.comparable[i] & other.comparable[j] & (np.bitwise_count(one.hash[i] ^ other.hash[j]) <= bits))
    same[near] |= duplicates.correlation(one.thumb[i[near]], other.thumb[j[near]]) >= duplicates.ALIKE
    return np.bincount(pair[same], minlength=len(counts)) > 0


def as_text(found: Mapping[str, Any], a: str, b: str) -> str:
    """What `overlap` found, for a terminal."""
    from mmrep.data.audit.validate import WHAT

    lines = [f"A {a}: {found['rows'][0]:,} rows; B {b}: {found['rows'][1]:,} rows"]
    width = max(map(len, found["kinds"]), default=0) + 2
    for kind, v in found["kinds"].items():
        pairs = "; ".join(f"{i} and {j}" for i, j in v["pairs"][:5])
        what = {"name": "names of pictures, equal or one in the other"}.get(kind, WHAT.get(kind, f"equal {kind}"))
        lines.append(f"  {kind:{width}}{v['values']:,} {what}: {v['rows'][0]:,} rows of A, {v['rows'][1]:,} of B"
                     + (f", e.g. rows {pairs}" if pairs else ""))
    same = found["same"]
    kinds = ", ".join(same["kinds"]) or "nothing that both hold"
    lines.append(f"  the same, by {kinds}: {same['rows'][0]:,} rows of A, {same['rows'][1]:,} of B")
    if "name" in found["kinds"] and not found["names_trusted"] and found["kinds"]["name"]["values"]:
        lines.append("  names alone are not taken for ids: fewer than half of the rows that they match hold the same picture")
    if found["kinds"].get("case", {}).get("values") and not found["cases_trusted"]:
        lines.append("  equal ids of cases are not taken for the same patients: a side numbers its own in order; --cases yes takes them so")
    lines += [f"  {kind}: not compared, {why}" for kind, why in found["not_compared"].items()]
    return "\n".join(lines)
