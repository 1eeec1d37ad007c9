"""Interface between the training loop and the methods: datasets on the device, batches and objectives."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from triptych.machine.randomness import Draw, generator


@dataclass(frozen=True)
class Resident:
    """A dataset split on the device. Images are uint8 (N, C, H, W); labels are int64 (N,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)


def resident(images: np.ndarray, labels: np.ndarray, device: torch.device) -> Resident:
    """Copy the images and labels of a dataset split to `device`. Memory-mapped arrays are supported."""
    return Resident(torch.from_numpy(np.array(images)).to(device), torch.from_numpy(np.array(labels)).to(device))


def to_float(images: Tensor) -> Tensor:
    """Convert uint8 images (B, C, H, W) to float32 in [-1, 1], in channels-last memory format."""
    return images.to(torch.float32, memory_format=torch.channels_last).div_(127.5).sub_(1.0)


def epoch_order(count: int, seed: int, epoch: int, device: torch.device) -> Tensor:
    """Return the order of `count` images in an epoch: a permutation that depends only on seed and epoch."""
    return torch.randperm(count, generator=generator("cpu", seed, "order", epoch)).to(device)


@dataclass(frozen=True)
class Batch:
    """Images of a batch, float (B, C, H, W) in [-1, 1], and labels, int64 (B,). Unlabelled images have label -1."""

    images: Tensor
    labels: Tensor


class Objective(nn.Module):
    """Base class of the methods: a loss and the network that it trains.

    Subclasses set `network`, which is saved and evaluated, and implement `forward`. All randomness comes from `draw`.
    """

    network: nn.Module

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar loss of a batch, and a dict of named terms of the loss as detached scalars."""
        raise NotImplementedError

    def parameter_groups(self) -> list[dict]:
        """Return the optimiser's parameter groups. Groups with `constant_rate` keep their base learning rate."""
        return [{"params": [p for p in self.parameters() if p.requires_grad], "constant_rate": False}]

    def after_step(self, progress: float) -> None:
        """Update the method after an optimiser step. `progress` is the completed fraction of the run, in (0, 1]."""
