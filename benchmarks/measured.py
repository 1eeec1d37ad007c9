"""Comparison of samples with held-out images, as cells of a table."""

from pathlib import Path

import numpy as np

from triptych.judge.measure import Judge
from triptych.machine.device import Machine
from triptych.measures.distributions import FrechetReference, Manifold, precision_recall
from triptych.measures.intervals import Resampling
from triptych.measures.sharpness import sharpness
from triptych.params import Params
from triptych.report.formatting import PERCENT, written

CLASSIFIER = Path("models/classifier")
COLUMNS = ("Fréchet distance", "recognised", "sharpness", "precision", "recall")


class Measured:
    """Measures of samples by the reference classifier in `CLASSIFIER`.

    Args:
        real: held-out images, uint8 (N, C, H, W).
        params: settings of the measures.
        place: device of the classifier.
    """

    def __init__(self, real: np.ndarray, params: Params, place: Machine) -> None:
        self.real, self.params = real, params
        self.judge = Judge.load(CLASSIFIER, place.device, params.evaluation.batch_size)
        judged = self.judge(real)
        self.features, self.classes = judged.features, judged.classes()
        self.reference = FrechetReference(self.features)

    def cells(self, images: np.ndarray) -> str:
        """Return the measures of samples, in the order of `COLUMNS`."""
        settings = self.params.evaluation
        judged = self.judge(images)
        resampling = Resampling(self.params.seed, settings.confidence_level, settings.bootstrap, "benchmark")
        kinds = (judged.features, self.features)
        manifolds = (Manifold(f[: settings.manifold_images], settings.manifold_neighbours) for f in kinds)
        precision, recall = precision_recall(*manifolds)
        cells = (
            written(self.reference.estimate(judged.features, resampling, "frechet"), ".2f"),
            written(resampling.proportion(judged.recognised(settings.recognition_threshold)), PERCENT),
            written(float(sharpness(images).mean() / sharpness(self.real).mean()), ".2f"),
            written(float(precision.mean()), PERCENT),
            written(float(recall.mean()), PERCENT),
        )
        return " | ".join(cells)


def heading(*first: str) -> str:
    """Return the two heading lines of a table; `first` are the names of its first columns."""
    names = [*first, *COLUMNS]
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}"
