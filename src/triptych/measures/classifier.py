"""How good the judge itself is, on images that it has not seen."""

import numpy as np

from triptych.measures.judge import Judged
from triptych.statistics.estimate import Estimate
from triptych.statistics.intervals import proportion


def judge_quality(judged: Judged, labels: np.ndarray, threshold: float, level: float) -> dict[str, Estimate]:
    """The shares of test images that the judge classifies rightly, and that it recognises at all.

    Args:
        judged: the test images.
        labels: their classes (N,).
        threshold: the least probability of a recognised image.
        level: of the intervals.
    """
    return {
        "test_accuracy": proportion(judged.classes() == labels, level),
        "test_recognisability": proportion(judged.recognised(threshold), level),
    }
