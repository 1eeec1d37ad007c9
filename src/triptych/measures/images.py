"""Conversion of images between 8-bit integers and floats, and random numbers that do not depend on the batch size."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from triptych.machine.randomness import generator
from triptych.training.objective import to_float


def float_batches(images: np.ndarray, size: int, device: torch.device) -> Iterator[Tensor]:
    """Convert uint8 images (N, C, H, W) to floats in [-1, 1] on `device`, and yield at most `size` at a time."""
    for start in range(0, len(images), size):
        yield to_float(torch.from_numpy(np.array(images[start : start + size])).to(device))


def in_float64(x: Tensor) -> Tensor:
    """Return x in float64, without gradients. A tensor on MPS is moved to the CPU, because MPS lacks float64."""
    return x.detach().to("cpu" if x.device.type == "mps" else x.device, torch.float64)


def to_uint8(images: Tensor) -> Tensor:
    """Convert float images from [-1, 1] to integers from 0 to 255. Values outside [-1, 1] are clipped."""
    return images.float().add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)


# Number of images per generator, since one per image would be slow. A block is always drawn completely.
BLOCK = 64


@dataclass
class ImageNoise:
    """Random numbers for a batch of N images. Each method call draws new numbers.

    The numbers for an image do not depend on the other images in the batch. CPUs and GPUs draw different numbers.
    """

    seed: int
    purpose: str  # name of the random stream
    rows: range  # consecutive indices of the images
    shape: tuple[int, ...]  # shape of the numbers that `normal` draws for one image
    device: torch.device | str
    _streams: list[torch.Generator] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        blocks = range(self.rows.start // BLOCK, -(-self.rows.stop // BLOCK))
        self._streams = [generator(self.device, self.seed, self.purpose, block) for block in blocks]

    def normal(self) -> Tensor:
        """Draw standard normal numbers for the N images, as a float32 tensor of shape (N, *self.shape)."""
        size = (BLOCK, *self.shape)
        return self._select([torch.randn(size, generator=stream, device=self.device) for stream in self._streams])

    def integers(self, low: int, high: int) -> Tensor:
        """Draw a random integer in [low, high) for each of the N images, as an int64 tensor of shape (N,)."""
        streams = self._streams
        return self._select([torch.randint(low, high, (BLOCK,), generator=s, device=self.device) for s in streams])

    def _select(self, blocks: list[Tensor]) -> Tensor:
        first = self.rows.start % BLOCK
        return torch.cat(blocks)[first : first + len(self.rows)]
