"""Quality of generated images, by the judge and by their pixels: the same measures for every generative study."""

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


class RealImages:
    """Real images to compare generated ones with, read by the judge once.

    Args:
        dataset: its test images are the reference; as many training images as are generated give the values that
            further real images reach.
        judge: reads them.
        count: number of generated images.

    Attributes:
        images: the test images, uint8 (M, C, H, W).
        test, train: the judge's reading of the test images and of the training images.
        reference: the test images' features as a Fréchet reference; None for a single image.
        classless: the reason why no class can be read in images; None if there are two classes or more.
    """

    def __init__(self, dataset: Dataset, judge: Judge, count: int) -> None:
        self.images = np.asarray(dataset.test.images)
        self.test, self.train = judge(dataset.test.images), judge(dataset.train.images[:count])
        self.reference = FrechetReference(self.test.features) if len(self.images) > 1 else None
        self.classless = needs.two_classes(dataset)

    def distance(self, judged: Judged, resampling: Resampling, purpose: str) -> Estimate | LeftOut:
        """Fréchet distance of generated images to the test images; `purpose` names the stream of resamples."""
        few = self._too_few(judged.features)
        return few or self.reference.estimate(judged.features, resampling, purpose)

    @property
    def floor(self) -> float | LeftOut:
        """Fréchet distance of training images to the test images."""
        return self._too_few(self.train.features) or self.reference.distance(self.train.features)

    def _too_few(self, features: np.ndarray) -> LeftOut | None:
        return needs.images(len(self.images), 2) or needs.images(len(features), 2, "images to compare with them")


def measure_generated(
    images: np.ndarray, judged: Judged, real: RealImages, settings: EvaluationParams, resampling: Resampling
) -> Numbers:
    """Measure generated images, uint8 (N, C, H, W), and the real images next to them."""
    threshold, wide = settings.recognition_threshold, torch.from_numpy(images).float() / 127.5 - 1
    return {
        "frechet_distance": real.distance(judged, resampling, "frechet"),
        "frechet_floor": real.floor,
        "recognisability": real.classless or resampling.proportion(judged.recognised(threshold)),
        "real_recognisability": real.classless or float(real.test.recognised(threshold).mean()),
        "sharpness_ratio": sharpness_ratio(images, real, resampling),
        **coverage(judged, real, settings, resampling),
        "clipped_share": clipped_share(wide),
        "median_spread": float(spread(wide).median()),
        "samples": len(wide),
    }


def sharpness_ratio(images: np.ndarray, real: RealImages, resampling: Resampling) -> Estimate | LeftOut:
    """Sharpness of images over that of the test images."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = resampling.ratio(sharpness(images), sharpness(real.images), "sharpness")
    if not np.isfinite([ratio.value, ratio.low, ratio.high]).all():
        return LeftOut("too few test images have any detail")
    return ratio


def coverage(judged: Judged, real: RealImages, settings: EvaluationParams, resampling: Resampling) -> Numbers:
    """Precision and recall against the test images, of the generated and of training images.

    Each set is cut to the first `manifold_images`.
    """
    sets = {"test": real.test, "training": real.train, "generated": judged}
    points = {name: reading.features[: settings.manifold_images] for name, reading in sets.items()}
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
