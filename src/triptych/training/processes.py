"""Training by several processes that share each batch: forked workers, collectives with gradients, global batch norm.

Threads of one process wait for each other by spinning at every operation, which on a busy machine costs most of the
speed. Workers with one thread each meet a few times per step, and sleep while they wait. They exchange tensors through
shared memory, as ranks of a torch.distributed process group: the code that runs on a cluster runs here.
"""

import mmap
import multiprocessing
from collections.abc import Callable
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from triptych.machine.processes import side_by_side
from triptych.nn.fast.norm import BatchNorm

BACKEND = "shared_memory"
# Shared buffer per worker; larger tensors are sent in chunks. Untouched pages use no RAM.
CAPACITY = 32 * 2**20
# Two buffers per worker, used in turn: before a worker reuses one, all others have read it.
BUFFERS = 2

REDUCTIONS: dict[object, Callable[..., Tensor]] = {
    dist.ReduceOp.SUM: torch.add,
    dist.ReduceOp.MIN: torch.minimum,
    dist.ReduceOp.MAX: torch.maximum,
}


class Meetings:
    """Shared buffers and barriers of `count` workers. Create it before forking."""

    def __init__(self, count: int) -> None:
        context = multiprocessing.get_context("fork")
        self.count = count
        # One semaphore per ordered pair of ranks, so that a signal for the next barrier cannot satisfy this one.
        self.arrivals = [[context.Semaphore(0) for _ in range(count)] for _ in range(count)]
        memory = mmap.mmap(-1, BUFFERS * count * CAPACITY)
        self.memory = torch.frombuffer(memory, dtype=torch.uint8).view(BUFFERS, count, CAPACITY)

    def wait(self, rank: int) -> None:
        """Return when all workers have called it."""
        others = [other for other in range(self.count) if other != rank]
        for other in others:
            self.arrivals[rank][other].release()
        for other in others:
            self.arrivals[other][rank].acquire()


class SharedMemoryGroup(dist.ProcessGroup):
    """Collectives for training. Every worker reduces in the order of ranks, so all get the same bits every time."""

    def __init__(self, meetings: Meetings, rank: int) -> None:
        super().__init__(rank, meetings.count)
        self.meetings, self.buffer = meetings, 0

    def getBackendName(self) -> str:
        return BACKEND

    def allreduce(self, tensors: list[Tensor], options: dist.AllreduceOptions) -> None:  # type: ignore[override]
        """Reduce each tensor over the workers by SUM, MIN or MAX."""
        reduce = next((reduce for op, reduce in REDUCTIONS.items() if options.reduceOp == op), None)
        if reduce is None:
            names = [name for name, op in dist.ReduceOp.RedOpType.__members__.items() if options.reduceOp == op]
            raise ValueError(f"all_reduce over shared memory: op is {names[0]}; allowed are SUM, MIN, MAX")
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
        """Return when all workers have called it."""
        self.meetings.wait(self.rank())

    def _gather(self, tensor: Tensor) -> list[Tensor]:
        chunks = tensor.reshape(-1).split(CAPACITY // tensor.element_size())
        rows = zip(*[[row.clone() for row in self._exchange(chunk)] for chunk in chunks], strict=True)
        return [torch.cat(row).view(tensor.shape) for row in rows]

    def _exchange(self, flat: Tensor) -> list[Tensor]:
        """Return the buffers of all workers; valid until the barrier after next."""
        self.buffer = (self.buffer + 1) % BUFFERS
        size = flat.numel() * flat.element_size()
        rows = [row[:size].view(flat.dtype) for row in self.meetings.memory[self.buffer]]
        rows[self.rank()].copy_(flat)
        self.meetings.wait(self.rank())
        return rows


def in_workers(work: Callable[[int], None], count: int) -> None:
    """Run `work(rank)` in `count` forked workers that share a default process group; return when all have ended.

    Errors are those of `side_by_side`. Results remain in the workers unless written to files.
    """
    meetings = Meetings(count)
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


class _Summed(torch.autograd.Function):
    # The loss of every process depends on the sum, so the gradient of a tensor is the sum of their gradients.

    @staticmethod
    def forward(context: FunctionCtx, tensor: Tensor) -> Tensor:
        return _sum(tensor)

    @staticmethod
    def backward(context: FunctionCtx, gradient: Tensor) -> Tensor:
        return _sum(gradient)


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(context: FunctionCtx, rows: Tensor) -> Tensor:
        context.count = len(rows)  # type: ignore[attr-defined]
        rows = rows.contiguous()
        every = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(every, rows)
        return torch.cat(every)

    @staticmethod
    def backward(context: FunctionCtx, gradient: Tensor) -> Tensor:
        count: int = context.count  # type: ignore[attr-defined]
        return _sum(gradient)[dist.get_rank() * count :][:count]


def _sum(tensor: Tensor) -> Tensor:
    tensor = tensor.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(tensor)
    return tensor


def summed(tensor: Tensor) -> Tensor:
    """Sum a tensor over processes, with gradients."""
    return _Summed.apply(tensor)


def gathered(rows: Tensor) -> Tensor:
    """Concatenate the (B, ...) rows of all processes to (processes * B, ...) in the order of ranks, with gradients."""
    return _Gathered.apply(rows)


class GlobalBatchNorm(BatchNorm):
    """Batch norm with the statistics of the global batch, of which every process holds equally many rows.

    Unlike torch's SyncBatchNorm, which requires GPUs, it runs on any backend.
    """

    over_processes = True

    def torch_norm(self, x: Tensor) -> Tensor:
        """Normalise (B, C, ...) by the mean and variance over all processes and all axes but the channels."""
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
    """Make every batch norm below `module` a GlobalBatchNorm in place; parameters, buffers and names stay."""
    for norm in module.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            norm.__class__ = GlobalBatchNorm
    return module


class GradientSum:
    """Gradients of a module in one flat tensor, so that one all-reduce sums them over processes."""

    def __init__(self, module: nn.Module) -> None:
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.flat = torch.empty(sum(p.numel() for p in self.parameters))
        pieces = self.flat.split([p.numel() for p in self.parameters])
        self.sums = [piece.as_strided(p.shape, p.stride()) for p, piece in zip(self.parameters, pieces, strict=True)]

    @torch.no_grad()
    def share(self) -> None:
        """Sum gradients over processes. A parameter without a gradient must lack it on every process."""
        for parameter, total in zip(self.parameters, self.sums, strict=True):
            if parameter.grad is None:
                total.zero_()
            else:
                total.copy_(parameter.grad)
                parameter.grad = total
        dist.all_reduce(self.flat)
