"""What the judge is trained to tell: the class of an image, or where there are no classes, how it was turned.

Half the images are blended, which keeps the judge from being certain about images that are no digit.
"""

import torch
from torch import Tensor
from torch.nn import functional

from triptych.judge.model import Classifier
from triptych.machine.randomness import Draw
from triptych.training.objective import Batch, Objective


class ClassificationObjective(Objective):
    """Cross-entropy on images of which half are blended with another (mixup, Zhang et al. 2018, arXiv:1710.09412).

    Trained on plain images alone the judge is sure of most images of pure noise; the blends teach it doubt, and the
    plain half keeps it sure of digits.

    Args:
        network: the judge.
        mixup: largest share of the partner image; a blended image's share is uniform in [0, mixup]. 0 blends nothing.
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


QUARTER_TURNS = 4


class TurnObjective(ClassificationObjective):
    """By how many quarter turns an image was turned (Gidaris et al. 2018, arXiv:1803.07728).

    To tell, a network must know what upright things look like: its features compare images that have no labels.

    Args:
        network: the judge, of QUARTER_TURNS classes.
        mixup: as ClassificationObjective.
    """

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """As ClassificationObjective, on images (B, C, N, N), each turned by a random number of quarters."""
        quarters = draw.integers(0, QUARTER_TURNS, (len(batch.images),))
        return super().forward(Batch(turned(batch.images, quarters), quarters), draw)


def turned(images: Tensor, quarters: Tensor) -> Tensor:
    """Square images (B, C, N, N), each turned counter-clockwise by as many quarters, (B,) int64."""
    every = torch.stack([torch.rot90(images, count, dims=(2, 3)) for count in range(QUARTER_TURNS)])
    chosen = every[quarters, torch.arange(len(images), device=images.device)]
    return chosen.contiguous(memory_format=torch.channels_last)
