"""Numbers of which each training seed has one."""

import math

import numpy as np
from scipy.stats import t as student

from triptych.statistics.estimate import Estimate


def mean_over_seeds(values: np.ndarray, level: float) -> Estimate:
    """The mean of (seeds,) values with Student's interval; of a single one, which has no spread, without width."""
    mean, seeds = float(np.mean(values)), len(values)
    if seeds < 2:
        return Estimate(mean, mean, mean)
    half = float(student.ppf((1 + level) / 2, seeds - 1) * np.std(values, ddof=1) / math.sqrt(seeds))
    return Estimate(mean, mean - half, mean + half)
