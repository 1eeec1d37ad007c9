"""Intervals, mostly by bootstrap (Efron 1979): every number that a claim leans on carries one."""

from collections.abc import Callable

import numpy as np
from scipy.stats import binomtest

from triptych.randomness import fold


def generator(seed: int, purpose: str) -> np.random.Generator:
    """The stream of resamples for one statistic: a function of the seed and the statistic's name."""
    return np.random.default_rng(fold(seed, "bootstrap", purpose))


def resampled_means(values: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Means of `draws` resamples of (N, ...) values along the first axis, (draws, ...), in blocks of bounded memory."""
    flat = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    # How often each value is drawn decides a resample's mean; counts make it a matrix product.
    counts = np.stack([np.bincount(rng.integers(0, len(flat), len(flat)), minlength=len(flat)) for _ in range(draws)])
    return (counts @ flat / len(flat)).reshape(draws, *np.shape(values)[1:])


def percentile_interval(draws: np.ndarray, level: float) -> dict[str, float]:
    """The central interval of bootstrap draws."""
    tail = 50 * (1 - level)
    low, high = np.percentile(draws, [tail, 100 - tail])
    return {"low": float(low), "high": float(high)}


def mean_interval(values: np.ndarray, level: float, draws: int, rng: np.random.Generator) -> dict[str, float]:
    """Percentile interval of a mean over independent values (N,)."""
    return percentile_interval(resampled_means(values, draws, rng), level)


def proportion_interval(successes: np.ndarray, level: float) -> dict[str, float]:
    """Wilson's interval of a proportion over independent (N,) booleans; sound also at 0 % and 100 %."""
    interval = binomtest(int(np.sum(successes)), len(successes)).proportion_ci(level, method="wilson")
    return {"low": float(interval.low), "high": float(interval.high)}


def ratio_interval(
    above: np.ndarray, below: np.ndarray, level: float, draws: int, rng: np.random.Generator
) -> dict[str, float]:
    """Percentile interval of mean(above) / mean(below) for two independent samples."""
    return percentile_interval(resampled_means(above, draws, rng) / resampled_means(below, draws, rng), level)


def recentred_interval(
    estimate: float,
    statistic: Callable[[np.ndarray], float],
    count: int,
    level: float,
    draws: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Interval of a statistic that resampling biases, such as a distance between samples.

    A resample holds fewer distinct points, which shifts distances up; the spread of the draws is kept, and their
    mean is moved back to the estimate.

    Args:
        estimate: the statistic on all points.
        statistic: from (count,) indices of a resample to the number.
        count: how many points there are.
    """
    values = np.array([statistic(rng.integers(0, count, count)) for _ in range(draws)])
    interval = percentile_interval(values - values.mean() + estimate, level)
    return {"low": max(0.0, interval["low"]), "high": interval["high"]}
