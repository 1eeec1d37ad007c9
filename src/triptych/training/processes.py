"""Batch norm over the global batch of several processes, on any backend."""

import torch
import torch.distributed as dist
from torch import Tensor, nn

from triptych.machine.workers import summed
from triptych.nn.fast.norm import BatchNorm


class GlobalBatchNorm(BatchNorm):
    """Batch norm whose statistics are those of all processes together.

    torch's own SyncBatchNorm runs on GPUs only; this one also runs on gloo, so that a laptop can test what a
    cluster computes. Every process holds equally many rows.
    """

    over_processes = True

    def torch_norm(self, x: Tensor) -> Tensor:
        """Normalise (B, C, ...) by the mean and variance over all processes and all axes but that of channels."""
        if not self.training:
            return super().torch_norm(x)
        wide = x.float()
        others = [axis for axis in range(x.dim()) if axis != 1]
        moments = torch.stack([wide.mean(dim=others), wide.square().mean(dim=others)])
        mean, square = summed(moments) / dist.get_world_size()
        variance = (square - mean.square()).clamp(min=0)
        if self.track_running_stats:
            count = dist.get_world_size() * x[:, 0].numel()
            with torch.no_grad():
                self.num_batches_tracked += 1
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = (variance + self.eps).rsqrt()
        shift = -mean * scale
        if self.affine:
            scale, shift = scale * self.weight, shift * self.weight + self.bias
        per_channel = (-1, *[1] * (x.dim() - 2))
        return (wide * scale.view(per_channel) + shift.view(per_channel)).to(x.dtype)


def globalise(module: nn.Module) -> nn.Module:
    """Make every batch norm below `module` a GlobalBatchNorm in place; parameters, buffers and names stay."""
    for norm in module.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            norm.__class__ = GlobalBatchNorm
    return module


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
