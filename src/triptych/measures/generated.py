"""What generated images are worth, by the judge and by themselves: the same numbers for every generative study."""

import numpy as np
import torch

from triptych.data.storage import Dataset
from triptych.measures.frechet import FrechetReference, estimated_distance
from triptych.measures.judge import Judge, Judged
from triptych.measures.manifolds import precision_recall
from triptych.measures.params import EvaluationParams
from triptych.measures.sharpness import sharpness
from triptych.sampling.degeneracy import clipped_share, spread
from triptych.statistics.estimate import Estimate
from triptych.statistics.intervals import Resampling

Numbers = dict[str, float | Estimate]
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
        reference: the test images' features, to measure Fréchet distances from.
    """

    def __init__(self, dataset: Dataset, judge: Judge, count: int) -> None:
        self.images = np.asarray(dataset.test.images)
        self.test, self.train = judge(dataset.test.images), judge(dataset.train.images[:count])
        self.reference = FrechetReference(self.test.features)


def measure_generated(
    images: np.ndarray, judged: Judged, real: RealImages, settings: EvaluationParams, resampling: Resampling
) -> Numbers:
    """All numbers of a set of generated images, with the values of real images beside them.

    Args:
        images: uint8 (N, C, H, W).
        judged: what the judge says of them.
        real: what they are held against.
        settings: the judge's threshold and the size of the manifolds.
        resampling: how intervals are made.
    """
    return {
        **distribution(judged, real, resampling),
        **recognition(judged, real, settings.recognition_threshold, resampling),
        "sharpness_ratio": resampling.ratio(sharpness(images), sharpness(real.images), "sharpness"),
        **coverage(judged, real, settings.manifold_neighbours, resampling),
        **health(images),
    }


def distribution(judged: Judged, real: RealImages, resampling: Resampling) -> Numbers:
    """The Fréchet distance to the test images, and that of training images."""
    return {
        "frechet_distance": estimated_distance(judged.features, real.reference, resampling, "frechet"),
        "frechet_floor": real.reference.distance(real.train.features),
    }


def recognition(judged: Judged, real: RealImages, threshold: float, resampling: Resampling) -> Numbers:
    """The share of images in which the judge recognises some class, and that of test images."""
    return {
        "recognisability": resampling.proportion(judged.recognised(threshold)),
        "real_recognisability": float(real.test.recognised(threshold).mean()),
    }


def coverage(judged: Judged, real: RealImages, neighbours: int, resampling: Resampling) -> Numbers:
    """Precision and recall against the test images, and those of training images: the most that could be."""
    precision, recall = precision_recall(judged.features, real.test.features, neighbours)
    best_precision, best_recall = precision_recall(real.train.features, real.test.features, neighbours)
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
