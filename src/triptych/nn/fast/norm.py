"""Batch norm fused with a shortcut and ReLU, and standardisation of images, as compiled kernels and in torch.

The kernels read memory twice per forward or backward pass. torch reads memory six times and is slow for bfloat16 in
channels-last memory format; if several processes share a batch, torch also copies each tensor to float32 and back.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional

from triptych.nn.fast.compiled import array, compiled, dense, inlined, readable, real, stored

TILE = 256  # an inner loop runs over up to twice as many values, in whole pixels
TILES = 64  # number of tiles that are summed in float32 before their sum is added up in float64
# Added to the variance of images in [-1, 1], so that noise of about one level of 8 bits is not amplified.
FLAT = 1e-4

_groups = 1


@contextmanager
def grouped(count: int) -> Iterator[None]:
    """Split each training batch of `BatchNorm` into `count` groups of the same size, within the context.

    Each group is normalised by its own statistics, as if the network processed that group alone.
    """
    global _groups
    before, _groups = _groups, count
    try:
        yield
    finally:
        _groups = before


def group_by_group(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a layer separately to each group of a batch; see `grouped`."""
    if _groups == 1:
        return layer(x)
    groups = x.chunk(_groups)
    with grouped(1):
        return torch.cat([layer(group) for group in groups])


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm of tensors of shape (B, C) or (B, C, H, W), with optional ReLU (Ioffe & Szegedy, arXiv:1502.03167).

    The parameters and buffers are those of `torch.nn.BatchNorm2d`.
    """

    relu = False
    over_processes = False  # True in subclasses whose `torch_norm` uses the statistics of all processes

    def __init__(self, channels: int, affine: bool = True, relu: bool = False) -> None:
        super().__init__(channels, affine=affine)
        self.relu = relu

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Return relu(norm(x) + shortcut), without ReLU if `self.relu` is False. A `shortcut` of None counts as 0."""
        if self.fusible(x, shortcut):
            self.num_batches_tracked.add_(_groups)
            weight, bias = self.weight, self.bias
            if not self.affine:
                weight, bias = torch.ones_like(self.running_mean), torch.zeros_like(self.running_mean)
            return _FusedNorm.apply(x, weight, bias, shortcut, self)
        x = group_by_group(self.torch_norm, x) if self.training else self.torch_norm(x)
        x = x if shortcut is None else x + shortcut
        return functional.relu(x) if self.relu else x

    def torch_norm(self, x: Tensor) -> Tensor:
        """Normalise x with torch, without ReLU or shortcut. This is the reference for the compiled kernels."""
        return super().forward(x)

    def fusible(self, x: Tensor, shortcut: Tensor | None = None) -> bool:
        """Return True if the compiled kernels support x, `shortcut`, and the parameters and mode of this layer."""
        own = (self.weight, self.bias, self.running_mean, self.running_var)
        return (
            self.training
            and self.track_running_stats
            and self.momentum is not None
            and readable(x)
            and (shortcut is None or (readable(shortcut) and shortcut.dtype == x.dtype and shortcut.shape == x.shape))
            and all(tensor is None or self._kernels_read(tensor, x.shape[1]) for tensor in own)
            and len(x) % _groups == 0
            and x.numel() // _groups > x.shape[1]
        )

    @staticmethod
    def _kernels_read(tensor: Tensor, channels: int) -> bool:
        dtype_and_device = tensor.dtype == torch.float32 and tensor.device.type == "cpu"
        return dtype_and_device and tensor.shape == (channels,) and tensor.is_contiguous()

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() not in (2, 4):
            raise ValueError(f"BatchNorm: expected (B, C) or (B, C, H, W), got {input.dim()} dimensions")


class _FusedNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor, shortcut: Tensor | None, norm: BatchNorm
    ) -> Tensor:
        out, channels = torch.empty_like(x), len(weight)
        ctx.groups, ctx.processes = _groups, dist.get_world_size() if norm.over_processes else 1
        ctx.rows = x.numel() // channels // ctx.groups * ctx.processes
        ctx.statistics = np.empty((ctx.groups, 2, channels), np.float32)
        outputs, values = array(out, ctx.groups), array(x, ctx.groups)
        added = None if shortcut is None else array(shortcut, ctx.groups)
        affine = weight.detach().numpy(), bias.detach().numpy()
        running = norm.running_mean.numpy(), norm.running_var.numpy()
        for span in _spans(ctx):
            moments(values, ctx.statistics, *span)
            if ctx.processes > 1:
                _over_processes(torch.from_numpy(ctx.statistics))
            _track(ctx.statistics, ctx.rows, float(norm.momentum), float(norm.eps), *running, *span)
            normalise(values, added, *affine, norm.relu, ctx.statistics, outputs, *span)
        ctx.save_for_backward(x, weight, *([out] if norm.relu else []))
        ctx.has_shortcut = shortcut is not None
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *out = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=dense(x))
        x_gradient, shortcut_gradient = torch.empty_like(x), torch.empty_like(x) if ctx.has_shortcut else None
        tensors = x, gradient, x_gradient, out[0] if out else None, shortcut_gradient
        values, of_out, of_x, outputs, of_shortcut = (None if t is None else array(t, ctx.groups) for t in tensors)
        sums = torch.empty((ctx.groups, 2, len(weight)), dtype=torch.float32)
        for span in _spans(ctx):
            _channel_sums(of_out, outputs, values, ctx.statistics, of_shortcut, sums.numpy(), *span)
            total = sums
            if ctx.processes > 1:  # the training loop sums the gradients of parameters over processes later
                total = sums.clone()
                dist.all_reduce(total)
            before_relu = (of_out, outputs) if of_shortcut is None else (of_shortcut, None)
            _input_gradient(*before_relu, values, ctx.statistics, ctx.rows, weight.numpy(), total.numpy(), of_x, *span)
        bias_gradient, weight_gradient = sums.sum(dim=0)
        gradients = x_gradient, weight_gradient, bias_gradient, shortcut_gradient
        needed = zip(gradients, ctx.needs_input_grad, strict=False)
        return *(value if needs else None for value, needs in needed), None


def _spans(ctx: FunctionCtx) -> list[tuple[int, int]]:
    # A range of groups for each call of a kernel. Usually, each range is one group, whose data then stay in the cache
    # for the second pass. If processes exchange statistics between the passes, one range contains all groups.
    return [(0, ctx.groups)] if ctx.processes > 1 else [(group, group + 1) for group in range(ctx.groups)]


def _over_processes(statistics: Tensor) -> None:
    """Combine the means and variances in `statistics` (groups, 2, C) over all processes, in place."""
    gathered = [torch.empty_like(statistics) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, statistics)
    mean, variance = torch.stack(gathered).unbind(dim=2)
    total = mean.mean(dim=0)
    statistics.copy_(torch.stack([total, (variance + (mean - total).square()).mean(dim=0)], dim=1))


def standardised(images: Tensor) -> Tensor:
    """Normalise each channel of each image to mean 0 and variance 1. `images` has shape (B, C, H, W).

    This removes brightness, contrast and colour cast, which two views could share without showing the same object.
    """
    if readable(images) and images.dim() == 4 and not images.requires_grad:
        out = torch.empty_like(images)
        _standardise(
            array(images, len(images)), np.empty((1, 2, images.shape[1]), np.float32), FLAT, array(out, len(out))
        )
        return out
    # On a CPU and in channels last, this takes a quarter of the time of torch.var_mean.
    centred = images - images.mean(dim=(2, 3), keepdim=True)
    variance = centred.square().mean(dim=(2, 3), keepdim=True)
    return centred * (variance + FLAT).rsqrt()


# --- Kernels: tensors are arrays (groups, values), channels last; statistics are (groups, 2, C) ---


@inlined
def _tiled(channels):
    # Repeats one number per channel in a longer array (a tile), so that inner loops cover many values.
    tile = np.empty(2 * max(1, TILE // len(channels)) * len(channels), np.float32)
    for start in range(0, len(tile), len(channels)):
        tile[start : start + len(channels)] = channels
    return tile


@inlined
def _gather(tile, sums):
    # Adds the values of a tile to one sum per channel, and sets the tile to zero.
    for start in range(0, len(tile), len(sums)):
        for c in range(len(sums)):
            sums[c] += tile[start + c]
    tile[:] = 0


@inlined
def _cut(values, group, start, stop):
    return None if values is None else values[group, start:stop]


@compiled
def moments(x, statistics, first, last):
    """Write the mean and the biased variance of each channel of x to `statistics`, for the groups in [first, last)."""
    for group in range(first, last):
        mean, variance = statistics[group]
        _centred_sums(x[group], np.zeros_like(mean), False, mean)
        _centred_sums(x[group], mean, True, variance)


@inlined
def _centred_sums(x, centre, squared, result):
    # Writes the mean of x, or of (x - centre)² if `squared` is True, to `result`, for each channel.
    centre, sums = _tiled(centre), np.zeros(len(result), np.float64)
    tile = np.zeros_like(centre)
    for start in range(0, len(x), len(tile)):
        values = x[start : start + len(tile)]
        if squared:
            for j in range(len(values)):
                distance = real(values[j]) - centre[j]
                tile[j] += distance * distance
        else:
            for j in range(len(values)):
                tile[j] += real(values[j])
        if start // len(tile) % TILES == TILES - 1:
            _gather(tile, sums)
    _gather(tile, sums)
    for c in range(len(result)):
        result[c] = sums[c] / (len(x) // len(result))


@compiled
def _track(statistics, rows, momentum, eps, running_mean, running_var, first, last):
    # Also replaces the variances in `statistics` by inverse standard deviations.
    for group in range(first, last):
        mean, inverse = statistics[group]
        for c in range(len(mean)):
            variance = np.float64(inverse[c])
            running_mean[c] = (1 - momentum) * running_mean[c] + momentum * mean[c]
            running_var[c] = (1 - momentum) * running_var[c] + momentum * variance * rows / (rows - 1)
            inverse[c] = 1 / np.sqrt(variance + eps)


@compiled
def normalise(x, shortcut, weight, bias, relu, statistics, out, first, last):
    """Write relu(weight * (x - mean) * inverse_std + bias + shortcut) to `out`, for the groups in [first, last).

    `statistics` contains mean and inverse_std. ReLU is skipped if `relu` is False. A `shortcut` of None counts as 0.
    """
    floor = np.float32(0 if relu else -np.inf)
    for group in range(first, last):
        mean, inverse = statistics[group]
        centre, scale, shift = _tiled(mean), _tiled(inverse * weight), _tiled(bias)
        for start in range(0, x.shape[1], len(centre)):
            stop = start + len(centre)
            values, outputs, added = x[group, start:stop], out[group, start:stop], _cut(shortcut, group, start, stop)
            for j in range(len(values)):
                value = _plus((real(values[j]) - centre[j]) * scale[j] + shift[j], added, j)
                outputs[j] = stored(floor if value < floor else value, outputs[j])


@inlined
def _plus(value, added, j):
    if added is None:
        return value
    return value + real(added[j])


@compiled
def _channel_sums(gradient, out, x, statistics, shortcut_gradient, sums, first, last):
    # Writes the gradients of bias and weight to `sums`, of shape (groups, 2, C), and the gradient of the shortcut to
    # `shortcut_gradient`, unless it is None. `out` is None if there is no ReLU.
    for group in range(first, last):
        mean, inverse = statistics[group]
        centre, totals, dots = _tiled(mean), np.zeros(len(mean), np.float64), np.zeros(len(mean), np.float64)
        tile, products = np.zeros_like(centre), np.zeros_like(centre)
        for start in range(0, x.shape[1], len(centre)):
            stop = start + len(centre)
            values, of_out = x[group, start:stop], gradient[group, start:stop]
            outputs, of_shortcut = _cut(out, group, start, stop), _cut(shortcut_gradient, group, start, stop)
            for j in range(len(values)):
                slope = _before_relu(of_out, outputs, j)
                _keep(slope, of_shortcut, j)
                tile[j] += slope
                products[j] += slope * (real(values[j]) - centre[j])
            if start // len(tile) % TILES == TILES - 1:
                _gather(tile, totals)
                _gather(products, dots)
        _gather(tile, totals)
        _gather(products, dots)
        for c in range(len(mean)):
            sums[group, 0, c] = totals[c]
            sums[group, 1, c] = dots[c] * inverse[c]


@inlined
def _before_relu(gradient, out, j):
    if out is None:
        return real(gradient[j])
    return np.float32(0) if real(out[j]) <= np.float32(0) else real(gradient[j])


@inlined
def _keep(value, target, j):
    if target is not None:
        target[j] = stored(value, target[j])


@compiled
def _input_gradient(gradient, out, x, statistics, rows, weight, sums, x_gradient, first, last):
    # Writes the gradient of x to `x_gradient`, given the `sums` of `_channel_sums`.
    for group in range(first, last):
        mean, inverse = statistics[group]
        scale, slope, level = np.empty_like(mean), np.empty_like(mean), np.empty_like(mean)
        for c in range(len(mean)):
            scale[c] = inverse[c] * weight[c]
            slope[c] = -sums[group, 1, c] / rows * inverse[c] * scale[c]
            level[c] = -sums[group, 0, c] / rows * scale[c]
        centre, scale, slope, level = _tiled(mean), _tiled(scale), _tiled(slope), _tiled(level)
        for start in range(0, x.shape[1], len(centre)):
            stop = start + len(centre)
            values, of_out, outputs = x[group, start:stop], gradient[group, start:stop], _cut(out, group, start, stop)
            of_x = x_gradient[group, start:stop]
            for j in range(len(values)):
                before = _before_relu(of_out, outputs, j)
                value = before * scale[j] + (real(values[j]) - centre[j]) * slope[j] + level[j]
                of_x[j] = stored(value, of_x[j])


@compiled
def _standardise(images, statistics, flat, out):
    channels = statistics.shape[2]
    weight, bias = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    mean, inverse = statistics[0]
    for image in range(len(images)):
        moments(images[image : image + 1], statistics, 0, 1)
        for c in range(channels):
            inverse[c] = 1 / np.sqrt(np.float64(inverse[c]) + flat)
        normalise(images[image : image + 1], None, weight, bias, False, statistics, out[image : image + 1], 0, 1)
