"""Similarity of two representations of the same n examples: CKA (biased, debiased, RBF) and mutual k-nearest neighbors.

Every function takes x f[n, p] and y f[n, q] whose rows are paired, computes in float64 and returns a float. p and q are
free. A side without variance (a collapsed encoder) is similar to nothing: its CKA is 0/0 and is reported as 0.
"""

import numpy as np

# A kernel whose centered norm is below this share of the squared norm of the raw rows is rounding noise, not structure.
_NO_VARIANCE = 1e-14


def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Linear CKA, biased: |Y'X|_F^2 / (|X'X|_F |Y'Y|_F) on column-centered features.

    x f[n, p], y f[n, q]; returns a value in [0, 1], 0 where a side has no variance. Takes the feature form (p x q) or
    the Gram form (n x n), whichever is cheaper; they agree. It tends to 1 for ANY two representations when p, q >> n:
    use `cka_debiased_linear` for claims. Raises ValueError where the rows do not pair.
    Source: Kornblith et al. 2019 (ICML), equation 3.
    """
    x, y = _pair(x, y, least=2)
    x, y = _center(x), _center(y)
    if x is None or y is None:
        return 0.0
    if x.shape[1] * y.shape[1] + x.shape[1] ** 2 + y.shape[1] ** 2 <= 3 * x.shape[0] ** 2:
        cross, xx, yy = (np.square(a.T @ b).sum() for a, b in ((x, y), (x, x), (y, y)))
    else:
        kx, ky = x @ x.T, y @ y.T
        cross, xx, yy = (kx * ky).sum(), (kx * kx).sum(), (ky * ky).sum()
    return float(np.clip(cross / np.sqrt(xx * yy), 0.0, 1.0))


def cka_debiased_linear(x: np.ndarray, y: np.ndarray) -> float:
    """Debiased linear CKA: unbiased HSIC of the two linear kernels, normalized by its self terms.

    x f[n, p], y f[n, q], n >= 4; returns a value in [-1, 1] whose expectation is about 0 for independent
    representations at any n, p, q; 0 where a side has no variance. Costs O(n p q) or O(n^2 (p + q)), whichever is less.
    Raises ValueError where the rows do not pair or n < 4.
    Source: Song et al. 2012 (JMLR), equation 5; Nguyen et al. 2021 (ICLR).
    """
    x, y = _pair(x, y, least=4)
    # Unbiased HSIC ignores terms constant along rows or columns off the diagonal: centering changes only rounding.
    x, y = _center(x), _center(y)
    if x is None or y is None:
        return 0.0
    n, p, q = x.shape[0], x.shape[1], y.shape[1]
    if p * q + p * p + q * q <= 3 * n * n:
        return _ratio(_hsic_features(x, y), _hsic_features(x, x), _hsic_features(y, y))
    kx, ky = x @ x.T, y @ y.T
    return _ratio(hsic_unbiased(kx, ky), hsic_unbiased(kx, kx), hsic_unbiased(ky, ky))


def cka_kernel(x: np.ndarray) -> np.ndarray:
    """A representation x f[n, p], n >= 4, as a kernel f32[n, n] of unit norm: the product of two is their `cka_debiased_linear`,
    and shuffling rows shuffles it. Zeros where nothing varies. Raises ValueError for fewer than 4 rows.

    Source: Szekely & Rizzo 2014 (Annals of Statistics), U-centering: its inner product over n (n - 3) is Song's unbiased HSIC.
    """
    x, _ = _pair(x, x, least=4)
    n, x = len(x), _center(x)
    if x is None:  # a collapsed encoder is like nothing
        return np.zeros((n, n), np.float32)
    kernel = x @ x.T
    np.fill_diagonal(kernel, 0)
    rows = kernel.sum(0) / (n - 2)
    kernel += rows.sum() / (n - 1) - rows[:, None] - rows
    np.fill_diagonal(kernel, 0)
    return (kernel / np.linalg.norm(kernel)).astype(np.float32)


def cka_from_grams(kx: np.ndarray, ky: np.ndarray, debiased: bool = True) -> float:
    """CKA of two kernel matrices kx, ky f[n, n] (symmetric); debiased (Song 2012) or biased (Kornblith 2019).

    For permutation nulls and jackknives, where the kernels are computed once and indexed. Raises ValueError where the
    shapes differ, or n < 4 and debiased.
    """
    kx, ky = np.asarray(kx, np.float64), np.asarray(ky, np.float64)
    least = 4 if debiased else 2
    if kx.ndim != 2 or kx.shape != ky.shape or kx.shape[0] != kx.shape[1] or kx.shape[0] < least:
        raise ValueError(f"kernels must be square, equal in shape and of n >= {least}; got {kx.shape} and {ky.shape}")
    if not debiased:
        kx, ky = _center_gram(kx), _center_gram(ky)
        return _ratio((kx * ky).sum(), (kx * kx).sum(), (ky * ky).sum())
    return _ratio(hsic_unbiased(kx, ky), hsic_unbiased(kx, kx), hsic_unbiased(ky, ky))


def rbf_cka(x: np.ndarray, y: np.ndarray, fraction: float = 0.4, debiased: bool = False) -> float:
    """CKA with Gaussian kernels exp(-|xi - xj|^2 / (2 sigma^2)), sigma = fraction * median Euclidean distance.

    x f[n, p], y f[n, q]; the median is over the pairs i < j (the diagonal is left out). Tends to linear CKA for a large
    fraction. Returns 0 where a side has no variance. Memory O(n^2). Raises ValueError for rows that do not pair.
    Source: Kornblith et al. 2019, Table 2 (fractions 0.2, 0.4, 0.8).
    """
    x, y = _pair(x, y, least=4)
    if fraction <= 0:
        raise ValueError(f"fraction must be positive; got {fraction}")
    kernels = []
    for z in (x, y):
        z = _center(z)
        if z is None:
            return 0.0
        squares = _squared_distances(z)
        median = np.median(squares[np.triu_indices(len(z), 1)])
        # More than half of the pairs coincide: fall back to the mean so that sigma stays positive.
        scale = median if median > 0 else squares.sum() / (len(z) * (len(z) - 1))
        kernels.append(np.exp(-squares / (2 * fraction**2 * scale)))
    return cka_from_grams(kernels[0], kernels[1], debiased=debiased)


def hsic_unbiased(kx: np.ndarray, ky: np.ndarray) -> float:
    """Unbiased HSIC of two symmetric kernels f[n, n], n >= 4, in O(n^2). Source: Song et al. 2012, equation 5."""
    dx, dy = np.diagonal(kx), np.diagonal(ky)
    return _song(len(kx), np.vdot(kx, ky) - dx @ dy, kx.sum(1) - dx, ky.sum(1) - dy)


def knn(x: np.ndarray, k: int = 10, chunk: int = 1024) -> np.ndarray:
    """Indices of the k nearest neighbors of each row by cosine, the row itself left out.

    x f[n, d]; returns i64[n, k], ascending by INDEX within a row (a set, not a ranking). Ties are broken by the lower
    index, after rounding cosines to 1e-9 so that exact duplicates tie whatever the order of summation: deterministic,
    but two collapsed (constant) encoders agree perfectly under it, so read the number beside a collapse metric.
    Memory O(chunk * n). Raises ValueError unless 1 <= k < n.
    """
    from mmrep.metrics.geometry import normalize

    x = normalize(x)
    n = len(x)
    if not 1 <= k < n:
        raise ValueError(f"k must be between 1 and n - 1 = {n - 1}; got {k}")
    out = np.empty((n, k), np.int64)
    for start in range(0, n, chunk):
        similarity = np.round(x[start : start + chunk] @ x.T, 9)
        rows = np.arange(len(similarity))
        similarity[rows, start + rows] = -np.inf
        threshold = np.partition(similarity, n - k, axis=1)[:, n - k, None]
        chosen = similarity >= threshold
        for row in np.flatnonzero(chosen.sum(1) > k):  # more candidates than places: a tie at the threshold
            tied = np.flatnonzero(similarity[row] == threshold[row])
            chosen[row, tied[k - int((similarity[row] > threshold[row]).sum()) :]] = False
        out[start : start + chunk] = np.nonzero(chosen)[1].reshape(-1, k)
    return out


def knn_overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Share of common neighbors per row, f64[n] in [0, 1], of two neighbor tables i[n, k] from `knn`."""
    if a.shape != b.shape:
        raise ValueError(f"neighbor tables must have one shape; got {a.shape} and {b.shape}")
    offset = np.arange(len(a), dtype=np.int64)[:, None] * (int(max(a.max(), b.max())) + 1)
    common = np.isin(a + offset, b + offset)
    return common.mean(1)


def knn_permuted(table: np.ndarray, permutation: np.ndarray) -> np.ndarray:
    """Neighbor table of x[permutation] from that of x, i[n, k] (unsorted sets): nulls without new searches."""
    inverse = np.empty(len(permutation), np.int64)
    inverse[permutation] = np.arange(len(permutation))
    return inverse[table[permutation]]


def mutual_knn(x: np.ndarray, y: np.ndarray, k: int = 10, chunk: int = 1024) -> float:
    """Mutual k-nearest-neighbor alignment: mean over rows of |N_k^x(i) and N_k^y(i)| / k.

    x f[n, p], y f[n, q]; returns a value in [0, 1]; 1 for equal neighborhoods, k / (n - 1) in expectation for
    independent ones. The value depends on n and k: compare only at the same both. Ties as in `knn`.
    Source: Huh et al. 2024 (ICML), k = 10, n = 1024.
    """
    x, y = _pair(x, y, least=2)
    return float(knn_overlap(knn(x, k, chunk), knn(y, k, chunk)).mean())


def _pair(x: np.ndarray, y: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or len(x) < least:
        raise ValueError(f"x and y must be matrices with the same number of rows (>= {least}); "
                         f"got {x.shape} and {y.shape}")
    for name, z in (("x", x), ("y", y)):
        if not np.isfinite(z).all():
            raise ValueError(f"{name} row {int(np.argmin(np.isfinite(z).all(1)))} is not finite; drop or fix it first")
    return x, y


def _center(x: np.ndarray) -> np.ndarray | None:
    """Column-centered features scaled to unit Frobenius norm (CKA ignores scale), or None where nothing varies."""
    centered = x - x.mean(0)
    square = np.square(centered).sum()
    if square <= _NO_VARIANCE * np.square(x).sum():
        return None
    return centered / np.sqrt(square)


def _center_gram(k: np.ndarray) -> np.ndarray:
    rows = k.mean(0)
    return k - rows[None] - rows[:, None] + rows.mean()


def _hsic_features(x: np.ndarray, y: np.ndarray) -> float:
    """`hsic_unbiased(x x', y y')` without the n x n kernels."""
    dx, dy = np.square(x).sum(1), np.square(y).sum(1)
    return _song(len(x), np.square(x.T @ y).sum() - dx @ dy, x @ x.sum(0) - dx, y @ y.sum(0) - dy)


def _song(n: int, trace: float, rows_x: np.ndarray, rows_y: np.ndarray) -> float:
    """Song 2012, equation 5, from the trace and the row sums of the two kernels with their diagonals zeroed."""
    cross = trace + rows_x.sum() * rows_y.sum() / ((n - 1) * (n - 2)) - 2 * (rows_x @ rows_y) / (n - 2)
    return float(cross / (n * (n - 3)))


def _ratio(cross: float, xx: float, yy: float) -> float:
    return float(np.clip(cross / np.sqrt(xx * yy), -1.0, 1.0)) if xx > 0 and yy > 0 else 0.0


def _squared_distances(x: np.ndarray) -> np.ndarray:
    norms = np.square(x).sum(1)
    squares = np.maximum(norms[:, None] + norms[None] - 2 * (x @ x.T), 0.0)
    np.fill_diagonal(squares, 0.0)
    return squares
