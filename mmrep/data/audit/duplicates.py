"""Rows that hold the same: equal digests, and pictures that differ by scaling, compression or brightness only.

Pictures are near-duplicates where their 64-bit perceptual hashes differ in at most BITS bits AND their 32 x 32 thumbnails
correlate by at least ALIKE, smoothed. The hash finds candidates without comparing all pairs; the correlation tells apart what the hash does
not: two round fundus pictures, most slices of one scan (close neighbors count as near-identical).
"""

from collections.abc import Iterator

import numpy as np

BITS, ALIKE = 6, 0.998  # set on real sets: what rescaling and JPEG hide, against pairs of strangers (experiments/real_sets)
_AT_ONCE = 1 << 20  # candidate pairs held at a time


def groups(rows: np.ndarray, values: np.ndarray) -> tuple[int, int]:
    """(values that several rows share, rows that share one); values: u64[m] or i64[m] of the rows i64[m], several a row or none."""
    order = np.lexsort((rows, values))
    rows, values = rows[order], values[order]
    new = np.ones(len(rows), bool)
    new[1:] = (rows[1:] != rows[:-1]) | (values[1:] != values[:-1])  # what a row holds twice is one
    rows, values = rows[new], values[new]
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return int((counts > 1).sum()), len(np.unique(rows[counts[which] > 1]))


def candidates(a: np.ndarray, b: np.ndarray, bits: int = BITS) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places (i64[k], i64[k]) of hashes u64 in a and in b that differ in at most `bits` bits, in pieces; a pair may come more than once.

    Multi-index hashing (Norouzi, Punjani & Fleet 2012): of the four 16-bit parts of hashes that differ in at most 7 bits, one differs in at
    most 1, so looking up that part and its 16 neighbors finds every pair; memory is bounded whatever the number of rows.
    Raises ValueError for bits outside 0..7.
    """
    if not 0 <= bits <= 7:
        raise ValueError(f"near-duplicates: {bits} bits is not in 0..7; beyond 7 of 64 most pictures of one kind look alike")
    if not len(a) or not len(b):
        return
    flips = np.array([0] if bits < 4 else [0, *(1 << k for k in range(16))], np.uint16)
    for part in range(4):
        of_a, of_b = (((h >> np.uint64(16 * part)) & np.uint64(0xFFFF)).astype(np.uint16) for h in (a, b))
        order = np.argsort(of_b, kind="stable")
        keys = of_b[order]
        wanted = (of_a[:, None] ^ flips).ravel()
        left, right = np.searchsorted(keys, wanted, "left"), np.searchsorted(keys, wanted, "right")
        sizes = right - left
        ends = np.cumsum(sizes)
        at = 0
        while at < len(wanted):
            done = int(ends[at - 1]) if at else 0
            to = max(int(np.searchsorted(ends, done + _AT_ONCE, "right")), at + 1)
            n = sizes[at:to]
            i = np.repeat(np.arange(at, to) // len(flips), n)
            inside = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
            j = order[np.repeat(left[at:to], n) + inside]
            close = np.bitwise_count(a[i] ^ b[j]) <= bits
            if close.any():
                yield i[close], j[close]
            at = to


def near(hash_a: np.ndarray, thumb_a: np.ndarray, hash_b: np.ndarray, thumb_b: np.ndarray, bits: int = BITS, alike: float = ALIKE,
         within: bool = False) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places of near-duplicates in a and b, in pieces; hashes u64[n], thumbnails u8[n, 32, 32]. within: a is b, pairs i < j only."""
    for i, j in candidates(hash_a, hash_b, bits):
        if within:
            i, j = i[i < j], j[i < j]
        for at in range(0, len(i), 1 << 14):
            ii, jj = i[at:at + (1 << 14)], j[at:at + (1 << 14)]
            kept = correlation(thumb_a[ii], thumb_b[jj]) >= alike
            if kept.any():
                yield ii[kept], jj[kept]


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's correlation of the thumbnails of each pair, u8[n, h, w], smoothed by a pixel, for rescaling and compression change fine
    detail; f32[n], 0 where one is constant."""
    from scipy.ndimage import gaussian_filter

    a, b = (gaussian_filter(x.astype(np.float32), (0, 1, 1)).reshape(len(x), np.prod(x.shape[1:], dtype=int)) for x in (a, b))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    norms = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return np.where(norms > 0, (a * b).sum(1) / np.maximum(norms, 1e-12), 0.0)


def clusters(digests: np.ndarray, hashes: np.ndarray, thumbs: np.ndarray, comparable: np.ndarray, bits: int = BITS,
             alike: float = ALIKE) -> np.ndarray:
    """Cluster number of every row, i64[n]: rows of equal digest, or joined by a chain of near-duplicates, share one.

    comparable: bool[n], whether a row's hash means something (a picture that is not even).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    _, first, label = np.unique(digests, return_index=True, return_inverse=True)
    usable = np.flatnonzero(comparable[first])
    rows = first[usable]
    group = np.arange(len(first))
    for i, j in near(hashes[rows], thumbs[rows], hashes[rows], thumbs[rows], bits, alike, within=True):
        i, j = group[usable[i]], group[usable[j]]
        _, merged = connected_components(coo_array((np.ones(len(i), bool), (i, j)), shape=(len(first), len(first))), directed=False)
        group = merged[group]
    return group[label].astype(np.int64)
