"""The passes of a step, recorded once on a GPU as a CUDA graph and launched as one from then on.

A small network's step is thousands of small kernels. Launched one by one they cost the host more than they cost the
chip, which waits: the report's UNet at batches of 64 took 40 ms a step for a few milliseconds of work.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from triptych.machine.device import Machine
from triptych.machine.randomness import Draw
from triptych.training.objective import Batch

# Steps before the recording, launch by launch: in the first, libraries choose their algorithms and take their memory.
WARM_UP = 3

Losses = tuple[Tensor, dict[str, Tensor]]
Passes = Callable[[Batch, Draw], Losses]


class Recorded:
    """Passes that leave gradients behind, and the losses that they return, as a graph.

    What is recorded reads its batch and writes gradients and losses at fixed places in memory, so each call overwrites
    those of the call before. Numbers are those of the passes themselves to the bit: random ones too, whose seed and
    offset a graph reads at each launch.

    Args:
        passes: forward and backward. They must not wait for the device, nor copy from the host.
    """

    def __init__(self, passes: Passes) -> None:
        self.passes = passes
        self.calls = 0
        self.graph = torch.cuda.CUDAGraph()
        self.batch: Batch | None = None
        self.losses: Losses | None = None

    def __call__(self, batch: Batch, draw: Draw) -> Losses:
        """What the passes return for a batch of the size of the first, and the same `draw`, restarted, as the first."""
        self.calls += 1
        if self.calls <= WARM_UP:
            return self._aside(batch, draw)
        if self.batch is None:
            self._record(batch, draw)
        self.batch.images.copy_(batch.images)
        self.batch.labels.copy_(batch.labels)
        self.graph.replay()
        return self.losses

    def _aside(self, batch: Batch, draw: Draw) -> Losses:
        """On a stream that is not the default one, as a recording is: autograd remembers where gradients were made."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            losses = self.passes(batch, draw)
        torch.cuda.current_stream().wait_stream(stream)
        return losses

    def _record(self, batch: Batch, draw: Draw) -> None:
        self.batch = Batch(batch.images.clone(), batch.labels.clone())
        self.graph.register_generator_state(draw.generator)
        with torch.cuda.graph(self.graph):
            self.losses = self.passes(self.batch, draw)


def recorded(passes: Passes, machine: Machine) -> Passes:
    """The passes as a graph where one process has a GPU to itself, elsewhere the passes."""
    alone = machine.device.type == "cuda" and machine.world == 1
    return Recorded(passes) if alone else passes
