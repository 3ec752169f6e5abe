"""How much of known latents a representation tells: R^2 of a linear and of a kernel ridge regression."""

import numpy as np

ALPHAS, GAMMAS = (1.0, 0.1, 0.01, 0.001), (0.01, 0.1, 1.0, 10.0)


def r2(y: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray | float:
    """1 - residual / total sum of squares, the mean over columns (scikit-learn's `r2_score`, uniform average).

    y, predicted f[n, d]; weights f[B, n] (multiplicities of resampled rows) give f[B]. A column without variance counts 0, or 1 where it is
    predicted exactly.
    """
    y, predicted = np.asarray(y, np.float64), np.asarray(predicted, np.float64)
    w = np.ones((1, len(y))) if weights is None else np.asarray(weights, np.float64)
    share = w / w.sum(1, keepdims=True)
    mean = share @ y
    total = share @ np.square(y) - np.square(mean)
    left = share @ np.square(y - predicted)
    flat = total <= 1e-12 * (1 + np.square(mean))
    value = np.where(flat, np.where(left <= 1e-24, 1.0, 0.0), 1 - left / np.where(flat, 1.0, total)).mean(1)
    return value if weights is not None else float(value[0])


def linear(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Ordinary least squares of y f[n, k] on x f[n, d] with an intercept; its predictions of z f[m, d]."""
    from sklearn.linear_model import LinearRegression

    return LinearRegression().fit(x, y).predict(z)


def kernel_ridge(x: np.ndarray, y: np.ndarray, val: tuple[np.ndarray, np.ndarray], z: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    """Kernel ridge regression with an RBF kernel, strength and width chosen on validation; (predictions of z, what was chosen).

    alpha in 1, 0.1, 0.01, 0.001, gamma in 0.01, 0.1, 1, 10. Von Kuegelgen et al. 2021 and Daunhawer et al. 2023 have the same
    alphas, gamma in 0.01, 0.22, 4.6, 100, and choose by cross-validation within the training rows.
    """
    from sklearn.kernel_ridge import KernelRidge

    best, chosen = None, (-np.inf, ALPHAS[0], GAMMAS[0])
    for gamma in GAMMAS:
        for alpha in ALPHAS:
            model = KernelRidge(kernel="rbf", alpha=alpha, gamma=gamma).fit(x, y)
            score = r2(val[1], model.predict(val[0]))
            if score > chosen[0]:
                best, chosen = model, (score, alpha, gamma)
    return best.predict(z), {"alpha": chosen[1], "gamma": chosen[2]}
