"""Gradients of workers that share memory, added up after the backward pass."""

import torch
import torch.distributed as dist
from torch import nn


class GradientSum:
    """Replaces every gradient by its sum over the processes.

    All lie in one stretch of memory, so that they are exchanged at once. Gradients have the memory layout of their
    parameters; they are read and written in the order in which they lie.

    Args:
        module: whose parameters are trained.
    """

    def __init__(self, module: nn.Module) -> None:
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.flat = torch.empty(sum(p.numel() for p in self.parameters))
        pieces = self.flat.split([p.numel() for p in self.parameters])
        self.sums = [piece.as_strided(p.shape, p.stride()) for p, piece in zip(self.parameters, pieces, strict=True)]

    @torch.no_grad()
    def share(self) -> None:
        """Gives every parameter the sum of its gradients; those without one, on all processes alike, keep none."""
        for parameter, total in zip(self.parameters, self.sums, strict=True):
            if parameter.grad is None:
                total.zero_()
            else:
                total.copy_(parameter.grad)
                parameter.grad = total
        dist.all_reduce(self.flat)
