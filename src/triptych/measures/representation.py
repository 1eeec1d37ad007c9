"""What an encoder makes of images, and the numbers that are read while it trains."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from triptych.data.batches import to_float
from triptych.data.storage import Dataset
from triptych.measures.collapse import effective_rank, embedding_std
from triptych.measures.neighbours import knn_classes
from triptych.ssl.shared.network import SiameseNetwork
from triptych.ssl.shared.params import KNNParams

# Images at a time: bounds the memory of a measurement.
BLOCK = 500


@dataclass(frozen=True)
class Encoded:
    """N images after an encoder. backbone: features (N, d); projector: embeddings (N, dim); both float32."""

    backbone: Tensor
    projector: Tensor

    def features(self, kind: str) -> Tensor:
        """Those that the nearest neighbours are sought by: `backbone`, as the field does, or `projector`."""
        return getattr(self, kind)


@torch.inference_mode()
def encode(network: SiameseNetwork, images: np.ndarray | Tensor, device: torch.device, block: int = BLOCK) -> Encoded:
    """Features and embeddings of uint8 images (N, C, H, W), in eval mode, without augmentation."""
    network.eval()
    backbone, projector = [], []
    for start in range(0, len(images), block):
        part = torch.as_tensor(np.array(images[start : start + block])).to(device)
        features = network.backbone(to_float(part))
        backbone.append(features.float())
        projector.append(network.projector(features).float())
    return Encoded(torch.cat(backbone), torch.cat(projector))


def knn_correct(train: Encoded, test: Encoded, dataset: Dataset, knn: KNNParams) -> np.ndarray:
    """(N,) whether each test image gets its label by the votes of its nearest training images."""
    labels = torch.from_numpy(np.array(dataset.train.labels))
    found = knn_classes(
        test.features(knn.features), train.features(knn.features), labels, knn.neighbours, knn.temperature
    )
    return found.cpu().numpy() == np.asarray(dataset.test.labels)


def watcher(
    dataset: Dataset,
    knn: KNNParams,
    device: torch.device,
    precision: Callable[[], AbstractContextManager] = nullcontext,
) -> Callable[[nn.Module, int], dict[str, float]]:
    """The measurement of a network in training: accuracy of all test images, and signs of collapse.

    `knn_accuracy` is left out where the dataset has no labels. `test_embedding_std` and `effective_rank` are of the
    embeddings of the test images. Images are encoded under `precision`: that of the training, whose course this shows.
    """

    def encoded(network: nn.Module, images: np.ndarray) -> Encoded:
        with precision():
            return encode(network, images, device)

    def watch(network: nn.Module, epoch: int) -> dict[str, float]:
        test = encoded(network, dataset.test.images)
        numbers = {
            "test_embedding_std": embedding_std(test.projector),
            "effective_rank": effective_rank(test.projector),
        }
        if dataset.labelled:
            train = encoded(network, dataset.train.images)
            numbers["knn_accuracy"] = float(knn_correct(train, test, dataset, knn).mean())
        return numbers

    return watch


def watched_epochs(every: int, epochs: int) -> tuple[int, ...]:
    """The first epoch, every few, and the last."""
    return tuple(sorted({1, *range(every, epochs + 1, every), epochs}))
