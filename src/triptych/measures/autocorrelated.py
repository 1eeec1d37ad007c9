"""Estimates from a series whose neighbours resemble each other, such as the seconds of consecutive epochs.

What is left of the series after a regression, e = M y, is taken for normal and first-order autoregressive, with the
correlation matrix R of entries rho^|i - j|. The sum of its squares is then distributed nearly as a multiple of
chi-squared: its mean is sigma² tr(MR), its degrees of freedom are tr(MR)² / tr(MRMR) (Box 1954, Annals of
Mathematical Statistics 25, 290-302, theorem 3.1). A dozen values hardly tell rho, so it is given, as the most that is
supposed: a weaker autocorrelation makes intervals cover more than their level. Bootstraps of blocks need longer series.
"""

import math

import numpy as np
from scipy.linalg import toeplitz
from scipy.stats import chi2
from scipy.stats import t as student

from triptych.measures.estimate import Estimate


def lag_one(values: np.ndarray) -> float:
    """The sample autocorrelation of (N,) values with their successors; of equal values 0. Short series lower it."""
    centred = values - np.mean(values)
    total = float(centred @ centred)
    return float(centred[1:] @ centred[:-1]) / total if total > 0 else 0.0


def relative_spread(values: np.ndarray, level: float, rho: float) -> Estimate:
    """Standard deviation over mean of positive values (N,), N at least 2, with its chi-squared interval.

    The value is the sample's, which autocorrelation makes smaller than the process's; the interval is the process's.
    That the mean is uncertain too is left out, as it adds little where the spread is a small share of it.

    Args:
        values: in their order.
        level: of the interval.
        rho: the most that the lag-1 autocorrelation is supposed to be, in [0, 1).
    """
    mean, constant = float(np.mean(values)), np.ones((len(values), 1))
    squares = float(np.square(values - mean).sum())
    expected, freedom = _distribution(constant, rho)
    tail = (1 - level) / 2
    low, high = (math.sqrt(squares / expected * freedom / chi2.ppf(q, freedom)) / mean for q in (1 - tail, tail))
    return Estimate(math.sqrt(squares / (len(values) - 1)) / mean, low, high)


def slope(values: np.ndarray, level: float, rho: float) -> Estimate:
    """Least-squares change of values (N,), N at least 3, from one to the next, with Student's interval.

    Args:
        values: in their order.
        level, rho: as in `relative_spread`.
    """
    steps = np.arange(len(values)) - (len(values) - 1) / 2
    line = np.column_stack([np.ones(len(values)), steps])
    scale = float(steps @ steps)
    change = float(steps @ values) / scale
    squares = float(np.square(values - np.mean(values) - change * steps).sum())
    expected, freedom = _distribution(line, rho)
    variance = squares / expected * float(steps @ _correlation(len(values), rho) @ steps) / scale**2
    half = float(student.ppf((1 + level) / 2, freedom)) * math.sqrt(variance)
    return Estimate(change, change - half, change + half)


def _correlation(count: int, rho: float) -> np.ndarray:
    """R, (count, count)."""
    return toeplitz(rho ** np.arange(count))


def _distribution(design: np.ndarray, rho: float) -> tuple[float, float]:
    """Of the squared residuals from a design (N, columns): tr(MR), their mean over sigma², and degrees of freedom."""
    residual = np.eye(len(design)) - design @ np.linalg.pinv(design)
    product = residual @ _correlation(len(design), rho)
    expected = float(np.trace(product))
    return expected, expected**2 / float(np.trace(product @ product))
