"""What generated images are worth, by the judge and by themselves: the same numbers for every generative study."""

import numpy as np
import torch

from triptych.data.storage import Dataset
from triptych.judge.measure import Judge, Judged
from triptych.measures import needs
from triptych.measures.degeneracy import clipped_share, spread
from triptych.measures.estimate import Estimate, LeftOut
from triptych.measures.frechet import FrechetReference, estimated_distance
from triptych.measures.intervals import Resampling
from triptych.measures.manifolds import Manifold, precision_recall
from triptych.measures.params import EvaluationParams
from triptych.measures.sharpness import sharpness

Numbers = dict[str, float | Estimate | LeftOut]
# What samples drawn in another way from the same weights are compared by.
COMPARED = ("frechet_distance", "recognisability", "sharpness_ratio", "precision", "recall")


class RealImages:
    """The images that generated ones are held against, seen by the judge once.

    Args:
        dataset: the test images are what generated ones should be like; as many training images as are generated set
            the floors that no generator can beat.
        judge: sees them.
        count: how many images are generated.

    Attributes:
        images: the test images, uint8 (M, C, H, W).
        test, train: what the judge says of the test images, and of the training images.
        reference: the test images' features, to measure Fréchet distances from; None of a single image.
        classless: why no class can be read in images; None where the judge knows two or more.
    """

    def __init__(self, dataset: Dataset, judge: Judge, count: int) -> None:
        self.images = np.asarray(dataset.test.images)
        self.test, self.train = judge(dataset.test.images), judge(dataset.train.images[:count])
        self.reference = FrechetReference(self.test.features) if len(self.images) > 1 else None
        self.classless = needs.two_classes(dataset)

    def distance(self, judged: Judged, resampling: Resampling, purpose: str) -> Estimate | LeftOut:
        """The Fréchet distance of generated images to the test images; `purpose` names the stream of resamples."""
        few = self._too_few(judged.features)
        return few or estimated_distance(judged.features, self.reference, resampling, purpose)

    @property
    def floor(self) -> float | LeftOut:
        """The Fréchet distance of training images to the test images."""
        return self._too_few(self.train.features) or self.reference.distance(self.train.features)

    def _too_few(self, features: np.ndarray) -> LeftOut | None:
        """Why there is no Fréchet distance between the test images and those of these features."""
        return needs.images(len(self.images), 2) or needs.images(len(features), 2, "images to compare with them")


def measure_generated(
    images: np.ndarray, judged: Judged, real: RealImages, settings: EvaluationParams, resampling: Resampling
) -> Numbers:
    """All numbers of a set of generated images, with the values of real images beside them.

    Args:
        images: uint8 (N, C, H, W).
        judged: what the judge says of them.
        real: what they are held against.
        settings: the judge's threshold, and what makes a manifold.
        resampling: how intervals are made.
    """
    return {
        **distribution(judged, real, resampling),
        **recognition(judged, real, settings.recognition_threshold, resampling),
        "sharpness_ratio": sharpness_ratio(images, real, resampling),
        **coverage(judged, real, settings, resampling),
        **health(images),
    }


def distribution(judged: Judged, real: RealImages, resampling: Resampling) -> Numbers:
    """The Fréchet distance to the test images, and that of training images."""
    return {
        "frechet_distance": real.distance(judged, resampling, "frechet"),
        "frechet_floor": real.floor,
    }


def recognition(judged: Judged, real: RealImages, threshold: float, resampling: Resampling) -> Numbers:
    """The share of images in which the judge recognises some class, and that of test images."""
    return {
        "recognisability": real.classless or resampling.proportion(judged.recognised(threshold)),
        "real_recognisability": real.classless or float(real.test.recognised(threshold).mean()),
    }


def sharpness_ratio(images: np.ndarray, real: RealImages, resampling: Resampling) -> Estimate | LeftOut:
    """The sharpness of images over that of the test images."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = resampling.ratio(sharpness(images), sharpness(real.images), "sharpness")
    if not np.isfinite([found.value, found.low, found.high]).all():
        return LeftOut("too few test images have any detail")
    return found


def coverage(judged: Judged, real: RealImages, settings: EvaluationParams, resampling: Resampling) -> Numbers:
    """Precision and recall against the test images, and those of training images: the most that could be.

    Of the first images of each kind, as many as a manifold takes.
    """
    sets = {"test": real.test, "training": real.train, "generated": judged}
    points = {name: judged_set.features[: settings.manifold_images] for name, judged_set in sets.items()}
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


def health(images: np.ndarray) -> Numbers:
    """Whether they are images at all: values clipped, how much a median image varies, and how many there are."""
    wide = torch.from_numpy(images).float() / 127.5 - 1
    return {
        "clipped_share": clipped_share(wide),
        "median_spread": float(spread(wide).median()),
        "samples": len(wide),
    }
