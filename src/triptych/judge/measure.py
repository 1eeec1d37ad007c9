"""Output of the judge (the reference classifier) for images, and the accuracy of the judge."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from triptych.data.storage import Dataset
from triptych.judge.model import Classifier
from triptych.measures import needs
from triptych.measures.estimate import Estimate, LeftOut
from triptych.measures.images import float_batches
from triptych.measures.intervals import proportion
from triptych.nn.weights import load_model


@dataclass(frozen=True)
class Judged:
    """Output of the judge (the reference classifier) for N images."""

    features: np.ndarray  # float32 of shape (N, d), the input of the last layer
    probabilities: np.ndarray  # float32 of shape (N, classes)

    def recognised(self, threshold: float) -> np.ndarray:
        """Return a mask (N,) that is True for images whose highest class probability is at least `threshold`."""
        return self.probabilities.max(axis=1) >= threshold

    def classes(self) -> np.ndarray:
        """Return the index of the most probable class of each image, as an array of shape (N,)."""
        return self.probabilities.argmax(axis=1)


class Judge:
    """The trained reference classifier. A call with uint8 images returns their features and class probabilities."""

    def __init__(self, network: Classifier, device: torch.device, batch_size: int) -> None:
        self.network, self.device, self.batch_size = network.eval(), device, batch_size

    @classmethod
    def load(cls, folder: Path, device: torch.device, batch_size: int) -> "Judge":
        """Load the reference classifier from a model folder. `batch_size` is the number of images per network call."""
        return cls(load_model(folder, Classifier, device)[0], device, batch_size)

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> Judged:
        """Return the classifier's features and class probabilities for uint8 images of shape (N, C, H, W)."""
        features, probabilities = [], []
        for batch in float_batches(images, self.batch_size, self.device):
            hidden = self.network.backbone(batch)
            features.append(hidden.float().cpu())
            probabilities.append(self.network.head(hidden).float().softmax(dim=1).cpu())
        return Judged(torch.cat(features).numpy(), torch.cat(probabilities).numpy())


def judge_quality(judged: Judged, dataset: Dataset, threshold: float, level: float) -> dict[str, Estimate | LeftOut]:
    """Return the test accuracy of the reference classifier, and the fraction of test images that it recognises.

    `judged` is the classifier's output for the test images. An image is recognised if its highest class probability is
    at least `threshold`. `level` is the confidence level of the intervals. If the dataset has no class labels, both
    values are `LeftOut`.
    """
    classless, labels = needs.two_classes(dataset), np.asarray(dataset.test.labels)
    return {
        "test_accuracy": classless or proportion(judged.classes() == labels, level),
        "test_recognisability": classless or proportion(judged.recognised(threshold), level),
    }
