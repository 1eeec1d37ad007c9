"""How many training seeds would decide a comparison: the power of the interval of `Resampling.seeded`."""

import math

import numpy as np
from scipy.stats import nct
from scipy.stats import t as student

POWER = 0.8  # the field's convention (Cohen 1988): four repetitions in five decide
MOST = 1 << 20  # seeds, beyond which none is sought


def seeds_to_exclude(values: np.ndarray, threshold: float, level: float, power: float = POWER) -> int | None:
    """The fewest seeds with which the interval excludes a threshold, in a share `power` of repetitions.

    Supposes that the truth is as measured: the mean, its variance over seeds, and that over test images. The images
    stay the same, so more seeds take nothing off the last part. With the noncentral t distribution, its degrees of
    freedom by Satterthwaite as in `Resampling.seeded`; the far side of the threshold counts for nothing.

    Args:
        values: (seeds, images) with two seeds or more, e.g. differences between two methods.
        threshold: what the interval should not hold.
        level: of the interval.
        power: see above.

    Returns:
        2 or more; None where no number of seeds would do: the mean is at the threshold, or so near that the images
        alone leave open on which side the truth is.

    Raises:
        ValueError: one seed has no spread to go by.
    """
    seeds, images = np.shape(values)
    if seeds < 2:
        raise ValueError("the spread over seeds takes two of them")
    wide = np.asarray(values, dtype=np.float64)
    distance = abs(float(wide.mean()) - threshold)
    over_images = float(wide.mean(axis=0).var(ddof=1)) / images if images > 1 else 0.0
    over_seeds = float(wide.mean(axis=1).var(ddof=1))

    def enough(count: int) -> bool:
        parts = [(over_images, images - 1), (over_seeds / count, count - 1)]
        return _power(distance, parts, level) >= power

    most = 2
    while not enough(most):
        most *= 2
        if most > MOST:
            return None
    fewest = max(2, most // 2)  # too few, or the least that there can be
    while fewest < most:
        middle = (fewest + most) // 2
        fewest, most = (fewest, middle) if enough(middle) else (middle + 1, most)
    return most


def _power(distance: float, parts: list[tuple[float, int]], level: float) -> float:
    """How often an interval around a mean that far from a threshold excludes it; parts: (variance, freedom) of it."""
    parts = [part for part in parts if part[0] > 0]
    if not parts or distance == 0:
        return float(distance > 0)
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / own for part, own in parts)
    distance = distance / math.sqrt(variance)
    critical = float(student.ppf((1 + level) / 2, freedom))
    # Far from the threshold the noncentral distribution is no longer computed reliably, and the answer is plain.
    return 1.0 if distance > critical + 30 else float(nct.sf(critical, freedom, distance))
