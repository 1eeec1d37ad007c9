"""How good the judge itself is, on images that it has not seen."""

import numpy as np

from triptych.data.storage import Dataset
from triptych.measures import needs
from triptych.measures.judge import Judged
from triptych.statistics.estimate import Estimate, LeftOut
from triptych.statistics.intervals import proportion


def judge_quality(judged: Judged, dataset: Dataset, threshold: float, level: float) -> dict[str, Estimate | LeftOut]:
    """The shares of test images that the judge classifies rightly, and that it recognises at all.

    Args:
        judged: the test images.
        dataset: whose they are.
        threshold: the least probability of a recognised image.
        level: of the intervals.
    """
    classless, labels = needs.two_classes(dataset), np.asarray(dataset.test.labels)
    return {
        "test_accuracy": classless or proportion(judged.classes() == labels, level),
        "test_recognisability": classless or proportion(judged.recognised(threshold), level),
    }
