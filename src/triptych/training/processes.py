"""Data-parallel training: forked workers, differentiable exchange of tensors, and batch norm over the global batch.

The threads of one process synchronise at every operation by busy waiting, which is slow if other programs use the CPU.
Workers with one thread each synchronise only a few times per step, and sleep while they wait. They exchange tensors
through shared memory, with the interface of torch.distributed, so that the same code also runs on a cluster.
"""

import mmap
import multiprocessing
from collections.abc import Callable
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional

from triptych.core.errors import InputError
from triptych.machine.processes import side_by_side
from triptych.nn.fast.norm import BatchNorm

BACKEND = "shared_memory"
# Shared buffer per worker; larger tensors are sent in chunks. Untouched pages use no RAM.
CAPACITY = 32 * 2**20
# Buffers per worker, used in turn: all other workers have read a buffer before it is overwritten.
BUFFERS = 2

REDUCTIONS: dict[object, Callable[..., Tensor]] = {
    dist.ReduceOp.SUM: torch.add,
    dist.ReduceOp.MIN: torch.minimum,
    dist.ReduceOp.MAX: torch.maximum,
}


class Meetings:
    """Shared memory and a barrier for `count` workers. Create an instance before forking the workers."""

    def __init__(self, count: int) -> None:
        context = multiprocessing.get_context("fork")
        self.count = count
        # One semaphore per ordered pair of ranks: a signal for the next barrier must not satisfy this one.
        self.arrivals = [[context.Semaphore(0) for _ in range(count)] for _ in range(count)]
        memory = mmap.mmap(-1, BUFFERS * count * CAPACITY)
        self.memory = torch.frombuffer(memory, dtype=torch.uint8).view(BUFFERS, count, CAPACITY)

    def wait(self, rank: int) -> None:
        """Block worker `rank` until all workers have called this method."""
        others = [other for other in range(self.count) if other != rank]
        for other in others:
            self.arrivals[rank][other].release()
        for other in others:
            self.arrivals[other][rank].acquire()


class SharedMemoryGroup(dist.ProcessGroup):
    """Process group that exchanges tensors through shared memory. All workers get bit-identical reductions."""

    def __init__(self, meetings: Meetings, rank: int) -> None:
        super().__init__(rank, meetings.count)
        self.meetings, self.buffer = meetings, 0

    def getBackendName(self) -> str:
        return BACKEND

    def allreduce(self, tensors: list[Tensor], options: dist.AllreduceOptions) -> None:  # type: ignore[override]
        """Reduce each tensor over all workers, in place. `options.reduceOp` must be SUM, MIN or MAX."""
        reduce = next((reduce for op, reduce in REDUCTIONS.items() if options.reduceOp == op), None)
        if reduce is None:
            names = [name for name, op in dist.ReduceOp.RedOpType.__members__.items() if options.reduceOp == op]
            raise ValueError(f"all_reduce over shared memory does not support {names[0]}; use SUM, MIN or MAX")
        for tensor in tensors:
            dense = tensor.is_contiguous()
            flat = tensor.reshape(-1)
            for chunk in flat.split(CAPACITY // flat.element_size()):
                total, *others = self._exchange(chunk)
                for other in others:
                    total = reduce(total, other, out=chunk)
            if not dense:
                tensor.copy_(flat.view(tensor.shape))

    def broadcast(self, tensors: list[Tensor], options: dist.BroadcastOptions) -> None:  # type: ignore[override]
        for tensor in tensors:
            tensor.copy_(self._gather(tensor)[options.rootRank])

    def allgather(  # type: ignore[override]
        self, outputs: list[list[Tensor]], inputs: list[Tensor], options: object = None
    ) -> None:
        for every, mine in zip(outputs, inputs, strict=True):
            for output, tensor in zip(every, self._gather(mine), strict=True):
                output.copy_(tensor)

    def barrier(self, opts: object = None) -> None:  # type: ignore[override]
        self.meetings.wait(self.rank())

    def _gather(self, tensor: Tensor) -> list[Tensor]:
        chunks = tensor.reshape(-1).split(CAPACITY // tensor.element_size())
        rows = zip(*[[row.clone() for row in self._exchange(chunk)] for chunk in chunks], strict=True)
        return [torch.cat(row).view(tensor.shape) for row in rows]

    def _exchange(self, flat: Tensor) -> list[Tensor]:
        # The results, in rank order, stay valid for one more call.
        self.buffer = (self.buffer + 1) % BUFFERS
        size = flat.numel() * flat.element_size()
        rows = [row[:size].view(flat.dtype) for row in self.meetings.memory[self.buffer]]
        rows[self.rank()].copy_(flat)
        self.meetings.wait(self.rank())
        return rows


def in_workers(work: Callable[[int], None], count: int) -> None:
    """Run `work(rank)` in `count` forked workers that form a process group, and wait until all workers have finished.

    Errors are raised as in `side_by_side`. `work` must write its results to files, because return values are discarded.
    """
    try:
        meetings = Meetings(count)
    except OSError as error:
        raise InputError(f"workers need shared memory ({error}); make /dev/shm writable, or set workers: 1") from None
    for _ in side_by_side([partial(_as_rank, work, meetings, rank) for rank in range(count)], count):
        pass


def _as_rank(work: Callable[[int], None], meetings: Meetings, rank: int) -> None:
    def group(store: object, rank: int, size: int, timeout: object) -> SharedMemoryGroup:
        return SharedMemoryGroup(meetings, rank)

    dist.Backend.register_backend(BACKEND, group, devices=["cpu"])
    # torch.distributed requires a store; the group does not use it.
    store = dist.HashStore()  # type: ignore[attr-defined]
    dist.init_process_group(BACKEND, store=store, rank=rank, world_size=meetings.count)
    try:
        work(rank)
    finally:
        dist.destroy_process_group()


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(context: FunctionCtx, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: FunctionCtx, gradient: Tensor) -> Tensor:
        # The losses of all processes depend on the sum, so their gradients add up.
        return _Sum.apply(gradient)


def summed(tensor: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes. The operation is differentiable."""
    return _Sum.apply(tensor)


def gathered(rows: Tensor) -> Tensor:
    """Concatenate the `rows` of all processes, each of shape (B, ...), in rank order. The operation is differentiable.

    Every process must pass the same number of rows, and compute the loss of the global batch from the result. The mean
    of the parameter gradients over processes is then the gradient of this loss.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return rows
    before, after = dist.get_rank() * len(rows), (dist.get_world_size() - dist.get_rank() - 1) * len(rows)
    return summed(functional.pad(rows, (*[0] * (2 * rows.dim() - 2), before, after)))


class GlobalBatchNorm(BatchNorm):
    """Batch norm with the statistics of the global batch. Every process must pass the same number of rows.

    Unlike torch's SyncBatchNorm, which requires GPUs, this layer supports every backend of torch.distributed.
    """

    over_processes = True

    def torch_norm(self, x: Tensor) -> Tensor:
        """Normalise each channel of x, of shape (B, C, ...). In training mode, use the statistics of all processes."""
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
                self.num_batches_tracked += 1  # type: ignore[operator,assignment]
                self.running_mean.lerp_(mean, self.momentum)  # type: ignore[union-attr,arg-type]
                unbiased = variance * count / (count - 1)
                self.running_var.lerp_(unbiased, self.momentum)  # type: ignore[union-attr,arg-type]
        scale = (variance + self.eps).rsqrt()
        shift = -mean * scale
        if self.affine:
            scale, shift = scale * self.weight, shift * self.weight + self.bias
        per_channel = (-1, *[1] * (x.dim() - 2))
        return (wide * scale.view(per_channel) + shift.view(per_channel)).to(x.dtype)


def globalise(module: nn.Module) -> nn.Module:
    """Convert every batch norm in `module` to GlobalBatchNorm in place, and return `module`. Weights are kept."""
    for norm in module.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            norm.__class__ = GlobalBatchNorm
    return module


class GradientSum:
    """Storage for a module's gradients in one flat tensor, so that a single all-reduce sums them over processes."""

    def __init__(self, module: nn.Module) -> None:
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.flat = torch.empty(sum(p.numel() for p in self.parameters))
        pieces = self.flat.split([p.numel() for p in self.parameters])
        self.sums = [piece.as_strided(p.shape, p.stride()) for p, piece in zip(self.parameters, pieces, strict=True)]

    @torch.no_grad()
    def share(self) -> None:
        """Sum the gradients over processes, in place. A parameter must have a gradient on all processes or on none."""
        for parameter, total in zip(self.parameters, self.sums, strict=True):
            if parameter.grad is None:
                total.zero_()
            else:
                total.copy_(parameter.grad)
                parameter.grad = total
        dist.all_reduce(self.flat)
