"""Intervals, mostly by bootstrap (Efron 1979): every number that a claim leans on carries one."""

import math
from collections.abc import Callable

import numpy as np
from scipy.stats import binomtest
from scipy.stats import t as student

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


def spread_interval(values: np.ndarray, level: float, draws: int, rng: np.random.Generator) -> dict[str, float]:
    """Percentile interval of `relative_spread` over independent positive values (N,)."""
    # Of values around 1 the difference of moments keeps its digits.
    scaled = np.asarray(values, dtype=np.float64) / np.mean(values)
    first, second = resampled_means(np.stack([scaled - 1, np.square(scaled - 1)], axis=1), draws, rng).T
    variance = (second - np.square(first)).clip(min=0) * len(scaled) / (len(scaled) - 1)
    return percentile_interval(np.sqrt(variance) / (1 + first), level)


def relative_spread(values: np.ndarray) -> float:
    """Standard deviation over mean of positive values (N,), N at least 2."""
    return float(np.std(values, ddof=1) / np.mean(values))


def seeded_interval(values: np.ndarray, level: float, draws: int, rng: np.random.Generator) -> dict[str, float]:
    """Interval of a mean over training seeds and test images, uncertain in both.

    The variance of the mean is that of its bootstrap over test images, plus, where there are two seeds or more, that
    of the seeds' means over their number. Student's t has the degrees of freedom of Satterthwaite (1946,
    Biometrics Bulletin 2, 110-114) and Welch (1947, Biometrika 34, 28-35): few seeds that differ make it wide.
    With one seed it says nothing of other seeds.

    Args:
        values: (seeds, images), e.g. whether each image was classified rightly; or, for the difference between two
            methods of the same seeds and images, the differences of those.
    """
    wide = np.asarray(values, dtype=np.float64)
    seeds, images = wide.shape
    parts = [(resampled_means(wide.mean(axis=0), draws, rng).var(ddof=1), images - 1)]
    if seeds > 1:
        parts.append((wide.mean(axis=1).var(ddof=1) / seeds, seeds - 1))
    mean, variance = float(wide.mean()), sum(part for part, _ in parts)
    uncertain = sum(part**2 / freedom for part, freedom in parts if part > 0)
    half = student.ppf((1 + level) / 2, variance**2 / uncertain) * math.sqrt(variance) if uncertain else 0.0
    return {"low": mean - float(half), "high": mean + float(half)}


def difference_interval(
    one: float, one_interval: dict[str, float], other: float, other_interval: dict[str, float]
) -> dict[str, float]:
    """Interval of `one - other`, two independent estimates, from their own intervals of one level.

    Squares and adds the distances from estimate to bound (MOVER: Newcombe 1998, Statistics in Medicine 17, 873-890,
    method 10; Zou & Donner 2008, Statistics in Medicine 27, 1693-1702), so lopsided intervals stay lopsided.
    """
    difference = one - other
    below = math.hypot(one - one_interval["low"], other_interval["high"] - other)
    above = math.hypot(one_interval["high"] - one, other - other_interval["low"])
    return {"low": difference - below, "high": difference + above}
