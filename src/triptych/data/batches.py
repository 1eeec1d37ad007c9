"""Resident data: a whole dataset as uint8 on the device, and the order in which an epoch visits it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from triptych.machine.randomness import generator


@dataclass(frozen=True)
class Resident:
    """A split on the device. images: (N, C, H, W) uint8; labels: (N,) int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)


def resident(images: np.ndarray, labels: np.ndarray, device: torch.device) -> Resident:
    """Copies a (memory-mapped) split to the device once."""
    return Resident(torch.from_numpy(np.array(images)).to(device), torch.from_numpy(np.array(labels)).to(device))


def to_float(images: Tensor) -> Tensor:
    """uint8 (B, C, H, W) -> float32 in [-1, 1], channels last."""
    return images.to(torch.float32, memory_format=torch.channels_last).div_(127.5).sub_(1.0)


def float_batches(images: np.ndarray, size: int, device: torch.device) -> Iterator[Tensor]:
    """Yield uint8 images (N, C, H, W) as float in [-1, 1] on the device, `size` at a time."""
    for start in range(0, len(images), size):
        yield to_float(torch.from_numpy(np.array(images[start : start + size])).to(device))


def to_uint8(images: Tensor) -> Tensor:
    """Float (B, C, H, W) in [-1, 1] -> uint8, rounded and clipped."""
    return images.float().add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def epoch_order(count: int, seed: int, epoch: int, device: torch.device) -> Tensor:
    """The permutation of an epoch: a function of (seed, epoch), the same on every device and process."""
    return torch.randperm(count, generator=generator("cpu", seed, "order", epoch)).to(device)
