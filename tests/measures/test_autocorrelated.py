"""Intervals of autocorrelated series are valid, and equal the textbook intervals without autocorrelation."""

import numpy as np
import pytest
from scipy import stats

from triptych.measures.autocorrelated import lag_one, relative_spread, slope

SECONDS = np.random.default_rng(0).normal(16.0, 0.5, 15)


def test_without_autocorrelation_the_spread_has_the_interval_of_a_variance():
    found = relative_spread(SECONDS, 0.9, 0.0)
    squares = np.square(SECONDS - SECONDS.mean()).sum()
    known = np.sqrt(squares / stats.chi2.ppf([0.95, 0.05], 14)) / SECONDS.mean()
    assert found.value == pytest.approx(stats.variation(SECONDS, ddof=1))
    assert (found.low, found.high) == pytest.approx(tuple(known))


def test_without_autocorrelation_the_trend_has_the_interval_of_a_regression():
    found, known = slope(SECONDS, 0.9, 0.0), stats.linregress(np.arange(15), SECONDS)
    half = stats.t.ppf(0.95, 13) * known.stderr
    assert (found.value, found.low, found.high) == pytest.approx((known.slope, known.slope - half, known.slope + half))


def test_the_squares_of_an_autoregressive_series_have_the_mean_and_the_variance_that_intervals_suppose():
    """The bounds are those of a chi-squared distribution with the mean and variance of s² in simulated series."""
    rng, series = np.random.default_rng(1), np.empty((20_000, 15))
    series[:, 0] = rng.standard_normal(20_000)
    for place in range(1, 15):
        series[:, place] = 0.7 * series[:, place - 1] + np.sqrt(1 - 0.49) * rng.standard_normal(20_000)
    variances = series.var(axis=1, ddof=1)
    freedom = 2 * variances.mean() ** 2 / variances.var()
    # One series of standard deviation 1 and mean 1 has these bounds, whatever its values.
    one = (SECONDS - SECONDS.mean()) / SECONDS.std(ddof=1) + 1
    found = relative_spread(one, 0.9, 0.7)
    expected = np.sqrt(freedom / variances.mean() / stats.chi2.ppf([0.95, 0.05], freedom))
    assert (found.low, found.high) == pytest.approx(tuple(expected), rel=0.02)


def test_intervals_do_not_follow_the_unit_and_autocorrelation_widens_them():
    weak, strong = (relative_spread(SECONDS, 0.95, rho) for rho in (0.3, 0.7))
    hours = relative_spread(SECONDS / 3600, 0.95, 0.7)
    assert strong.high > weak.high and slope(SECONDS, 0.95, 0.7).high > slope(SECONDS, 0.95, 0.3).high
    assert (hours.value, hours.low, hours.high) == pytest.approx((strong.value, strong.low, strong.high))


def test_epochs_that_all_take_as_long_have_no_spread_no_trend_and_no_autocorrelation():
    same = np.full(5, 9.25)
    for found in (relative_spread(same, 0.95, 0.7), slope(same, 0.95, 0.7)):
        assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)
    assert lag_one(same) == 0


def test_the_autocorrelation_is_that_of_neighbours():
    assert lag_one(np.array([1.0, -1.0, 1.0, -1.0])) == pytest.approx(-0.75)
    assert lag_one(np.array([-1.0, -1.0, 1.0, 1.0])) == pytest.approx(0.25)
