"""Readings of images by the judge, and the judge's own quality."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from triptych.data.storage import Dataset
from triptych.judge.model import Classifier
from triptych.measures import needs
from triptych.measures.estimate import Estimate, LeftOut
from triptych.measures.intervals import proportion
from triptych.nn.weights import load_model
from triptych.training.objective import float_batches


@dataclass(frozen=True)
class Judged:
    """The judge's reading of N images. features: (N, d) float32; probabilities: (N, classes) float32."""

    features: np.ndarray
    probabilities: np.ndarray

    def recognised(self, threshold: float) -> np.ndarray:
        """(N,) true where the judge gives some class at least this probability."""
        return self.probabilities.max(axis=1) >= threshold

    def classes(self) -> np.ndarray:
        """(N,) the likeliest class."""
        return self.probabilities.argmax(axis=1)


class Judge:
    """The trained classifier, applied to stored uint8 images."""

    def __init__(self, network: Classifier, device: torch.device, batch_size: int) -> None:
        self.network, self.device, self.batch_size = network.eval(), device, batch_size

    @classmethod
    def load(cls, folder: Path, device: torch.device, batch_size: int) -> "Judge":
        """Load the judge that the stage `classifier` trained."""
        return cls(load_model(folder, Classifier, device)[0], device, batch_size)

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> Judged:
        """Features and probabilities of (N, C, H, W) uint8 images."""
        features, probabilities = [], []
        for batch in float_batches(images, self.batch_size, self.device):
            hidden = self.network.backbone(batch)
            features.append(hidden.float().cpu())
            probabilities.append(self.network.head(hidden).float().softmax(dim=1).cpu())
        return Judged(torch.cat(features).numpy(), torch.cat(probabilities).numpy())


def judge_quality(judged: Judged, dataset: Dataset, threshold: float, level: float) -> dict[str, Estimate | LeftOut]:
    """Share of the test images that the judge classifies correctly, and share that it recognises.

    Args:
        judged: reading of the test images.
        dataset: their dataset.
        threshold: least probability of a recognised image.
        level: of the intervals.
    """
    classless, labels = needs.two_classes(dataset), np.asarray(dataset.test.labels)
    return {
        "test_accuracy": classless or proportion(judged.classes() == labels, level),
        "test_recognisability": classless or proportion(judged.recognised(threshold), level),
    }
