"""Quality measures of generated images, computed from pixels and from the output of the reference classifier."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from triptych.data.storage import Dataset
from triptych.judge.measure import Judge, Judged
from triptych.measures import needs
from triptych.measures.degeneracy import clipped_share, spread
from triptych.measures.distributions import FrechetReference, Manifold, precision_recall
from triptych.measures.estimate import Estimate, LeftOut
from triptych.measures.intervals import Resampling
from triptych.measures.params import EvaluationParams
from triptych.measures.sharpness import sharpness

Numbers = dict[str, float | Estimate | LeftOut]
# Measures that compare samples drawn in different ways from the same weights.
COMPARED = ("frechet_distance", "recognisability", "sharpness_ratio", "precision", "recall")
FINAL = 5  # samples that the report shows with the judge's probabilities


class RealImages:
    """Real images to compare with `count` generated images, and the reference classifier's output for the real images.

    Generated images are compared with the test images. The first `count` training images are compared with the test
    images in the same way, which gives the values that a perfect generator would reach.

    Attributes:
        images: the test images, uint8 of shape (M, C, H, W).
        test, train: the classifier's output for the test images and for the first `count` training images.
        reference: reference for Fréchet distances to the test images; None if there is only one test image.
        classless: reason for omitting measures that require classes; None if there are at least two classes.
    """

    def __init__(self, dataset: Dataset, judge: Judge, count: int) -> None:
        self.images = np.asarray(dataset.test.images)
        self.test, self.train = judge(dataset.test.images), judge(dataset.train.images[:count])
        self.reference = FrechetReference(self.test.features) if len(self.images) > 1 else None
        self.classless = needs.two_classes(dataset)

    def distance(self, judged: Judged, resampling: Resampling, purpose: str) -> Estimate | LeftOut:
        """Return the Fréchet distance between generated images and the test images, or the reason for omitting it.

        `judged` is the classifier's output for the generated images. `purpose` selects the bootstrap's random stream.
        """
        few = self._too_few(judged.features)
        return few or self.reference.estimate(judged.features, resampling, purpose)

    @property
    def floor(self) -> float | LeftOut:
        """Fréchet distance of a perfect generator: the distance between training images and test images."""
        return self._too_few(self.train.features) or self.reference.distance(self.train.features)

    def _too_few(self, features: np.ndarray) -> LeftOut | None:
        return needs.images(len(self.images), 2) or needs.images(len(features), 2, "images to compare with them")


def measure_generated(
    images: np.ndarray, judged: Judged, real: RealImages, settings: EvaluationParams, resampling: Resampling
) -> Numbers:
    """Return quality measures of uint8 images compared with `real`. `judged` is the classifier's output for them."""
    threshold, wide = settings.recognition_threshold, torch.from_numpy(images).float() / 127.5 - 1
    return {
        "frechet_distance": real.distance(judged, resampling, "frechet"),
        "frechet_floor": real.floor,
        "recognisability": real.classless or resampling.proportion(judged.recognised(threshold)),
        "real_recognisability": real.classless or float(real.test.recognised(threshold).mean()),
        "sharpness_ratio": _sharpness_ratio(images, real, resampling),
        **_precision_recall(judged, real, settings, resampling),
        "clipped_share": clipped_share(wide),
        "median_spread": float(spread(wide).median()),
        "samples": len(wide),
    }


def _sharpness_ratio(images: np.ndarray, real: RealImages, resampling: Resampling) -> Estimate | LeftOut:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = resampling.ratio(sharpness(images), sharpness(real.images), "sharpness")
    if not np.isfinite([ratio.value, ratio.low, ratio.high]).all():
        return LeftOut("too few test images have any detail")
    return ratio


def _precision_recall(judged: Judged, real: RealImages, settings: EvaluationParams, resampling: Resampling) -> Numbers:
    sets = {"test": real.test, "training": real.train, "generated": judged}
    points = {name: output.features[: settings.manifold_images] for name, output in sets.items()}
    for name, features in points.items():
        few = needs.images(len(features), settings.manifold_neighbours + 1, f"{name} images")
        if few:
            return dict.fromkeys(("precision", "recall", "real_precision", "real_recall"), few)
    test, train, generated = (Manifold(features, settings.manifold_neighbours) for features in points.values())
    precision, recall = precision_recall(generated, test)
    best_precision, best_recall = precision_recall(train, test)
    return {
        "precision": resampling.proportion(precision),
        "recall": resampling.proportion(recall),
        "real_precision": float(best_precision.mean()),
        "real_recall": float(best_recall.mean()),
    }


@dataclass(kw_only=True)
class GenerativeMeasures:
    """Base class for the measures of a generative study, with the measures that all generative studies share."""

    STUDY: ClassVar[str]
    judge: Judge
    dataset: Dataset
    drawn: Mapping[str, np.ndarray]  # the arrays in the file images.npz, by name
    settings: EvaluationParams
    seed: int  # seed of the noise and of the bootstrap
    device: torch.device
    at_once: int = 1  # number of measuring tasks that run in parallel; more than 1 only on a CPU

    def __post_init__(self) -> None:
        self.resampling = Resampling(self.seed, self.settings.confidence_level, self.settings.bootstrap, self.STUDY)
        # Computed before the tasks fork, because several tasks use them.
        self.real = RealImages(self.dataset, self.judge, len(self.drawn["samples"]))
        self.judged = self.judge(self.drawn["samples"])

    def samples(self) -> Numbers:
        """Return the quality measures of the images `drawn["samples"]`."""
        return measure_generated(self.drawn["samples"], self.judged, self.real, self.settings, self.resampling)

    def other_samples(self, key: str, name: str) -> Numbers:
        """Return the measures listed in COMPARED for the images `drawn[key]`. `name` selects the random streams."""
        images, resampling = self.drawn[key], replace(self.resampling, owner=f"{self.STUDY} {name}")
        numbers = measure_generated(images, self.judge(images), self.real, self.settings, resampling)
        return {measure: numbers[measure] for measure in COMPARED}

    def final_probabilities(self) -> np.ndarray:
        """Return the reference classifier's class probabilities for the first FINAL samples."""
        return self.judged.probabilities[:FINAL]
