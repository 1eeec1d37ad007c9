"""Statistical power: the number of training seeds that a confidence interval needs to exclude a threshold."""

import math
from bisect import bisect_left

import numpy as np
from scipy.stats import nct

from triptych.measures.intervals import squared_half_width, variance_parts

POWER = 0.8  # conventional (Cohen 1988)
MOST_SEEDS = 1 << 20


def seeds_to_exclude(values: np.ndarray, threshold: float, level: float, power: float = POWER) -> int | None:
    """Return the smallest number of seeds for which an interval excludes `threshold` with probability `power`.

    The mean and the variance are estimated from `values` (seeds, images). `level` is the confidence level. The result
    is at least 2. It is None if even a million seeds do not suffice, because more seeds do not reduce the variance over
    images. Raises ValueError if `values` has fewer than two seeds.
    """
    if len(values) < 2:
        raise ValueError(
            f"values must cover at least two seeds, to estimate the variance over seeds; got {len(values)}"
        )
    distance = abs(float(np.mean(values, dtype=np.float64)) - threshold)

    def enough(count: int) -> bool:
        return _power(distance, variance_parts(values, count), level) >= power

    counts = range(2, MOST_SEEDS + 1)
    fewest = bisect_left(counts, True, key=enough)
    return counts[fewest] if fewest < len(counts) else None


def _power(distance: float, components: list[tuple[float, int]], level: float) -> float:
    # Probability that an interval excludes a threshold at `distance` from the mean. The variance of the mean is the sum
    # of the components. Satterthwaite (1946, Biometrics Bulletin 2, 110-114) gives the degrees of freedom of the sum.
    components = [component for component in components if component[0] > 0]
    if not components or distance == 0:
        return float(distance > 0)
    variance = sum(component for component, _ in components)
    freedom = variance**2 / sum(component**2 / own for component, own in components)
    distance = distance / math.sqrt(variance)
    critical = math.sqrt(squared_half_width(components, level) / variance)
    # Far from the threshold scipy's noncentral t distribution is unreliable, but the power is 1.
    return 1.0 if distance > critical + 30 else float(nct.sf(critical, freedom, distance))
