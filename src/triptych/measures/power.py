"""Statistical power: the number of training seeds that a confidence interval needs to exclude a threshold."""

import math
from bisect import bisect_left

import numpy as np
from scipy.stats import nct
from scipy.stats import t as student

POWER = 0.8  # conventional (Cohen 1988)
MOST_SEEDS = 1 << 20


def seeds_to_exclude(values: np.ndarray, threshold: float, level: float, power: float = POWER) -> int | None:
    """Return the number of seeds (at least 2) for which an interval excludes `threshold` with probability `power`.

    Returns None if no number suffices, because additional seeds do not reduce the variance over test images. The centre
    and the width of the interval are estimated from `values` (seeds, images). `level` is the confidence level.
    """
    seeds, images = np.shape(values)
    if seeds < 2:
        raise ValueError(f"values must cover at least two seeds, to estimate the variance over seeds; got {seeds}")
    wide = np.asarray(values, dtype=np.float64)
    distance = abs(float(wide.mean()) - threshold)
    over_images = float(wide.mean(axis=0).var(ddof=1)) / images if images > 1 else 0.0
    over_seeds = float(wide.mean(axis=1).var(ddof=1))

    def enough(count: int) -> bool:
        return _power(distance, [(over_images, images - 1), (over_seeds / count, count - 1)], level) >= power

    counts = range(2, MOST_SEEDS + 1)
    fewest = bisect_left(counts, True, key=enough)
    return counts[fewest] if fewest < len(counts) else None


def _power(distance: float, components: list[tuple[float, int]], level: float) -> float:
    """Return the probability that an interval with confidence `level` excludes a threshold at `distance` from the mean.

    The variance of the mean is a sum. `components` lists each summand with the degrees of freedom of its estimate.
    """
    components = [component for component in components if component[0] > 0]
    if not components or distance == 0:
        return float(distance > 0)
    variance = sum(component for component, _ in components)
    freedom = variance**2 / sum(component**2 / own for component, own in components)
    distance = distance / math.sqrt(variance)
    critical = float(student.ppf((1 + level) / 2, freedom))
    # Far from the threshold scipy's noncentral t distribution is unreliable, but the power is 1.
    return 1.0 if distance > critical + 30 else float(nct.sf(critical, freedom, distance))
