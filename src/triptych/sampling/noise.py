"""Noise as a function of (seed, purpose, index of the image, number of the call).

Neither the size of a batch, nor how many images are asked for, nor which process draws which of them changes an image.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from triptych.core.randomness import generator

# Images that share a stream. A generator for each image would be slow; a block is drawn whole, whichever of its images
# are wanted.
BLOCK = 64


@dataclass
class ImageNoise:
    """Random numbers for images `rows`; each call gives new ones.

    Args:
        seed, purpose: what the streams depend on, besides the image.
        rows: indices of the images, consecutive.
        shape: of what is drawn for one image by `normal`.
        device: where the numbers are made; another kind of device makes others.
    """

    seed: int
    purpose: str
    rows: range
    shape: tuple[int, ...]
    device: torch.device | str
    _streams: list[torch.Generator] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        blocks = range(self.rows.start // BLOCK, -(-self.rows.stop // BLOCK))
        self._streams = [generator(self.device, self.seed, self.purpose, block) for block in blocks]

    def normal(self) -> Tensor:
        """Standard normal numbers, (rows, *shape) float32."""
        size = (BLOCK, *self.shape)
        return self._wanted([torch.randn(size, generator=stream, device=self.device) for stream in self._streams])

    def integers(self, low: int, high: int) -> Tensor:
        """One integer in [low, high) for each image, (rows,) int64."""
        draws = [torch.randint(low, high, (BLOCK,), generator=stream, device=self.device) for stream in self._streams]
        return self._wanted(draws)

    def _wanted(self, blocks: list[Tensor]) -> Tensor:
        """The rows that are asked for, from whole blocks."""
        first = self.rows.start % BLOCK
        return torch.cat(blocks)[first : first + len(self.rows)]
