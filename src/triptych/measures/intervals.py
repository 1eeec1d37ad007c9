"""Confidence intervals.

Means, proportions and differences have closed-form intervals. Other statistics use the bootstrap (Efron 1979).
tests/measures/test_coverage.py simulates the coverage of each interval; docs/claims.md reports the results.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtrit  # quantiles of Student's t, without the slow import of scipy.stats
from threadpoolctl import threadpool_limits

from triptych.core.seeds import fold
from triptych.measures.estimate import Estimate, SeedRange


def resampled_means(values: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Return the means (draws, ...) of `draws` bootstrap resamples of `values` (N, ...) along the first axis."""
    flat = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    # The number of occurrences of each value in a resample makes the means a matrix product.
    drawn = rng.integers(0, len(flat), (draws, len(flat))) + len(flat) * np.arange(draws)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
    return (counts @ flat / len(flat)).reshape(draws, *np.shape(values)[1:])


def mean(values: np.ndarray, level: float) -> Estimate:
    """Return the mean with a t interval at confidence level `level`. A single value has an interval of width 0."""
    wide = np.asarray(values, dtype=np.float64)
    value, count = float(wide.mean()), len(wide)
    if count < 2:
        return Estimate(value, value, value)
    half = float(stdtrit(count - 1, (1 + level) / 2) * wide.std(ddof=1)) / math.sqrt(count)
    return Estimate(value, value - half, value + half)


def proportion(successes: np.ndarray, level: float) -> Estimate:
    """Return the fraction of `successes` (N,) that are True, with a Wilson interval at confidence level `level`."""
    from scipy.stats import binomtest  # slow, and not used by evaluate_ssl, which runs for each variant

    interval = binomtest(int(np.sum(successes)), len(successes)).proportion_ci(level, method="wilson")
    return Estimate(float(np.mean(successes)), float(interval.low), float(interval.high))


def difference(one: Estimate, other: Estimate) -> Estimate:
    """Return the difference `one - other` of two independent estimates, with a confidence interval.

    Both intervals have the same confidence level. The distances from value to bound are added in quadrature (Newcombe
    1998, Statistics in Medicine 17, 873-890; Zou & Donner 2008, Statistics in Medicine 27, 1693-1702).
    """
    value = one.value - other.value
    below = math.hypot(one.value - one.low, other.high - other.value)
    above = math.hypot(one.high - one.value, other.value - other.low)
    return Estimate(value, value - below, value + above)


def variance_parts(values: np.ndarray, seeds: int = 0) -> list[tuple[float, int]]:
    """Split the variance of the mean of `values` (seeds, images) into a part over seeds and a part over images.

    Return (variance, degrees of freedom) for seeds, and then for images. The variance over seeds includes the noise of
    individual values. It is computed for `seeds` seeds unless `seeds` is 0. If `values` has one seed, return only the
    part over images.

    The model is a two-way analysis of variance with random effects (Searle, Casella & McCulloch 1992, Variance
    Components, section 4.7).
    """
    wide = np.asarray(values, dtype=np.float64)
    count, images = wide.shape
    over_images = float(wide.mean(axis=0).var(ddof=1)) if images > 1 else 0.0
    if count < 2:
        return [(over_images / images, images - 1)]
    over_seeds = float(wide.mean(axis=1).var(ddof=1))
    residuals = wide - wide.mean(axis=0) - wide.mean(axis=1, keepdims=True) + wide.mean()
    noise = float(np.square(residuals).sum()) / ((count - 1) * max(1, images - 1))
    shared = max(0.0, over_images - noise / count)
    return [(over_seeds / (seeds or count), (seeds or count) - 1), (shared / images, images - 1)]


def over_two_seeds(values: np.ndarray) -> SeedRange | None:
    """Return the mean and the range over the seeds of `values` (seeds, images), or None if there are not two seeds."""
    means = np.mean(values, axis=1, dtype=np.float64)
    return SeedRange(float(means.mean()), float(means.min()), float(means.max())) if len(means) == 2 else None


def squared_half_width(parts: Sequence[tuple[float, int]], level: float) -> float:
    """Return the sum of squared half-widths of t intervals, one per (variance, degrees of freedom) pair in `parts`."""
    return sum(float(stdtrit(freedom, (1 + level) / 2)) ** 2 * part for part, freedom in parts if part > 0)


@dataclass(frozen=True)
class Resampling:
    """Compute confidence intervals at the confidence level `level`. Bootstrap intervals use `draws` resamples.

    Each statistic has its own random stream, so that the order in which intervals are computed does not matter. The
    seed of a stream is derived from `seed`, from `owner` (for example "vae"), and from the name of the statistic.
    """

    seed: int
    level: float
    draws: int
    owner: str

    def stream(self, purpose: str) -> np.random.Generator:
        """Return a new random generator for the statistic named `purpose`."""
        return np.random.default_rng(fold(self.seed, "bootstrap", f"{self.owner} {purpose}"))

    def proportion(self, successes: np.ndarray) -> Estimate:
        return proportion(successes, self.level)

    def percentile(self, value: float, draws: np.ndarray) -> Estimate:
        tail = 50 * (1 - self.level)
        low, high = np.percentile(draws, [tail, 100 - tail])
        return Estimate(value, float(low), float(high))

    def mean(self, values: np.ndarray) -> Estimate:
        return mean(values, self.level)

    def ratio(self, above: np.ndarray, below: np.ndarray, purpose: str) -> Estimate:
        """Return mean(above) / mean(below), with a bootstrap interval.

        `above` and `below` are resampled independently. `purpose` is the name of the random stream.
        """
        rng = self.stream(purpose)
        draws = resampled_means(above, self.draws, rng) / resampled_means(below, self.draws, rng)
        return self.percentile(float(np.mean(above) / np.mean(below)), draws)

    def recentred(self, value: float, statistic: Callable[[np.ndarray], float], count: int, purpose: str) -> Estimate:
        """Return `value`, a non-negative statistic of `count` points, with a bias-corrected bootstrap interval.

        `statistic` maps resampled indices (count,) to the statistic. `purpose` is the name of the random stream.
        Resampling increases some statistics, such as the Fréchet distance. To correct this, their mean is shifted to
        `value`.
        """
        rng = self.stream(purpose)
        # The statistics use small matrices, for which many threads are much slower than one.
        with threadpool_limits(1):
            draws = np.array([statistic(rng.integers(0, count, count)) for _ in range(self.draws)])
        interval = self.percentile(value, draws - draws.mean() + value)
        return replace(interval, low=max(0.0, interval.low))

    def seeded(self, values: np.ndarray) -> Estimate:
        """Return the mean of `values` (seeds, images), with an interval that covers variation over seeds and images.

        The half-widths of t intervals over seeds and over images are added in quadrature (Zou & Donner 2008, Statistics
        in Medicine 27, 1693-1702). With one seed, the interval covers only the variation over images.
        """
        mean = float(np.mean(values, dtype=np.float64))
        half = math.sqrt(squared_half_width(variance_parts(values), self.level))
        return Estimate(mean, mean - half, mean + half)

    def accuracies(self, correct: Mapping[str, np.ndarray]) -> dict[str, Estimate]:
        """Return the accuracy, with bounds, of each boolean array (seeds, images) of correct predictions.

        The accuracy of `correct["x"]` has the key "x_accuracy". The bounds are a confidence interval. For two seeds,
        the interval would be too wide to be useful, so the bounds are the accuracies of the two seeds.
        """
        estimates = {}
        for name, rows in correct.items():
            estimate = over_two_seeds(rows) or self.seeded(rows)
            # With few seeds the interval can be wider than the range of an accuracy.
            estimates[f"{name}_accuracy"] = replace(estimate, low=max(0.0, estimate.low), high=min(1.0, estimate.high))
        return estimates
