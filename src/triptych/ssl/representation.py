"""What an encoder makes of images, without augmentation, and which of them its features classify."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from triptych.data.storage import Dataset
from triptych.measures.neighbours import knn_classes
from triptych.measures.params import KNNParams
from triptych.ssl.probe import PROBE_ITERATIONS, linear_classes
from triptych.ssl.shared.network import SiameseNetwork
from triptych.training.objective import to_float


@dataclass(frozen=True)
class Encoded:
    """N images after an encoder. backbone: features (N, d); projector: embeddings (N, dim); both float32."""

    backbone: Tensor
    projector: Tensor

    def features(self, kind: str) -> Tensor:
        """Those that the nearest neighbours are sought by: `backbone`, as the field does, or `projector`."""
        return getattr(self, kind)


@torch.inference_mode()
def encode(network: SiameseNetwork, images: np.ndarray, device: torch.device, batch_size: int) -> Encoded:
    """Features and embeddings of uint8 images (N, C, H, W), in eval mode, `batch_size` images at once."""
    network.eval()
    backbone = backbone_features(network.backbone, images, device, batch_size)
    projector = [network.projector(part).float() for part in backbone.split(batch_size)]
    return Encoded(backbone, torch.cat(projector))


@torch.inference_mode()
def backbone_features(backbone: nn.Module, images: np.ndarray, device: torch.device, batch_size: int) -> Tensor:
    """(N, d) float32 features of uint8 images (N, C, H, W), in eval mode, `batch_size` images at once."""
    backbone.eval()
    starts = range(0, len(images), batch_size)
    parts = (torch.as_tensor(np.array(images[start : start + batch_size])).to(device) for start in starts)
    return torch.cat([backbone(to_float(part)).float() for part in parts])


def knn_correct(train: Tensor, test: Tensor, dataset: Dataset, knn: KNNParams) -> np.ndarray:
    """(N,) whether each test image gets its label by the votes of its nearest training images; of features (…, d)."""
    labels = torch.from_numpy(np.array(dataset.train.labels))
    found = knn_classes(test, train, labels, knn.neighbours, knn.temperature)
    return found.cpu().numpy() == np.asarray(dataset.test.labels)


def linear_correct(
    train: Tensor, test: Tensor, dataset: Dataset, penalty: float, iterations: int = PROBE_ITERATIONS
) -> np.ndarray:
    """(N,) whether each test image gets its label by the linear probe of features (…, d); see `fit_probe`."""
    found = linear_classes(train, torch.from_numpy(np.array(dataset.train.labels)), test, penalty, iterations)
    return found.cpu().numpy() == np.asarray(dataset.test.labels)
