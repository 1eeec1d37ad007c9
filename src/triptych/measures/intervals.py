"""Intervals of numbers that are measured on samples.

Means, proportions and their differences have intervals in closed form; other statistics are resampled (Efron 1979).
tests/measures/test_coverage.py simulates how often each interval contains the truth; docs/claims.md reports it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit  # the quantiles of scipy.stats.t, which takes a second to import
from threadpoolctl import threadpool_limits

from triptych.core.seeds import fold
from triptych.measures.estimate import Estimate


def resampled_means(values: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Return the means of `draws` resamples of values (N, ...) along the first axis, (draws, ...)."""
    flat = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    # The mean of a resample follows from how often it holds each value: counts make it a matrix product.
    drawn = rng.integers(0, len(flat), (draws, len(flat))) + len(flat) * np.arange(draws)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
    return (counts @ flat / len(flat)).reshape(draws, *np.shape(values)[1:])


def percentile_bounds(draws: np.ndarray, level: float) -> tuple[float, float]:
    tail = 50 * (1 - level)
    low, high = np.percentile(draws, [tail, 100 - tail])
    return float(low), float(high)


def mean(values: np.ndarray, level: float) -> Estimate:
    """Return the mean of independent values (N,) with Student's interval; a single value has no width."""
    wide = np.asarray(values, dtype=np.float64)
    value, count = float(wide.mean()), len(wide)
    if count < 2:
        return Estimate(value, value, value)
    half = float(stdtrit(count - 1, (1 + level) / 2) * wide.std(ddof=1)) / math.sqrt(count)
    return Estimate(value, value - half, value + half)


def proportion(successes: np.ndarray, level: float) -> Estimate:
    """Return the share of independent booleans (N,) with Wilson's interval, which is also valid at 0 % and 100 %."""
    from scipy.stats import binomtest  # slow to import; evaluate_ssl, which runs for each variant, does not need it

    interval = binomtest(int(np.sum(successes)), len(successes)).proportion_ci(level, method="wilson")
    return Estimate(float(np.mean(successes)), float(interval.low), float(interval.high))


def difference(one: Estimate, other: Estimate) -> Estimate:
    """Return `one - other` of two independent estimates whose intervals have the same level.

    Squares and adds the distances from estimate to bound (MOVER: Newcombe 1998, Statistics in Medicine 17, 873-890,
    method 10; Zou & Donner 2008, Statistics in Medicine 27, 1693-1702), so asymmetric intervals stay asymmetric.
    """
    value = one.value - other.value
    below = math.hypot(one.value - one.low, other.high - other.value)
    above = math.hypot(one.high - one.value, other.value - other.low)
    return Estimate(value, value - below, value + above)


@dataclass(frozen=True)
class Resampling:
    """Settings of intervals.

    `owner`, e.g. `vae`, names with the purpose of a statistic its stream of resamples, so that an interval does not
    depend on which others are computed.
    """

    seed: int
    level: float
    draws: int
    owner: str

    def stream(self, purpose: str) -> np.random.Generator:
        return np.random.default_rng(fold(self.seed, "bootstrap", f"{self.owner} {purpose}"))

    def proportion(self, successes: np.ndarray) -> Estimate:
        return proportion(successes, self.level)

    def percentile(self, value: float, draws: np.ndarray) -> Estimate:
        return Estimate(value, *percentile_bounds(draws, self.level))

    def mean(self, values: np.ndarray) -> Estimate:
        return mean(values, self.level)

    def ratio(self, above: np.ndarray, below: np.ndarray, purpose: str) -> Estimate:
        """Return mean(above) / mean(below) of two independent samples with its percentile interval."""
        rng = self.stream(purpose)
        draws = resampled_means(above, self.draws, rng) / resampled_means(below, self.draws, rng)
        return self.percentile(float(np.mean(above) / np.mean(below)), draws)

    def recentred(self, value: float, statistic: Callable[[np.ndarray], float], count: int, purpose: str) -> Estimate:
        """Return a statistic, at least 0, that resampling biases, such as a distance between samples.

        `statistic` takes the indices (count,) of a resample. A resample holds fewer distinct points, which increases
        distances: the interval has the spread of the draws, with their mean moved back to the estimate.
        """
        rng = self.stream(purpose)
        # The statistics use small matrices, for which many threads take many times as long as one.
        with threadpool_limits(1):
            draws = np.array([statistic(rng.integers(0, count, count)) for _ in range(self.draws)])
        low, high = percentile_bounds(draws - draws.mean() + value, self.level)
        return Estimate(value, max(0.0, low), high)

    def seeded(self, values: np.ndarray, purpose: str) -> Estimate:
        """Return the mean of values (seeds, images), uncertain over training seeds and over test images.

        The variance of the mean is that of its bootstrap over test images plus, with two seeds or more, that of the
        seeds' means over their number. Student's t has the degrees of freedom of Satterthwaite (1946, Biometrics
        Bulletin 2, 110-114) and Welch (1947, Biometrika 34, 28-35). With one seed the interval ignores the variation
        between seeds. An interval of 95 % covers 94 to 95 % with four seeds, and as little as 87 % with two.
        """
        wide = np.asarray(values, dtype=np.float64)
        seeds, images = wide.shape
        rng = self.stream(purpose)
        parts = [(resampled_means(wide.mean(axis=0), self.draws, rng).var(ddof=1), images - 1)]
        if seeds > 1:
            parts.append((wide.mean(axis=1).var(ddof=1) / seeds, seeds - 1))
        mean, variance = float(wide.mean()), sum(part for part, _ in parts)
        uncertain = sum(part**2 / freedom for part, freedom in parts if part > 0)
        half = stdtrit(variance**2 / uncertain, (1 + self.level) / 2) * math.sqrt(variance) if uncertain else 0.0
        return Estimate(mean, mean - float(half), mean + float(half))

    def accuracies(self, correct: Mapping[str, np.ndarray]) -> dict[str, Estimate]:
        estimates = {}
        for name, rows in correct.items():
            estimate = self.seeded(rows, f"{name}_correct")
            # Few seeds that differ make the interval wide, but no accuracy lies outside [0, 1].
            low, high = max(0.0, estimate.low), min(1.0, estimate.high)
            estimates[f"{name}_accuracy"] = Estimate(float(np.mean([row.mean() for row in rows])), low, high)
        return estimates
