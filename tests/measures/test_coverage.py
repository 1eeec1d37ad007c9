"""Coverage of each type of interval at the sample sizes of the pipeline; docs/claims.md reports it.

The coverage must be within two points of 95 % unless a test states another range.
"""

import math
from collections.abc import Iterable

import numpy as np
import pytest
from scipy.stats import binom

from triptych.measures.autocorrelated import relative_spread, slope
from triptych.measures.estimate import Estimate
from triptych.measures.intervals import Resampling, difference, mean, proportion

LEVEL, WITHIN = 0.95, 0.02


def coverage(found: Iterable[Estimate], truth: float) -> float:
    """Return the fraction of intervals that contain the true value."""
    return float(np.mean([one.low <= truth <= one.high for one in found]))


def resampled(trial: int, draws: int = 200) -> Resampling:
    """Return the settings of one trial. Each trial has its own resamples; the pipeline draws 500."""
    return Resampling(trial, LEVEL, draws, "coverage")


# --- Means, proportions ---


@pytest.mark.parametrize(("images", "trials"), [(100, 2000), (200, 2000), (500, 2000), (2000, 2000)])
def test_means_of_skewed_values(images: int, trials: int):
    """Exponential values are more skewed than errors, bits or structural similarities of images."""
    values = np.random.default_rng(images).standard_exponential((trials, images))
    assert coverage((mean(row, LEVEL) for row in values), 1.0) == pytest.approx(LEVEL, abs=WITHIN)


def proportions_cover(images: int, shares: np.ndarray) -> np.ndarray:
    """Return the exact coverage: the probability of all counts whose interval contains the proportion."""
    counts = range(images + 1)
    # Counts far from the proportions have no probability, so their intervals are not needed.
    likely = [k for k in counts if binom.pmf(k, images, shares).max() > 1e-9]
    found = [proportion(np.arange(images) < k, LEVEL) for k in likely]
    held = np.array([(one.low <= shares) & (shares <= one.high) for one in found])
    return (binom.pmf(np.array(likely)[:, None], images, shares) * held).sum(axis=0)


@pytest.mark.parametrize("images", [200, 2000])
def test_proportions_cover_as_they_say_where_three_or_more_of_the_rarer_answer_are_expected(images: int):
    rare = np.geomspace(3, 20, 60) / images
    covers = np.concatenate([proportions_cover(images, shares) for shares in (rare, 1 - rare)])
    assert covers.mean() == pytest.approx(LEVEL, abs=0.01)
    assert covers.min() > LEVEL - 0.022 and covers.max() < LEVEL + 0.03


@pytest.mark.parametrize("images", [200, 2000])
def test_proportions_of_which_fewer_than_one_is_expected_may_cover_84_percent(images: int):
    shares = np.geomspace(0.05, 1, 200) / images
    covers = proportions_cover(images, shares)
    assert covers.min() == pytest.approx(0.84, abs=0.01) and covers.mean() > 0.92


def test_differences_of_proportions():
    """Difference of the proportions recognised in 2,000 samples of the DDPM and of the VAE."""
    counts = np.random.default_rng(0).binomial(2000, [0.5, 0.08], (2000, 2))
    of_count = {count: proportion(np.arange(2000) < count, LEVEL) for count in set(counts.flat)}
    found = (difference(of_count[one], of_count[other]) for one, other in counts)
    assert coverage(found, 0.42) == pytest.approx(LEVEL, abs=WITHIN)


# --- Bootstrap ---


def test_ratios_of_means():
    """With 200 images per sample, a tenth of the number in the pipeline."""

    def ratio(trial: int) -> Estimate:
        rng = np.random.default_rng(trial)
        return resampled(trial).ratio(rng.gamma(2.0, 1.0, 200), rng.gamma(4.0, 1.0, 200), "ratio")

    assert coverage(map(ratio, range(1000)), 0.5) == pytest.approx(LEVEL, abs=WITHIN)


def test_frechet_distances_in_one_dimension():
    """The reference is fixed, N(0, 1). The true value is the mean distance of 200 images, which is biased."""

    def distance(values: np.ndarray) -> float:
        return float(values.mean()) ** 2 + (float(values.std(ddof=1)) - 1) ** 2

    samples = np.random.default_rng(0).normal(0.5, 1.2, (400, 200))
    expected = float(np.mean([distance(row) for row in np.random.default_rng(1).normal(0.5, 1.2, (4000, 200))]))
    found = (
        resampled(trial, 100).recentred(distance(row), lambda rows, row=row: distance(row[rows]), 200, "frechet")
        for trial, row in enumerate(samples)
    )
    # Two points plus one point for the error of the simulation.
    assert coverage(found, expected) == pytest.approx(LEVEL, abs=WITHIN + 0.01)


# --- Seeds ---


def over_seeds(seeds: int, seed_std: float, ease_std: float, trials: int = 2000) -> float:
    """Return the coverage with 400 test images, of which an encoder classifies about 80 % correctly.

    `ease_std` is the standard deviation of the images' log-odds, and `seed_std` that of the encoders' log-odds.
    """
    rng = np.random.default_rng(seeds)
    points, weights = np.polynomial.hermite_e.hermegauss(80)
    expected = weights @ (1 / (1 + np.exp(-1.4 - math.hypot(seed_std, ease_std) * points))) / weights.sum()
    interval = Resampling(seed=0, level=LEVEL, draws=0, owner="test")

    def accuracy() -> Estimate:
        odds = 1.4 + rng.normal(0, ease_std, 400) + rng.normal(0, seed_std, (seeds, 1))
        return interval.seeded(rng.random((seeds, 400)) < 1 / (1 + np.exp(-odds)))

    return coverage((accuracy() for _ in range(trials)), expected)


@pytest.mark.parametrize("seeds", [3, 4, 8])
@pytest.mark.parametrize("ease_std", [0.0, 2.0])
@pytest.mark.parametrize("seed_std", [0.0, 0.1, 0.5])
def test_intervals_over_seeds(seeds, ease_std, seed_std):
    """Images equally or unequally hard, and seeds that do not differ, hardly differ, or differ much."""
    # Two points plus one point for the error of the simulation.
    assert over_seeds(seeds, seed_std, ease_std) == pytest.approx(LEVEL, abs=WITHIN + 0.01)


# --- Epochs ---


def autoregressive(rho: float, trials: int = 20_000, epochs: int = 15) -> np.ndarray:
    """Simulate series (trials, epochs) with mean 1 and standard deviation 0.05."""
    series = np.random.default_rng(0).standard_normal((trials, epochs))
    for epoch in range(1, epochs):
        series[:, epoch] = rho * series[:, epoch - 1] + np.sqrt(1 - rho**2) * series[:, epoch]
    return 1 + 0.05 * series


def spreads(series: np.ndarray, rho: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds (trials,) of each series. They are proportional to its standard deviation."""
    one, other = (relative_spread(row, LEVEL, rho) for row in series[:2])
    assert (one.low / one.value, one.high / one.value) == pytest.approx(
        (other.low / other.value, other.high / other.value)
    )
    found = series.std(axis=1, ddof=1) / series.mean(axis=1)
    return found * one.low / one.value, found * one.high / one.value


@pytest.mark.parametrize("rho", [0.0, 0.35, 0.7])
def test_the_spread_of_fifteen_autocorrelated_epochs(rho: float):
    low, high = spreads(autoregressive(rho), 0.7)
    assert np.mean((low <= 0.05) & (high >= 0.05)) == pytest.approx(LEVEL, abs=WITHIN)
    # Refuting a claim depends on the upper bound, which is rarely too low.
    assert np.mean(high < 0.05) < 0.01


@pytest.mark.parametrize(("rho", "supposed", "covers"), [(0.7, 0.0, 0.78), (0.9, 0.7, 0.84)])
def test_an_interval_for_less_autocorrelation_than_there_is_covers_too_little(
    rho: float, supposed: float, covers: float
):
    low, high = spreads(autoregressive(rho), supposed)
    assert np.mean((low <= 0.05) & (high >= 0.05)) == pytest.approx(covers, abs=0.01)


def test_the_trend_of_fifteen_autocorrelated_epochs():
    covers = []
    for rho in (0.0, 0.7):
        series = autoregressive(rho)
        (changes, _), squares, *_ = np.polyfit(np.arange(15), series.T, 1, full=True)
        one = slope(series[0], LEVEL, 0.7)
        assert one.value == pytest.approx(changes[0])
        # Bounds are proportional to the residuals; a second series confirms it.
        half = (one.high - one.value) * np.sqrt(squares / squares[0])
        assert slope(series[1], LEVEL, 0.7).high == pytest.approx(changes[1] + half[1])
        covers.append(np.mean(np.abs(changes) <= half))
    assert covers[0] > LEVEL and covers[1] == pytest.approx(LEVEL, abs=WITHIN)
