"""Random numbers determined by seed, purpose and step, so that checkpoints need no generator state."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from triptych.core.seeds import fold


def generator(device: torch.device | str, *names: int | str) -> torch.Generator:
    """Return a torch generator on `device`, with a seed derived from `names`, for example (seed, purpose, step)."""
    return torch.Generator(device=device).manual_seed(fold(*names))


@dataclass
class Draw:
    """Random numbers for one training step.

    In data-parallel training, each method draws numbers for the global batch and returns the rows of this process. The
    numbers do not depend on the number of processes. The argument `shape` is the shape of the returned rows.
    """

    device: torch.device | str
    names: tuple[int | str, ...]  # seed, purpose, step
    row: int = 0  # first row of this process in the global batch
    rows: int = 0  # size of the global batch; 0 if this process has all of it
    generator: torch.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.generator = generator(self.device, *self.names)

    def restart(self, *names: int | str) -> None:
        """Reseed the generator from `names`. The generator object is not replaced, because CUDA graphs refer to it."""
        self.names = names
        self.generator.manual_seed(fold(*names))

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Draw a tensor of shape `shape` from the standard normal distribution."""
        return self._local(torch.randn(self._global(shape), generator=self.generator, device=self.device), shape)

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """Draw a tensor of shape `shape` from the uniform distribution on [0, 1)."""
        return self._local(torch.rand(self._global(shape), generator=self.generator, device=self.device), shape)

    def integers(self, low: int, high: int, shape: tuple[int, ...]) -> Tensor:
        """Draw an int64 tensor of shape `shape` from the uniform distribution over the integers in [low, high)."""
        size = self._global(shape)
        return self._local(torch.randint(low, high, size, generator=self.generator, device=self.device), shape)

    def _global(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.rows or shape[0], *shape[1:])

    def _local(self, numbers: Tensor, shape: tuple[int, ...]) -> Tensor:
        return numbers[self.row : self.row + shape[0]] if self.rows else numbers
