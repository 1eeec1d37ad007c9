"""Samples held against real images that neither their model nor its judge has seen, as cells of a table."""

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
    """What a judge says of samples.

    Args:
        real: images held out, uint8 (N, C, H, W).
        params: how measures are made.
        place: where the judge of `CLASSIFIER` computes.
    """

    def __init__(self, real: np.ndarray, params: Params, place: Machine) -> None:
        self.real, self.params = real, params
        self.judge = Judge.load(CLASSIFIER, place.device, params.evaluation.batch_size)
        judged = self.judge(real)
        self.features, self.classes = judged.features, judged.classes()
        self.reference = FrechetReference(self.features)

    def cells(self, images: np.ndarray) -> str:
        """The numbers of samples, in the order of `COLUMNS`."""
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
    """The two first lines of a table whose first columns have these names."""
    names = [*first, *COLUMNS]
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}"
