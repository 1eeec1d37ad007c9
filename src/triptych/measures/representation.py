"""What an encoder makes of images, without augmentation, and which of them its features classify."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from triptych.data.batches import to_float
from triptych.data.storage import Dataset
from triptych.measures.neighbours import knn_classes
from triptych.measures.params import KNNParams
from triptych.ssl.shared.network import SiameseNetwork


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
    backbone, projector = [], []
    for start in range(0, len(images), batch_size):
        part = torch.as_tensor(np.array(images[start : start + batch_size])).to(device)
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
