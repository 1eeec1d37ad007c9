"""The interval over seeds is Student's."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from triptych.statistics.estimate import Estimate
from triptych.statistics.seeds import mean_over_seeds


def test_the_interval_over_seeds_is_that_of_a_t_test():
    values = np.random.default_rng(0).standard_normal(5)
    expected = ttest_1samp(values, 0.0).confidence_interval(0.9)
    found = mean_over_seeds(values, 0.9)
    assert (found.value, found.low, found.high) == pytest.approx((values.mean(), expected.low, expected.high))


def test_seeds_that_agree_and_a_single_seed_have_no_width():
    assert mean_over_seeds(np.array([0.5, 0.5, 0.5]), 0.95) == Estimate(0.5, 0.5, 0.5)
    assert mean_over_seeds(np.array([0.3]), 0.95) == Estimate(0.3, 0.3, 0.3)
