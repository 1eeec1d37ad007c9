"""Worker processes that share one piece of work: copies of this process, which exchange tensors through shared memory.

On a CPU, threads of one process wait for each other by spinning at every operation, which costs little on an idle
machine and most of the speed on one in use. Workers of one thread meet a few times a step, and sleep while they wait.

They are the ranks of a process group of torch.distributed like any other, so that what runs under a launcher on a
cluster runs here.
"""

import mmap
import multiprocessing
from collections.abc import Callable
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn

from triptych.machine.processes import side_by_side
from triptych.nn.fast.batch_norm import fusible, normed

BACKEND = "shared_memory"
# Bytes that a worker lays out at once; larger tensors go in pieces. Memory that nothing is written to takes no room.
CAPACITY = 32 * 2**20
# Two places each, used in turn: whoever writes to one again has met all others since they read it.
PLACES = 2

REDUCTIONS = {dist.ReduceOp.SUM: torch.add, dist.ReduceOp.MIN: torch.minimum, dist.ReduceOp.MAX: torch.maximum}


class Meetings:
    """Where workers lay out tensors and wait for each other. Made before they are forked.

    Args:
        count: how many workers.
    """

    def __init__(self, count: int) -> None:
        context = multiprocessing.get_context("fork")
        self.count = count
        # One for each pair and direction: a worker that is a meeting ahead cannot be taken for one that is late.
        self.arrivals = [[context.Semaphore(0) for _ in range(count)] for _ in range(count)]
        memory = mmap.mmap(-1, PLACES * count * CAPACITY)
        self.memory = torch.frombuffer(memory, dtype=torch.uint8).view(PLACES, count, CAPACITY)

    def wait(self, rank: int) -> None:
        """Returns when all have come here."""
        others = [other for other in range(self.count) if other != rank]
        for other in others:
            self.arrivals[rank][other].release()
        for other in others:
            self.arrivals[other][rank].acquire()


class SharedMemoryGroup(dist.ProcessGroup):
    """The collectives that training uses. Each worker computes a reduction for itself, all in the order of ranks: so
    results are the same bits in every worker and at every repetition.

    Args:
        meetings: of all workers.
        rank: this one.
    """

    def __init__(self, meetings: Meetings, rank: int) -> None:
        super().__init__(rank, meetings.count)
        self.meetings, self.place = meetings, 0

    def getBackendName(self) -> str:
        """As registered."""
        return BACKEND

    def allreduce(self, tensors: list[Tensor], options: dist.AllreduceOptions) -> None:
        """Each tensor becomes the sum, mean, least or greatest over the workers."""
        for tensor in tensors:
            dense = tensor.is_contiguous()
            flat = tensor.reshape(-1)
            for piece in flat.split(CAPACITY // flat.element_size()):
                self._reduce(piece, options.reduceOp)
            if not dense:
                tensor.copy_(flat.view(tensor.shape))

    def broadcast(self, tensors: list[Tensor], options: dist.BroadcastOptions) -> None:
        """Each tensor becomes that of the root."""
        for tensor in tensors:
            tensor.copy_(self._every(tensor)[options.rootRank])

    def allgather(self, outputs: list[list[Tensor]], inputs: list[Tensor], options: object = None) -> None:
        """The tensors of all workers, in the order of ranks."""
        for theirs, mine in zip(outputs, inputs, strict=True):
            for output, found in zip(theirs, self._every(mine), strict=True):
                output.copy_(found)

    def barrier(self, opts: object = None) -> None:
        """Returns when all have come here."""
        self.meetings.wait(self.rank())

    def _reduce(self, flat: Tensor, how: dist.ReduceOp) -> None:
        combine = next(combine for kind, combine in REDUCTIONS.items() if how == kind)
        first, *others = self._laid_out(flat)
        for other in others:
            first = combine(first, other, out=flat)

    def _every(self, tensor: Tensor) -> list[Tensor]:
        """The tensors of all workers, of the shape of this one's."""
        pieces = tensor.reshape(-1).split(CAPACITY // tensor.element_size())
        found = zip(*[[row.clone() for row in self._laid_out(piece)] for piece in pieces], strict=True)
        return [torch.cat(rows).view(tensor.shape) for rows in found]

    def _laid_out(self, flat: Tensor) -> list[Tensor]:
        """What every worker lays out here, to be read before its next meeting but one."""
        self.place = (self.place + 1) % PLACES
        size = flat.numel() * flat.element_size()
        rows = [row[:size].view(flat.dtype) for row in self.meetings.memory[self.place]]
        rows[self.rank()].copy_(flat)
        self.meetings.wait(self.rank())
        return rows


def in_workers(work: Callable[[int], None], count: int) -> None:
    """Does a piece of work in so many copies of this process at once, each told its rank, and returns when all have.

    In each, torch.distributed's default group is that of the workers. What a copy computes stays there but for what it
    writes to files.

    Raises:
        InputError: a worker has raised it, or the operating system ended one. The others are stopped.
        SystemExit: a worker has failed otherwise, and its traceback is on stderr. The others are stopped.
    """
    meetings = Meetings(count)
    for _ in side_by_side([partial(_as_rank, work, meetings, rank) for rank in range(count)], count):
        pass


def _as_rank(work: Callable[[int], None], meetings: Meetings, rank: int) -> None:
    def group(store: object, rank: int, size: int, timeout: object) -> SharedMemoryGroup:
        return SharedMemoryGroup(meetings, rank)

    dist.Backend.register_backend(BACKEND, group, devices=["cpu"])
    # The group needs no store to be found; torch.distributed asks for one.
    dist.init_process_group(BACKEND, store=dist.HashStore(), rank=rank, world_size=meetings.count)
    try:
        work(rank)
    finally:
        dist.destroy_process_group()


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


class GlobalBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm whose statistics are those of all processes together.

    torch's own SyncBatchNorm runs on GPUs only; this one also runs on gloo, so that a laptop can test what a
    cluster computes. Every process holds equally many rows.
    """

    over_processes = True

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...), normalised by the mean and variance over all processes and all axes but that of channels."""
        if not self.training:
            return super().forward(x)
        if fusible(self, x):
            return normed(self, x)
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


class GlobalBatchNorm1d(GlobalBatchNorm, nn.BatchNorm1d):
    """GlobalBatchNorm of (B, C)."""


class GlobalBatchNorm2d(GlobalBatchNorm, nn.BatchNorm2d):
    """GlobalBatchNorm of (B, C, H, W)."""


GLOBAL = {nn.BatchNorm1d: GlobalBatchNorm1d, nn.BatchNorm2d: GlobalBatchNorm2d}


def globalise(module: nn.Module) -> nn.Module:
    """Replaces every batch norm below `module` in place; parameters, what trains of them, buffers and names stay."""
    for name, child in module.named_children():
        if type(child) in GLOBAL:
            twin = GLOBAL[type(child)](child.num_features, child.eps, child.momentum, child.affine)
            twin.load_state_dict(child.state_dict())
            for mine, theirs in zip(twin.parameters(), child.parameters(), strict=True):
                mine.requires_grad_(theirs.requires_grad)
            setattr(module, name, twin.to(child.running_mean.device))
        else:
            globalise(child)
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
