"""Batch norm, the sum with a shortcut and ReLU in two passes over memory each way, on a CPU in training.

torch takes six, and for bfloat16 in channels last its batch norm is slow: a fifth of a SimSiam step went there.
Whatever `fusible` does not hold for goes torch's way. Over several processes (`training.batch_norm`) it is the only way
that does not copy each tensor to float32 and back.
"""

from collections.abc import Callable
from functools import partial

import numba
import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional

from triptych.nn.fast.compiled import WORD, at, compilable, compiled, dense, high, low, pair

# Values of one inner loop: whole rows of channels, so that few channels still make a long loop.
TILE = 512
# Tiles whose sums are taken in float32 before they go to float64.
TILES = 64


def norm_relu(norm: nn.Module, x: Tensor, shortcut: Tensor | None = None, parts: int = 1) -> Tensor:
    """relu(norm(x) + shortcut), of (B, C, H, W) or (B, C); running statistics are updated as the norm does.

    Args:
        parts: the batch is so many equal ones, one after another, and each is normalised by its own statistics.
    """
    if fusible(norm, x, parts) and (shortcut is None or _like(shortcut, x)):
        return _fused(norm, x, shortcut, True, parts)
    x = normed(norm, x, parts)
    return functional.relu(x if shortcut is None else x + shortcut)


def normed(norm: nn.Module, x: Tensor, parts: int = 1) -> Tensor:
    """norm(x), as `norm_relu`."""
    if fusible(norm, x, parts):
        return _fused(norm, x, None, False, parts)
    return norm(x) if parts == 1 or not norm.training else torch.cat([norm(part) for part in x.chunk(parts)])


def fusible(norm: nn.Module, x: Tensor, parts: int = 1) -> bool:
    """Whether `norm` is a batch norm in training, torch's or global, and `x` a tensor that compiled loops can read."""
    return (
        (type(norm) in (nn.BatchNorm1d, nn.BatchNorm2d) or is_global(norm))
        and norm.training
        and norm.track_running_stats
        and norm.momentum is not None
        and compilable(x)
        and norm.running_mean.dtype == torch.float32
        and x.shape[1] == norm.num_features
        and len(x) % parts == 0
        and x.numel() // parts > x.shape[1]
        and x.numel() // parts % 2 == 0
    )


def is_global(norm: nn.Module) -> bool:
    """Whether its statistics are those of all processes."""
    return getattr(norm, "over_processes", False)


def _like(shortcut: Tensor, x: Tensor) -> bool:
    return compilable(shortcut) and shortcut.dtype == x.dtype and shortcut.shape == x.shape


def _fused(norm: nn.Module, x: Tensor, shortcut: Tensor | None, relu: bool, parts: int) -> Tensor:
    norm.num_batches_tracked.add_(parts)
    running = norm.running_mean, norm.running_var
    affine = norm.weight, norm.bias
    if not norm.affine:
        affine = torch.ones_like(norm.running_mean), torch.zeros_like(norm.running_mean)
    processes = dist.get_world_size() if is_global(norm) else 1
    return FusedNorm.apply(x, *affine, shortcut, *running, norm.eps, norm.momentum, relu, parts, processes)


class FusedNorm(torch.autograd.Function):
    """Batch norm by each part's statistics (Ioffe & Szegedy 2015, arXiv:1502.03167), + shortcut, ReLU."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        shortcut: Tensor | None,
        running_mean: Tensor,
        running_var: Tensor,
        eps: float,
        momentum: float,
        relu: bool,
        parts: int,
        processes: int,
    ) -> Tensor:
        """The output, like `x`; the running statistics are updated in place, part after part."""
        out, moments_of = torch.empty_like(x), torch.empty((parts, 2, len(weight)))
        word, size, channels = WORD[x.dtype], x.numel() // parts, len(weight)
        running = running_mean.data_ptr(), running_var.data_ptr()
        affine = weight.data_ptr(), bias.data_ptr()
        places = list(zip(*(_starts(tensor, parts) for tensor in (x, shortcut, moments_of, out)), strict=True))

        def gather(part: int) -> None:
            of_x, _, found, _ = places[part]
            moments(word, size, channels, of_x, found)

        def finish(part: int) -> None:
            of_x, beside, found, to = places[part]
            _track(size // channels * processes, channels, found, momentum, eps, *running)
            normalise(word, size, channels, of_x, beside, *affine, relu, found, to)

        _by_parts(gather, finish, parts, partial(_over_processes, moments_of) if processes > 1 else None)
        ctx.save_for_backward(x, weight, moments_of, *([out] if relu else []))
        ctx.has_shortcut, ctx.parts, ctx.processes = shortcut is not None, parts, processes
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, weight, bias and shortcut."""
        x, weight, moments_of, *out = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=dense(x))
        passed = torch.empty_like(x) if ctx.has_shortcut else None
        parts, channels = ctx.parts, len(weight)
        of_x, sums = torch.empty_like(x), torch.empty((parts, 2, channels))
        # Of all processes; each process's own are its gradients of parameters, which are added up with all others.
        sums_of_all = sums if ctx.processes == 1 else torch.empty_like(sums)
        word, size = WORD[x.dtype], x.numel() // parts
        rows, weight_at = size // channels * ctx.processes, weight.data_ptr()
        read = gradient, out[0] if out else None, x, moments_of, passed
        places = list(zip(*(_starts(tensor, parts) for tensor in (*read, sums, sums_of_all, of_x)), strict=True))

        def gather(part: int) -> None:
            *tensors, own, _, _ = places[part]
            _sums(word, size, channels, *tensors, own)

        def finish(part: int) -> None:
            *tensors, _, total, to = places[part]
            _inputs(word, size, channels, *tensors, rows, weight_at, total, to)

        def meet() -> None:
            dist.all_reduce(sums_of_all.copy_(sums))

        _by_parts(gather, finish, parts, meet if ctx.processes > 1 else None)
        of_bias, of_weight = sums.sum(dim=0)
        gradients = of_x, of_weight, of_bias, passed
        needed = zip(gradients, ctx.needs_input_grad, strict=False)
        return *(value if needs else None for value, needs in needed), *[None] * 7


def _by_parts(
    gather: Callable[[int], None], finish: Callable[[int], None], parts: int, meet: Callable[[], None] | None
) -> None:
    """What all of a part must be read for, then what needs that; in between, processes meet where there are several.

    Alone, part by part: the second pass then finds the part in a near cache.
    """
    for part in range(parts):
        gather(part)
        if meet is None:
            finish(part)
    if meet is not None:
        meet()
        for part in range(parts):
            finish(part)


def _over_processes(moments_of: Tensor) -> None:
    """Each part's mean and variance (parts, 2, C) over the equally many rows of all processes, for each one's own."""
    every = [torch.empty_like(moments_of) for _ in range(dist.get_world_size())]
    dist.all_gather(every, moments_of)
    mean, variance = torch.stack(every).unbind(dim=2)
    whole = mean.mean(dim=0)
    moments_of.copy_(torch.stack([whole, (variance + (mean - whole).square()).mean(dim=0)], dim=1))


def _starts(x: Tensor | None, parts: int) -> list[int]:
    """The addresses of the parts; 0 where there is no tensor."""
    if x is None:
        return [0] * parts
    start, step = x.data_ptr(), x.numel() // parts * x.element_size()
    return [start + part * step for part in range(parts)]


# A tensor is rows of channels one after another, read as words. Of arrays of shape (2, tile) the first row stands for
# the first of each pair in a tile of words, the second for the second.


@numba.njit
def _tiled(channels: np.ndarray) -> np.ndarray:
    """The channels' numbers in the places of their values: (C,) -> (2, tile)."""
    tile = np.empty((2, max(1, TILE // (2 * len(channels))) * len(channels)), np.float32)
    c = 0
    for j in range(tile.shape[1]):
        for half in range(2):
            tile[half, j] = channels[c]
            c = c + 1 if c + 1 < len(channels) else 0
    return tile


@numba.njit
def _gather(tile: np.ndarray, sums: np.ndarray) -> None:
    """Adds a tile's values to the channels' sums, and clears the tile."""
    for start in range(0, tile.size, len(sums)):
        for c in range(len(sums)):
            place = start + c
            sums[c] += tile[place & 1, place >> 1]
    tile[:] = 0


@compiled()
def moments(word: np.generic, size: int, channels: int, x_at: int, moments_at: int) -> None:
    """The channels' means and biased variances, in two passes: one would cancel where the mean is large."""
    x, moments = at(x_at, size // 2, word), at(moments_at, 2 * channels, np.float32(0))
    rows, mean, variance = size // channels, moments[:channels], moments[channels:]
    tile = _tiled(np.zeros_like(mean))
    first, second, width = tile[0], tile[1], tile.shape[1]
    sums = np.zeros(len(mean), np.float64)
    for start in range(0, len(x), width):
        part = x[start : start + width]
        for j in range(len(part)):
            first[j] += low(part[j])
            second[j] += high(part[j])
        if start // width % TILES == TILES - 1:
            _gather(tile, sums)
    _gather(tile, sums)
    for c in range(len(mean)):
        mean[c] = sums[c] / rows
    centre = _tiled(mean)
    centre_1, centre_2 = centre[0], centre[1]
    sums[:] = 0
    for start in range(0, len(x), width):
        part = x[start : start + width]
        for j in range(len(part)):
            a, b = low(part[j]) - centre_1[j], high(part[j]) - centre_2[j]
            first[j] += a * a
            second[j] += b * b
        if start // width % TILES == TILES - 1:
            _gather(tile, sums)
    _gather(tile, sums)
    for c in range(len(mean)):
        variance[c] = sums[c] / rows


@compiled()
def _track(
    rows: int, channels: int, moments_at: int, momentum: float, eps: float, running_mean_at: int, running_var_at: int
) -> None:
    """Moves the running statistics; of the moments the variances become inverse deviations."""
    real = np.float32(0)
    running_mean, running_var = at(running_mean_at, channels, real), at(running_var_at, channels, real)
    moments = at(moments_at, 2 * channels, real)
    mean, inverse = moments[:channels], moments[channels:]
    for c in range(channels):
        variance = np.float64(inverse[c])
        running_mean[c] = (1 - momentum) * running_mean[c] + momentum * mean[c]
        running_var[c] = (1 - momentum) * running_var[c] + momentum * variance * rows / (rows - 1)
        inverse[c] = 1 / np.sqrt(variance + eps)


@compiled()
def normalise(
    word: np.generic,
    size: int,
    channels: int,
    x_at: int,
    shortcut_at: int,
    weight_at: int,
    bias_at: int,
    relu: bool,
    moments_at: int,
    out_at: int,
) -> None:
    """Fills the output from the channels' means and inverse deviations."""
    real, words = np.float32(0), size // 2
    x, out = at(x_at, words, word), at(out_at, words, word)
    weight, bias = at(weight_at, channels, real), at(bias_at, channels, real)
    moments = at(moments_at, 2 * channels, real)
    mean, inverse = moments[:channels], moments[channels:]
    scale = np.empty(channels, np.float32)
    for c in range(channels):
        scale[c] = inverse[c] * weight[c]
    centre, scales, shift = _tiled(mean), _tiled(scale), _tiled(bias)
    centre_1, centre_2, scale_1, scale_2 = centre[0], centre[1], scales[0], scales[1]
    shift_1, shift_2, width = shift[0], shift[1], centre.shape[1]
    floor = np.float32(0 if relu else -np.inf)
    for start in range(0, words, width):
        part, to = x[start : start + width], out[start : start + width]
        if shortcut_at:
            beside = at(shortcut_at, words, word)[start : start + width]
            for j in range(len(part)):
                a = (low(part[j]) - centre_1[j]) * scale_1[j] + shift_1[j] + low(beside[j])
                b = (high(part[j]) - centre_2[j]) * scale_2[j] + shift_2[j] + high(beside[j])
                to[j] = pair(floor if a < floor else a, floor if b < floor else b, word)
        else:
            for j in range(len(part)):
                a = (low(part[j]) - centre_1[j]) * scale_1[j] + shift_1[j]
                b = (high(part[j]) - centre_2[j]) * scale_2[j] + shift_2[j]
                to[j] = pair(floor if a < floor else a, floor if b < floor else b, word)


@compiled()
def _sums(
    word: np.generic,
    size: int,
    channels: int,
    gradient_at: int,
    out_at: int,
    x_at: int,
    moments_at: int,
    passed_at: int,
    sums_at: int,
) -> None:
    """The channels' gradients of the bias, then of the weight; and what ReLU lets pass to the shortcut, if any.

    There is no ReLU without an output.
    """
    real, words, zero = np.float32(0), size // 2, np.float32(0)
    x, gradient = at(x_at, words, word), at(gradient_at, words, word)
    out = at(out_at if out_at else x_at, words, word)
    passed = at(passed_at if passed_at else gradient_at, words, word)
    moments, found = at(moments_at, 2 * channels, real), at(sums_at, 2 * channels, real)
    mean, inverse = moments[:channels], moments[channels:]
    centre = _tiled(mean)
    tile, products = np.zeros_like(centre), np.zeros_like(centre)
    centre_1, centre_2, width = centre[0], centre[1], centre.shape[1]
    sum_1, sum_2, product_1, product_2 = tile[0], tile[1], products[0], products[1]
    sums, dots = np.zeros(channels, np.float64), np.zeros(channels, np.float64)
    for start in range(0, words, width):
        stop = start + width
        part, made, of_part, to = x[start:stop], out[start:stop], gradient[start:stop], passed[start:stop]
        if passed_at:
            for j in range(len(part)):
                a = zero if low(made[j]) <= zero else low(of_part[j])
                b = zero if high(made[j]) <= zero else high(of_part[j])
                to[j] = pair(a, b, word)
                sum_1[j] += a
                sum_2[j] += b
                product_1[j] += a * (low(part[j]) - centre_1[j])
                product_2[j] += b * (high(part[j]) - centre_2[j])
        elif out_at:
            for j in range(len(part)):
                a = zero if low(made[j]) <= zero else low(of_part[j])
                b = zero if high(made[j]) <= zero else high(of_part[j])
                sum_1[j] += a
                sum_2[j] += b
                product_1[j] += a * (low(part[j]) - centre_1[j])
                product_2[j] += b * (high(part[j]) - centre_2[j])
        else:
            for j in range(len(part)):
                a, b = low(of_part[j]), high(of_part[j])
                sum_1[j] += a
                sum_2[j] += b
                product_1[j] += a * (low(part[j]) - centre_1[j])
                product_2[j] += b * (high(part[j]) - centre_2[j])
        if start // width % TILES == TILES - 1:
            _gather(tile, sums)
            _gather(products, dots)
    _gather(tile, sums)
    _gather(products, dots)
    for c in range(channels):
        found[c] = sums[c]
        found[channels + c] = dots[c] * inverse[c]


@compiled()
def _inputs(
    word: np.generic,
    size: int,
    channels: int,
    gradient_at: int,
    out_at: int,
    x_at: int,
    moments_at: int,
    passed_at: int,
    rows: int,
    weight_at: int,
    sums_at: int,
    of_x_at: int,
) -> None:
    """The gradient of x, from what `_sums` found over so many rows."""
    real, words, zero = np.float32(0), size // 2, np.float32(0)
    x, of_x = at(x_at, words, word), at(of_x_at, words, word)
    out = at(out_at if out_at else x_at, words, word)
    passed = at(passed_at if passed_at else gradient_at, words, word)
    weight, sums = at(weight_at, channels, real), at(sums_at, 2 * channels, real)
    moments = at(moments_at, 2 * channels, real)
    mean, inverse = moments[:channels], moments[channels:]
    centre = _tiled(mean)
    centre_1, centre_2, width = centre[0], centre[1], centre.shape[1]
    scale, level, slope = np.empty(channels, np.float32), np.empty(channels, np.float32), np.empty(channels, np.float32)
    for c in range(channels):
        # In the order of a line in x and the gradient: scale * gradient + slope * x + level.
        scale[c] = inverse[c] * weight[c]
        slope[c] = -sums[channels + c] / rows * inverse[c] * scale[c]
        level[c] = -sums[c] / rows * scale[c]
    scales, levels, slopes = _tiled(scale), _tiled(level), _tiled(slope)
    scale_1, scale_2, level_1, level_2 = scales[0], scales[1], levels[0], levels[1]
    slope_1, slope_2 = slopes[0], slopes[1]
    for start in range(0, words, width):
        stop = start + width
        part, made, of_part, to = x[start:stop], out[start:stop], passed[start:stop], of_x[start:stop]
        if out_at and not passed_at:
            for j in range(len(part)):
                a = zero if low(made[j]) <= zero else low(of_part[j])
                b = zero if high(made[j]) <= zero else high(of_part[j])
                a = a * scale_1[j] + (low(part[j]) - centre_1[j]) * slope_1[j] + level_1[j]
                b = b * scale_2[j] + (high(part[j]) - centre_2[j]) * slope_2[j] + level_2[j]
                to[j] = pair(a, b, word)
        else:
            for j in range(len(part)):
                a, b = low(of_part[j]), high(of_part[j])
                a = a * scale_1[j] + (low(part[j]) - centre_1[j]) * slope_1[j] + level_1[j]
                b = b * scale_2[j] + (high(part[j]) - centre_2[j]) * slope_2[j] + level_2[j]
                to[j] = pair(a, b, word)
