"""Conversion of images between 8 bits and floats, and noise that does not depend on the batch size."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from triptych.machine.randomness import generator
from triptych.training.objective import to_float


def float_batches(images: np.ndarray, size: int, device: torch.device) -> Iterator[Tensor]:
    """Convert uint8 images (N, C, H, W) to floats in [-1, 1] on `device`, and yield batches of `size` images."""
    for start in range(0, len(images), size):
        yield to_float(torch.from_numpy(np.array(images[start : start + size])).to(device))


def to_uint8(images: Tensor) -> Tensor:
    """Convert float images (B, C, H, W) in [-1, 1] to uint8. Values are rounded and clipped."""
    return images.float().add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)


# Number of images per generator, since one per image would be slow. A block is always drawn completely.
BLOCK = 64


@dataclass
class ImageNoise:
    """Source of random numbers for images. Each call draws new numbers.

    The numbers of an image do not depend on the batch that contains the image. They differ between CPUs and GPUs.
    """

    seed: int
    purpose: str
    rows: range  # consecutive indices of the images
    shape: tuple[int, ...]  # of the numbers that `normal` draws per image
    device: torch.device | str
    _streams: list[torch.Generator] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        blocks = range(self.rows.start // BLOCK, -(-self.rows.stop // BLOCK))
        self._streams = [generator(self.device, self.seed, self.purpose, block) for block in blocks]

    def normal(self) -> Tensor:
        """Draw standard normal numbers (N, *shape), float32, for the N images of `rows`."""
        size = (BLOCK, *self.shape)
        return self._select([torch.randn(size, generator=stream, device=self.device) for stream in self._streams])

    def integers(self, low: int, high: int) -> Tensor:
        """Draw an integer from [low, high) for each of the N images of `rows`: (N,) int64."""
        streams = self._streams
        return self._select([torch.randint(low, high, (BLOCK,), generator=s, device=self.device) for s in streams])

    def _select(self, blocks: list[Tensor]) -> Tensor:
        first = self.rows.start % BLOCK
        return torch.cat(blocks)[first : first + len(self.rows)]
