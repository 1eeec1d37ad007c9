"""Images during sampling and measuring: batches of floats, conversion to 8 bits, and noise that belongs to images."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from triptych.machine.randomness import generator
from triptych.training.objective import to_float


def float_batches(images: np.ndarray, size: int, device: torch.device) -> Iterator[Tensor]:
    """Yield batches of `size` images as floats in [-1, 1] on the device, from uint8 images (N, C, H, W)."""
    for start in range(0, len(images), size):
        yield to_float(torch.from_numpy(np.array(images[start : start + size])).to(device))


def to_uint8(images: Tensor) -> Tensor:
    """Convert floats (B, C, H, W) in [-1, 1] to uint8, rounded and clipped."""
    return images.float().add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)


# Number of images per generator, since one per image would be slow. A block is always drawn completely.
BLOCK = 64


@dataclass
class ImageNoise:
    """Random numbers per image, independent of the batches in which images are processed. Each call draws new ones.

    The numbers differ between CPUs and GPUs.
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
        """Draw standard normal numbers, (rows, *shape) float32."""
        size = (BLOCK, *self.shape)
        return self._select([torch.randn(size, generator=stream, device=self.device) for stream in self._streams])

    def integers(self, low: int, high: int) -> Tensor:
        """Draw one integer in [low, high) per image, (rows,) int64."""
        streams = self._streams
        return self._select([torch.randint(low, high, (BLOCK,), generator=s, device=self.device) for s in streams])

    def _select(self, blocks: list[Tensor]) -> Tensor:
        first = self.rows.start % BLOCK
        return torch.cat(blocks)[first : first + len(self.rows)]
