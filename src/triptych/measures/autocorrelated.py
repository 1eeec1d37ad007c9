"""Coefficient of variation and slope of autocorrelated series, such as the durations of consecutive epochs.

The errors of a regression are assumed to be normal and first-order autoregressive. Let sigma² be the variance of the
errors, R the matrix of their correlations rho^|i - j|, and M the matrix that maps values to residuals. The sum of
squared residuals is approximately a scaled chi-squared variable. It has the mean sigma² tr(MR) and tr(MR)² / tr(MRMR)
degrees of freedom (Box 1954, Annals of Mathematical Statistics 25, 290-302, theorem 3.1).

An estimate of rho from a dozen values is unreliable. Therefore the caller passes the largest plausible rho. If the true
rho is smaller, the intervals are too wide.
"""

import math

import numpy as np
from scipy.linalg import toeplitz
from scipy.stats import chi2
from scipy.stats import t as student

from triptych.measures.estimate import Estimate


def lag_one(values: np.ndarray) -> float:
    """Return the lag-1 sample autocorrelation of a series, or 0 if all values are equal."""
    centred = values - np.mean(values)
    total = float(centred @ centred)
    return float(centred[1:] @ centred[:-1]) / total if total > 0 else 0.0


def relative_spread(values: np.ndarray, level: float, rho: float) -> Estimate:
    """Return the coefficient of variation of positive values, with a chi-squared confidence interval.

    `values` has at least two entries. `level` is the confidence level. `rho` in [0, 1) is the largest plausible lag-1
    autocorrelation. The interval accounts for autocorrelation, but ignores the uncertainty of the mean.
    """
    mean, constant = float(np.mean(values)), np.ones((len(values), 1))
    squares = float(np.square(values - mean).sum())
    expected, freedom = _distribution(constant, rho)
    tail = (1 - level) / 2
    low, high = (math.sqrt(squares / expected * freedom / chi2.ppf(q, freedom)) / mean for q in (1 - tail, tail))
    return Estimate(math.sqrt(squares / (len(values) - 1)) / mean, low, high)


def slope(values: np.ndarray, level: float, rho: float) -> Estimate:
    """Return the slope of the least-squares line through a series, per step of the series, with a t interval.

    `level` is the confidence level. `rho` in [0, 1) is the largest plausible lag-1 autocorrelation of the errors.
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
    return toeplitz(rho ** np.arange(count))


def _distribution(design: np.ndarray, rho: float) -> tuple[float, float]:
    # Mean (for sigma = 1) and degrees of freedom of the sum of squared residuals.
    residual = np.eye(len(design)) - design @ np.linalg.pinv(design)
    product = residual @ _correlation(len(design), rho)
    expected = float(np.trace(product))
    return expected, expected**2 / float(np.trace(product @ product))
