"""Interface between the training loop and the methods: datasets on the device, batches and objectives."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from triptych.machine.randomness import Draw, generator


@dataclass(frozen=True)
class Resident:
    """Dataset split on a device: uint8 images of shape (N, C, H, W), and int64 labels of shape (N,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)


def resident(images: np.ndarray, labels: np.ndarray, device: torch.device) -> Resident:
    """Copy the images and labels of a dataset split to `device`. The arrays can be memory-mapped."""
    return Resident(torch.from_numpy(np.array(images)).to(device), torch.from_numpy(np.array(labels)).to(device))


def to_float(images: Tensor) -> Tensor:
    """Convert uint8 images of shape (B, C, H, W) to float32 values in [-1, 1], in channels-last memory format."""
    return images.to(torch.float32, memory_format=torch.channels_last).div_(127.5).sub_(1.0)


def epoch_order(count: int, seed: int, epoch: int, device: torch.device) -> Tensor:
    """Return the order of images in an epoch: a permutation of `count` indices, determined by `seed` and `epoch`."""
    return torch.randperm(count, generator=generator("cpu", seed, "order", epoch)).to(device)


@dataclass(frozen=True)
class Batch:
    """Float32 images of shape (B, C, H, W) in [-1, 1], and int64 labels of shape (B,). Label -1 means unlabelled."""

    images: Tensor
    labels: Tensor


class Objective(nn.Module):
    """Base class of the training methods. An objective has a loss, and the network that is trained with this loss.

    Subclasses set `network`, which is saved and evaluated. Their `forward` takes all random numbers from `draw`.
    """

    network: nn.Module

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar loss of a batch, and a dict of detached scalars to record, such as terms of the loss."""
        raise NotImplementedError

    def parameter_groups(self) -> list[dict]:
        """Return parameter groups for the optimiser. Groups whose `constant_rate` is True ignore the rate schedule."""
        return [{"params": [p for p in self.parameters() if p.requires_grad], "constant_rate": False}]

    def after_step(self, progress: float) -> None:
        """Hook that is called after each optimiser step. `progress` is the completed fraction of the run, in (0, 1]."""
