"""Batch norm, the sum with a shortcut and ReLU in two passes over memory each way, on a CPU in training.

torch takes six, and for bfloat16 in channels last its batch norm is slow: a fifth of a SimSiam step went there.
Whatever `fusible` does not hold for goes torch's way.
"""

import numpy as np
import torch
from numba import types
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional

from triptych.core.compiled import WORD, WORDS, at, compilable, compiled, high, low, pair

# Values of one inner loop: whole rows of channels, so that few channels still make a long loop.
TILE = 512
# Tiles whose sums are taken in float32 before they go to float64.
TILES = 64


def norm_relu(norm: nn.Module, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
    """relu(norm(x) + shortcut), of (B, C, H, W); running statistics are updated as the norm does."""
    if fusible(norm, x) and (shortcut is None or _like(shortcut, x)):
        return _fused(norm, x, shortcut, relu=True)
    x = norm(x)
    return functional.relu(x if shortcut is None else x + shortcut)


def normed(norm: nn.Module, x: Tensor) -> Tensor:
    """norm(x), of (B, C, H, W)."""
    return _fused(norm, x, None, relu=False) if fusible(norm, x) else norm(x)


def fusible(norm: nn.Module, x: Tensor) -> bool:
    """Whether `norm` is a plain batch norm in training and `x` a tensor that compiled loops can read."""
    return (
        type(norm) is nn.BatchNorm2d
        and norm.training
        and norm.affine
        and norm.track_running_stats
        and norm.momentum is not None
        and compilable(x)
        and norm.weight.dtype == torch.float32
        and x.shape[1] == norm.num_features
        and x.numel() > x.shape[1]
    )


def _like(shortcut: Tensor, x: Tensor) -> bool:
    return compilable(shortcut) and shortcut.dtype == x.dtype and shortcut.shape == x.shape


def _fused(norm: nn.BatchNorm2d, x: Tensor, shortcut: Tensor | None, relu: bool) -> Tensor:
    norm.num_batches_tracked.add_(1)
    running = norm.running_mean, norm.running_var
    return FusedNorm.apply(x, norm.weight, norm.bias, shortcut, *running, norm.eps, norm.momentum, relu)


class FusedNorm(torch.autograd.Function):
    """Batch norm by the batch's statistics (Ioffe & Szegedy 2015, arXiv:1502.03167), + shortcut, ReLU."""

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
    ) -> Tensor:
        """The output, like `x`; the running statistics are updated in place."""
        out = torch.empty_like(x)
        moments = torch.empty((2, len(weight)))
        _forward(
            WORD[x.dtype],
            x.numel(),
            len(weight),
            x.data_ptr(),
            0 if shortcut is None else shortcut.data_ptr(),
            weight.data_ptr(),
            bias.data_ptr(),
            eps,
            relu,
            momentum,
            running_mean.data_ptr(),
            running_var.data_ptr(),
            moments.data_ptr(),
            out.data_ptr(),
        )
        ctx.save_for_backward(x, weight, moments, *([out] if relu else []))
        ctx.has_shortcut = shortcut is not None
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, weight, bias and shortcut."""
        x, weight, moments, *out = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        passed = torch.empty_like(x) if ctx.has_shortcut else None
        of_x, of_weight, of_bias = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)
        _backward(
            WORD[x.dtype],
            x.numel(),
            len(weight),
            gradient.data_ptr(),
            out[0].data_ptr() if out else 0,
            x.data_ptr(),
            weight.data_ptr(),
            moments.data_ptr(),
            0 if passed is None else passed.data_ptr(),
            of_weight.data_ptr(),
            of_bias.data_ptr(),
            of_x.data_ptr(),
        )
        found = of_x, of_weight, of_bias, passed
        needed = zip(found, ctx.needs_input_grad, strict=False)
        return *(value if needs else None for value, needs in needed), *[None] * 5


# A tensor is rows of channels one after another, read as words. Of arrays of shape (2, tile) the first row stands for
# the first of each pair in a tile of words, the second for the second.


@compiled(types.float32[:, ::1](types.float32[::1]))
def _tiled(channels: np.ndarray) -> np.ndarray:
    """The channels' numbers in the places of their values: (C,) -> (2, tile)."""
    tile = np.empty((2, max(1, TILE // (2 * len(channels))) * len(channels)), np.float32)
    c = 0
    for j in range(tile.shape[1]):
        for half in range(2):
            tile[half, j] = channels[c]
            c = c + 1 if c + 1 < len(channels) else 0
    return tile


@compiled(types.void(types.float32[:, ::1], types.float64[::1]))
def _gather(tile: np.ndarray, sums: np.ndarray) -> None:
    """Adds a tile's values to the channels' sums, and clears the tile."""
    for start in range(0, tile.size, len(sums)):
        for c in range(len(sums)):
            place = start + c
            sums[c] += tile[place & 1, place >> 1]
    tile[:] = 0


@compiled(*(types.void(word[::1], types.float32[::1], types.float32[::1]) for word in WORDS))
def _moments(x: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> None:
    """The channels' means and biased variances, in two passes: one would cancel where the mean is large."""
    rows = 2 * len(x) // len(mean)
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


ADDRESS = types.intp
SIZES = types.intp, types.intp


@compiled(
    *(
        types.void(word, *SIZES, *[ADDRESS] * 4, types.float64, types.boolean, types.float64, *[ADDRESS] * 4)
        for word in WORDS
    )
)
def _forward(
    word: np.generic,
    size: int,
    channels: int,
    x_at: int,
    shortcut_at: int,
    weight_at: int,
    bias_at: int,
    eps: float,
    relu: bool,
    momentum: float,
    running_mean_at: int,
    running_var_at: int,
    moments_at: int,
    out_at: int,
) -> None:
    """Fills the output and the moments: the channels' means, then their inverse deviations."""
    real, words, rows = np.float32(0), size // 2, size // channels
    x, out = at(x_at, words, word), at(out_at, words, word)
    weight, bias = at(weight_at, channels, real), at(bias_at, channels, real)
    running_mean, running_var = at(running_mean_at, channels, real), at(running_var_at, channels, real)
    moments = at(moments_at, 2 * channels, real)
    mean, inverse = moments[:channels], moments[channels:]
    _moments(x, mean, inverse)
    scale = np.empty(channels, np.float32)
    for c in range(channels):
        variance = np.float64(inverse[c])
        running_mean[c] = (1 - momentum) * running_mean[c] + momentum * mean[c]
        running_var[c] = (1 - momentum) * running_var[c] + momentum * variance * rows / (rows - 1)
        inverse[c] = 1 / np.sqrt(variance + eps)
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


@compiled(*(types.void(word, *SIZES, *[ADDRESS] * 9) for word in WORDS))
def _backward(
    word: np.generic,
    size: int,
    channels: int,
    gradient_at: int,
    out_at: int,
    x_at: int,
    weight_at: int,
    moments_at: int,
    passed_at: int,
    of_weight_at: int,
    of_bias_at: int,
    of_x_at: int,
) -> None:
    """Fills the last four, `passed` (what ReLU lets pass to the shortcut) where there is one; no ReLU without `out`."""
    real, words, rows, zero = np.float32(0), size // 2, size // channels, np.float32(0)
    x, gradient, of_x = at(x_at, words, word), at(gradient_at, words, word), at(of_x_at, words, word)
    out = at(out_at if out_at else x_at, words, word)
    passed = at(passed_at if passed_at else gradient_at, words, word)
    weight, moments = at(weight_at, channels, real), at(moments_at, 2 * channels, real)
    of_weight, of_bias = at(of_weight_at, channels, real), at(of_bias_at, channels, real)
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
    scale, level, slope = np.empty(channels, np.float32), np.empty(channels, np.float32), np.empty(channels, np.float32)
    for c in range(channels):
        of_bias[c] = sums[c]
        of_weight[c] = dots[c] * inverse[c]
        # In the order of a line in x and the gradient: scale * gradient + slope * x + level.
        scale[c] = inverse[c] * weight[c]
        slope[c] = -dots[c] / rows * inverse[c] * inverse[c] * scale[c]
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
