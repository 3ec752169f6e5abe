"""Survival: whether higher predicted risks die earlier."""

import numpy as np


def concordance(time: np.ndarray, event: np.ndarray, risk: np.ndarray, chunk: int = 1024) -> float:
    """Harrell's C, in [0, 1]: of the pairs in which one is known to die before the other's time, the share in which it has the higher risk.

    time f[n], event bool or 0/1 [n] (0: censored then), risk f[n] (higher: earlier). Equal risks count half; of a death and a censoring at
    the same time the death is the earlier; two deaths at the same time are no pair. Raises ValueError for unequal lengths, values that are
    not finite, events other than 0 and 1, and where there is no such pair. Source: Harrell et al. 1982, "Evaluating the Yield of Medical
    Tests".
    """
    time, risk = np.asarray(time, np.float64), np.asarray(risk, np.float64)
    died = np.asarray(event) == 1
    if not (time.shape == risk.shape == died.shape and time.ndim == 1):
        raise ValueError(f"concordance: time, event, risk are {time.shape}, {died.shape}, {risk.shape}; give one each of every subject")
    if not (np.isfinite(time).all() and np.isfinite(risk).all()):
        raise ValueError("concordance: time or risk holds NaN or infinity")
    if not np.isin(event, (0, 1)).all():
        raise ValueError("concordance: an event is neither 0 nor 1; leave out subjects of whom it is not known")
    concordant = pairs = 0.0
    deaths = np.flatnonzero(died)
    for at in range(0, len(deaths), chunk):  # memory: chunk x n
        rows = deaths[at:at + chunk]
        later = (time[rows, None] < time[None]) | (time[rows, None] == time[None]) & ~died[None]
        concordant += (later & (risk[rows, None] > risk[None])).sum() + 0.5 * (later & (risk[rows, None] == risk[None])).sum()
        pairs += later.sum()
    if not pairs:
        raise ValueError("concordance: no subject is known to die before another's time")
    return float(concordant / pairs)
