"""Affine maps of images, another for each image of a batch, in one sampling of one grid."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional


def rotation(angle: Tensor) -> Tensor:
    """(B, 2, 3) maps that turn images counter-clockwise by `angle`, (B,) in degrees, about their centres."""
    turn = torch.deg2rad(angle)
    cos, sin, zero = turn.cos(), turn.sin(), torch.zeros_like(turn)
    # y points downwards, so that the source of a pixel is its place turned clockwise.
    return torch.stack([cos, -sin, zero, sin, cos, zero], dim=1).view(-1, 2, 3)


def sample(images: Tensor, sources: Tensor, outside: Literal["reflection", "zeros"]) -> Tensor:
    """Each pixel takes the value at its source, interpolated bilinearly.

    The grid is that of `affine_grid` without aligned corners, as torchvision's. It is written in pixels and without a
    matrix product, which TF32 would round to a hundredth of a pixel.

    Args:
        images: (B, C, H, W).
        sources: (B, 2, 3) maps of a pixel's (x, y, 1) to its source's (x, y), in pixels from the centre of the image.
        outside: what lies beyond the border: the image mirrored at it, or zeros.

    Returns:
        Images of the same shape, contiguous.
    """
    height, width = images.shape[-2:]
    x, y = centred(width, images), centred(height, images)[:, None]
    (xx, xy, x0), (yx, yy, y0) = (row[..., None, None].unbind(1) for row in sources.unbind(1))
    across, down = 2 / width, 2 / height  # from pixels to the grid's [-1, 1]
    grid = [(xx * x + x0) * across + xy * y * across, (yx * x + y0) * down + yy * y * down]
    return functional.grid_sample(
        images, torch.stack(grid, dim=-1), mode="bilinear", padding_mode=outside, align_corners=False
    )


def centred(size: int, like: Tensor) -> Tensor:
    """(size,) places of pixel centres, in pixels from the centre of the image."""
    return torch.arange(size, device=like.device, dtype=like.dtype) - (size - 1) / 2
