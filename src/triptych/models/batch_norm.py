"""Batch norm over the global batch of several processes, on any backend."""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d whose statistics are those of all processes together.

    torch's own SyncBatchNorm runs on GPUs only; this one also runs on gloo, so that a laptop can test what a
    cluster computes. Every process holds equally many rows.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), normalised by the mean and variance over (all processes, B, H, W)."""
        if not self.training:
            return super().forward(x)
        wide = x.float()
        moments = torch.stack([wide.mean(dim=(0, 2, 3)), wide.square().mean(dim=(0, 2, 3))])
        mean, square = all_reduce(moments) / dist.get_world_size()
        variance = square - mean.square()
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
        return (wide * scale[:, None, None] + shift[:, None, None]).to(x.dtype)


def globalise(module: nn.Module) -> nn.Module:
    """Replaces every BatchNorm2d below `module` in place; parameters, buffers and names stay."""
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm2d:
            twin = GlobalBatchNorm2d(child.num_features, child.eps, child.momentum, child.affine)
            twin.load_state_dict(child.state_dict())
            setattr(module, name, twin.to(child.running_mean.device))
        else:
            globalise(child)
    return module
