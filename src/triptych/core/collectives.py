"""Sums and collections over processes that gradients flow back through; torch's own are deprecated since 2.15."""

import torch
import torch.distributed as dist
from torch import Tensor


class _Summed(torch.autograd.Function):
    """Every process's loss depends on the sum, so that a tensor's gradient is the sum of theirs."""

    @staticmethod
    def forward(context: object, tensor: Tensor) -> Tensor:
        return _sum(tensor)

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:
        return _sum(gradient)


class _Gathered(torch.autograd.Function):
    """The gradient of a process's rows is the sum over processes of what their losses say of them."""

    @staticmethod
    def forward(context: object, rows: Tensor) -> Tensor:
        context.count = len(rows)
        rows = rows.contiguous()
        every = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(every, rows)
        return torch.cat(every)

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:
        start = dist.get_rank() * context.count
        return _sum(gradient)[start : start + context.count]


def _sum(tensor: Tensor) -> Tensor:
    tensor = tensor.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(tensor)
    return tensor


def summed(tensor: Tensor) -> Tensor:
    """The sum over processes of tensors of one shape, on each."""
    return _Summed.apply(tensor)


def gathered(rows: Tensor) -> Tensor:
    """(B, ...) rows of this process -> (processes * B, ...) in the order of ranks; equally many rows on each."""
    return _Gathered.apply(rows)
