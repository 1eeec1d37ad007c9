"""Randomness as a function of (seed, purpose, step): no generator state to save, and any step can be replayed."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from triptych.core.seeds import fold


def generator(device: torch.device | str, *parts: int | str) -> torch.Generator:
    """A generator on `device` whose stream depends on `parts` alone."""
    return torch.Generator(device=device).manual_seed(fold(*parts))


@dataclass
class Draw:
    """The random numbers of one step, for the rows of the global batch that this process holds.

    Each call draws for the whole global batch and keeps its own rows, so that any number of processes sees the same
    noise as one process would. The first dimension of every shape is the batch.

    Args:
        device: where the numbers are made.
        parts: what the stream depends on: seed, purpose, step.
        row: the first row of the global batch that is ours.
        rows: the size of the global batch; 0 means that the local batch is the whole of it.
    """

    device: torch.device | str
    parts: tuple[int | str, ...]
    row: int = 0
    rows: int = 0
    generator: torch.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.generator = generator(self.device, *self.parts)

    def restart(self, *parts: int | str) -> None:
        """Goes on with the numbers of other parts, from the same generator: a recorded step knows no other."""
        self.parts = parts
        self.generator.manual_seed(fold(*parts))

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Standard normal numbers of the given (local) shape."""
        return self._mine(torch.randn(self._whole(shape), generator=self.generator, device=self.device), shape)

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """Uniform numbers in [0, 1)."""
        return self._mine(torch.rand(self._whole(shape), generator=self.generator, device=self.device), shape)

    def integers(self, low: int, high: int, shape: tuple[int, ...]) -> Tensor:
        """Integers in [low, high), int64."""
        whole = torch.randint(low, high, self._whole(shape), generator=self.generator, device=self.device)
        return self._mine(whole, shape)

    def _whole(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.rows or shape[0], *shape[1:])

    def _mine(self, whole: Tensor, shape: tuple[int, ...]) -> Tensor:
        return whole[self.row : self.row + shape[0]] if self.rows else whole


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
