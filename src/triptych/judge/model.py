"""Network and training objectives of the judge, the classifier that evaluates generated images.

The judge predicts the class of an image or, if the dataset has no classes, the rotation of the image in quarter turns.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.machine.randomness import Draw
from triptych.nn.backbones import SmallResNet
from triptych.training.objective import Batch, Objective

QUARTER_TURNS = 4


class Classifier(nn.Module):
    """Small ResNet with a linear classification head. `SmallResNet` explains `width`, `blocks` and `stem_stride`."""

    def __init__(self, in_channels: int, classes: int, width: int, blocks: list[int], stem_stride: int) -> None:
        super().__init__()
        self.backbone = SmallResNet(in_channels, width, blocks, stem_stride)
        self.head = nn.Linear(self.backbone.feature_size, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of shape (B, classes) for images of shape (B, C, H, W) with values in [-1, 1]."""
        return self.head(self.backbone(images))


class ClassificationObjective(Objective):
    """Cross-entropy loss. On average, mixup (Zhang et al. 2018, arXiv:1710.09412) is applied to half of the images.

    A mixed image is the weighted mean of two images. The weight of the second image is uniform in [0, mixup]. Mixup
    lowers the classifier's confidence about images of pure noise.
    """

    def __init__(self, network: Classifier, mixup: float) -> None:
        super().__init__()
        self.network, self.mixup = network, mixup

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean cross-entropy in nats, and a dict with the accuracy for the labels before mixup."""
        share = self.mixup * (2 * draw.uniform((len(batch.images), 1))[:, 0] - 1).clamp(min=0)
        weight = share.view(-1, 1, 1, 1).to(batch.images.dtype)
        # The partner is the neighbour in the batch, which is shuffled already.
        images = torch.lerp(batch.images, batch.images.roll(1, dims=0), weight)
        logits = self.network(images).float()
        partner = batch.labels.roll(1, dims=0)
        own_loss = functional.cross_entropy(logits, batch.labels, reduction="none")
        partner_loss = functional.cross_entropy(logits, partner, reduction="none")
        loss = torch.lerp(own_loss, partner_loss, share).mean()
        accuracy = (logits.argmax(dim=1) == batch.labels).float().mean()
        return loss, {"accuracy": accuracy.detach()}


class TurnObjective(ClassificationObjective):
    """Cross-entropy loss for predicting an image's number of quarter turns (Gidaris et al. 2018, arXiv:1803.07728).

    The task requires features of the shapes of objects. Such features are suitable for comparing unlabelled images.
    """

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean cross-entropy in nats, and a dict with the accuracy, for randomly rotated images."""
        quarters = draw.integers(0, QUARTER_TURNS, (len(batch.images),))
        return super().forward(Batch(turned(batch.images, quarters), quarters), draw)


def turned(images: Tensor, quarters: Tensor) -> Tensor:
    """Rotate images (B, C, N, N) counter-clockwise. `quarters` (B,) gives the number of quarter turns of each image."""
    turns = torch.stack([torch.rot90(images, count, dims=(2, 3)) for count in range(QUARTER_TURNS)])
    chosen = turns[quarters, torch.arange(len(images), device=images.device)]
    return chosen.contiguous(memory_format=torch.channels_last)
