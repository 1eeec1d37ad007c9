"""The judge, a classifier that reads generated images: its network, and its training objectives.

It learns the class of an image, or, of images without classes, by how much each was turned.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.machine.randomness import Draw
from triptych.nn.backbones import SmallResNet
from triptych.training.objective import Batch, Objective

QUARTER_TURNS = 4


class Classifier(nn.Module):
    """A small ResNet with a linear head; see SmallResNet for width, blocks and stem_stride."""

    def __init__(self, in_channels: int, classes: int, width: int, blocks: list[int], stem_stride: int) -> None:
        super().__init__()
        self.backbone = SmallResNet(in_channels, width, blocks, stem_stride)
        self.head = nn.Linear(self.backbone.feature_size, classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> logits (B, classes)."""
        return self.head(self.backbone(images))


class ClassificationObjective(Objective):
    """Cross-entropy on images of which half are blended with another (mixup, Zhang et al. 2018, arXiv:1710.09412).

    Trained on plain images alone, the judge is sure of most images of pure noise. The blends teach it doubt; the plain
    half keeps it sure of digits.

    Args:
        network: the judge.
        mixup: largest share of the partner image; the share is uniform in [0, mixup]. 0 blends nothing.
    """

    def __init__(self, network: Classifier, mixup: float) -> None:
        super().__init__()
        self.network = network
        self.mixup = mixup

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean cross-entropy in nats; term `accuracy` on the blended images' main labels."""
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
    """Classification of images by quarter turns (Gidaris et al. 2018, arXiv:1803.07728), with QUARTER_TURNS classes.

    The network must learn what upright things look like, so its features compare images that have no labels.
    """

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """Classify by how many quarter turns each image (B, C, N, N) was rotated at random."""
        quarters = draw.integers(0, QUARTER_TURNS, (len(batch.images),))
        return super().forward(Batch(turned(batch.images, quarters), quarters), draw)


def turned(images: Tensor, quarters: Tensor) -> Tensor:
    """Turn square images (B, C, N, N) counter-clockwise by `quarters`, (B,) int64."""
    turns = torch.stack([torch.rot90(images, count, dims=(2, 3)) for count in range(QUARTER_TURNS)])
    chosen = turns[quarters, torch.arange(len(images), device=images.device)]
    return chosen.contiguous(memory_format=torch.channels_last)
