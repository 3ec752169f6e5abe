"""Geometry of embeddings: modality gap, alignment and uniformity, effective dimensions, anisotropy.

Functions take embeddings f[n, d] and return floats, computed in float64. Those that are defined on the unit sphere
normalize the rows themselves. Paired functions take x and y whose rows match.
"""

import numpy as np


def normalize(x: np.ndarray) -> np.ndarray:
    """Rows scaled to unit norm, f64[n, d]; a zero row stays zero. Raises ValueError naming the first non-finite row."""
    x = np.asarray(x, np.float64)
    if x.ndim != 2 or len(x) == 0:
        raise ValueError(f"embeddings must be a non-empty matrix [n, d]; got shape {x.shape}")
    finite = np.isfinite(x).all(1)
    if not finite.all():
        raise ValueError(f"embedding row {int(np.argmin(finite))} is not finite; drop or fix it first")
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(norms > 0, norms, 1.0)


def modality_gap(x: np.ndarray, y: np.ndarray) -> float:
    """Norm of the difference of the two modalities' mean unit embeddings, in [0, 2].

    x f[n, d], y f[m, d]; rows need not pair. Where the true gap is 0 the value is still positive, about
    sqrt((1 - |mean x|^2) / n + (1 - |mean y|^2) / m). Source: Liang et al. 2022 (NeurIPS), section 2.
    """
    return float(np.linalg.norm(normalize(x).mean(0) - normalize(y).mean(0)))


def centroid_cosine(x: np.ndarray, y: np.ndarray) -> float:
    """Cosine of the two modalities' mean unit embeddings, in [-1, 1]; 0 where a mean is zero. x f[n, d], y f[m, d]."""
    a, b = normalize(x).mean(0), normalize(y).mean(0)
    scale = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / scale) if scale > 0 else 0.0


def relative_modality_gap(x: np.ndarray, y: np.ndarray) -> float:
    """Relative modality gap (RMG): matched dissimilarity over itself plus the mean dissimilarity within modalities.

    With d = (1 - cos) / 2: mean matched d / (mean matched d + (mean d within x + mean d within y) / 2), means within a
    modality over i != j. x, y f[n, d] with paired rows, n >= 2; returns a value in [0, 1]; a matched mean of exactly 0
    (or below, by rounding) is replaced by 1e-3, as in the published code.
    Source: Schrodi et al. 2025 (ICLR), `compute_rmg` of their `gap_precompute.py`.
    """
    x, y = _paired(x, y)
    matched = (1 - np.einsum("nd,nd->n", x, y).mean()) / 2
    matched = matched if matched > 0 else 1e-3
    within = [(1 - _mean_cosine(z)) / 2 for z in (x, y)]
    return float(matched / (matched + (within[0] + within[1]) / 2))


def separability(x: np.ndarray, y: np.ndarray, folds: int = 5, strength: float = 10.0) -> np.ndarray:
    """How well a hyperplane tells the modalities apart: of each pair the share of its two unit embeddings told right, f64[n].

    By logistic regression of inverse penalty `strength`, fitted on the other folds of pairs (row i is of fold i mod `folds`); the mean of
    0, 1/2 and 1 is an accuracy, 1/2 where the modalities lie alike. x, y f[n, d] with paired rows, n >= 2 folds. One of the usual measures
    of the modality gap.
    """
    import warnings

    from sklearn.linear_model import LogisticRegression

    x, y = _paired(x, y)
    if folds < 2 or len(x) < 2 * folds:
        raise ValueError(f"separability in {folds} folds needs two or more of them and {2 * folds} pairs; got {len(x)}")
    fold, right, target = np.arange(len(x)) % folds, np.zeros(len(x)), lambda n: np.repeat([0, 1], n)
    for k in range(folds):
        train, test = fold != k, fold == k
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where they can be told apart the weights only grow, and nothing converges
            model = LogisticRegression(C=strength, max_iter=200).fit(np.concatenate([x[train], y[train]]), target(train.sum()))
        told = model.predict(np.concatenate([x[test], y[test]])) == target(test.sum())
        right[test] = told.reshape(2, -1).mean(0)
    return right


def alignment(x: np.ndarray, y: np.ndarray, alpha: float = 2.0) -> float:
    """Mean of |x_i - y_i|^alpha over matched unit embeddings, in [0, 2^alpha]; smaller is better aligned.

    x, y f[n, d] with paired rows. Source: Wang & Isola 2020 (ICML), section 4.1.1.
    """
    x, y = _paired(x, y)
    return float((np.linalg.norm(x - y, axis=1) ** alpha).mean())


def uniformity(x: np.ndarray, t: float = 2.0, chunk: int = 2048) -> float:
    """log of the mean over pairs i < j of exp(-t |x_i - x_j|^2) on unit embeddings; 0 when collapsed, lower is more
    uniform.

    x f[n, d], n >= 2; bounded below in expectation by `uniformity_of_uniform(d, t)`. Memory O(chunk * n).
    Source: Wang & Isola 2020, section 4.1.2.
    """
    x = normalize(x)
    n = len(x)
    if n < 2:
        raise ValueError("uniformity needs at least two embeddings")
    total = 0.0
    for start in range(0, n, chunk):
        block = x[start : start + chunk]
        # Unit rows: |a - b|^2 = 2 - 2 ab; only columns after the block's start, so that every pair is seen once.
        kernel = np.exp(2 * t * (np.minimum(block @ x[start:].T, 1.0) - 1))
        total += np.triu(kernel, 1).sum()
    return float(np.log(total / (n * (n - 1) / 2)))


def uniformity_of_uniform(dim: int, t: float = 2.0) -> float:
    """Uniformity of the uniform law on the unit sphere of R^dim: the floor of `uniformity`.

    -2t + log 0F1(; dim/2; t^2), the same as -2t + log[Gamma(d/2) (2/k)^(d/2-1) I_{d/2-1}(k)] with k = 2t, in the form
    that does not underflow for large dim. -1.5750, -2.0798, -3.7518, -3.9375 for dim 2, 3, 32, 128 at t = 2.
    Source: Wang & Isola 2020, appendix A.
    """
    from scipy.special import hyp0f1

    return float(-2 * t + np.log(hyp0f1(dim / 2, t * t)))


def singular_values(x: np.ndarray, center: bool = False) -> np.ndarray:
    """Singular values of embeddings f[n, d], f64[min(n, d)], descending; of the column-centered ones with `center`."""
    x = np.asarray(x, np.float64)
    return np.linalg.svd(x - x.mean(0) if center else x, compute_uv=False)


def effective_rank(x: np.ndarray, center: bool = False, epsilon: float = 1e-7) -> float:
    """Effective rank (RankMe): exp of the entropy of the normalized singular values, in [1, min(n, d)].

    x f[n, d]; NOT centered by default, as RankMe. Biased low at small n: use n >= 4 d, and compare at equal n.
    A zero matrix gives 1. Source: Garrido et al. 2023 (ICML), equation 1; Roy & Vetterli 2007 with epsilon = 0.
    """
    sigma = singular_values(x, center)
    if sigma[0] <= 0:
        return 1.0
    p = sigma / sigma.sum() + epsilon
    p = p[p > 0]
    return float(np.exp(-(p * np.log(p)).sum()))


def participation_ratio(x: np.ndarray, center: bool = True) -> float:
    """(sum lambda)^2 / sum lambda^2 of the covariance eigenvalues, in [1, min(n, d)]; x f[n, d]. Zero variance gives
    1."""
    values = np.square(singular_values(x, center))
    total = np.square(values).sum()
    return float(values.sum() ** 2 / total) if total > 0 else 1.0


def stable_rank(x: np.ndarray, center: bool = False) -> float:
    """|x|_F^2 / |x|_2^2, in [1, min(n, d)]; x f[n, d]. A zero matrix gives 1. Source: Rudelson & Vershynin 2007."""
    values = np.square(singular_values(x, center))
    return float(values.sum() / values[0]) if values[0] > 0 else 1.0


def anisotropy(x: np.ndarray) -> float:
    """Mean cosine over pairs i != j, in [-1 / (n - 1), 1]; x f[n, d], n >= 2. Source: Ethayarajh 2019; Liang 2022, Fig
    2."""
    return _mean_cosine(normalize(x))


def _mean_cosine(unit: np.ndarray) -> float:
    n = len(unit)
    if n < 2:
        raise ValueError("a mean over pairs needs at least two embeddings")
    # sum over i != j of <u_i, u_j> = |sum u|^2 - sum |u|^2: O(n d), no n x n matrix.
    return float((np.square(unit.sum(0)).sum() - np.square(unit).sum()) / (n * (n - 1)))


def _paired(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = normalize(x), normalize(y)
    if x.shape != y.shape:
        raise ValueError(f"paired embeddings must have one shape; got {x.shape} and {y.shape}")
    return x, y
