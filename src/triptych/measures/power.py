"""Number of training seeds that would decide a comparison: the power of the interval of `Resampling.seeded`."""

import math
from bisect import bisect_left

import numpy as np
from scipy.stats import nct
from scipy.stats import t as student

POWER = 0.8  # the field's convention (Cohen 1988): four repetitions in five decide
MOST = 1 << 20  # largest number of seeds that is tried


def seeds_to_exclude(values: np.ndarray, threshold: float, level: float, power: float = POWER) -> int | None:
    """Return the fewest seeds (at least 2) whose interval excludes a threshold in a share `power` of repetitions.

    None if no number is enough. Assumes that mean, variance over seeds and variance over test images are those of
    values (seeds, images), and that more seeds do not reduce the latter. Uses the noncentral t distribution with
    Satterthwaite's degrees of freedom, as `Resampling.seeded`; intervals on the far side of the threshold do not count.
    """
    seeds, images = np.shape(values)
    if seeds < 2:
        raise ValueError("the spread over seeds takes two of them")
    wide = np.asarray(values, dtype=np.float64)
    distance = abs(float(wide.mean()) - threshold)
    over_images = float(wide.mean(axis=0).var(ddof=1)) / images if images > 1 else 0.0
    over_seeds = float(wide.mean(axis=1).var(ddof=1))

    def enough(count: int) -> bool:
        return _power(distance, [(over_images, images - 1), (over_seeds / count, count - 1)], level) >= power

    counts = range(2, MOST + 1)
    fewest = bisect_left(counts, True, key=enough)
    return counts[fewest] if fewest < len(counts) else None


def _power(distance: float, parts: list[tuple[float, int]], level: float) -> float:
    """Return how often an interval excludes a threshold at a distance from the mean; parts: (variance, freedom)."""
    parts = [part for part in parts if part[0] > 0]
    if not parts or distance == 0:
        return float(distance > 0)
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / own for part, own in parts)
    distance = distance / math.sqrt(variance)
    critical = float(student.ppf((1 + level) / 2, freedom))
    # Far from the threshold scipy's noncentral distribution is unreliable, and the power is 1.
    return 1.0 if distance > critical + 30 else float(nct.sf(critical, freedom, distance))
