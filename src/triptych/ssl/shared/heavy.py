"""RandAugment (Cubuk et al. 2020, arXiv:1909.13719): apply N random operations of magnitude M to each image of a batch.

DSSL (Bai et al. 2022, arXiv:2110.13555) uses RandAugment for its heavy views. Operations on colour are omitted, because
standard views vary it. M is at most 10, as in the paper (torchvision: 30), where strengths are those of torchvision.

- shear_x, shear_y: a shear of ±0.3 M/10, with the upper left corner fixed.
- translate_x, translate_y: a shift by ±150/331 M/10 of the side, rounded down to pixels.
- rotate: a rotation by ±30 M/10 degrees. All signs are random.
- sharpness: a factor of 1 ± 0.9 M/10. A factor below 1 blurs.
- posterize: a reduction to 8 - 4 M/10 bits, rounded.
- solarize: an inversion of 8-bit levels of at least 255 (1 - M/10).
- equalize: an equalised histogram, independent of M.
- cutout: a grey square at a random position. Its side is M/20 of the shorter image side.

torchvision has no cutout. At M = 10, the square is as in DeVries & Taylor (2017, arXiv:1708.04552): 16 of the 32 pixels
of CIFAR-10. Posterize, solarize and equalize convert images to 8 bits, as in torchvision. Affine maps interpolate
bilinearly; torchvision uses the nearest pixel. As in the paper, pixels from outside the image are mid-grey (0).
"""

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from triptych.machine.randomness import Draw
from triptych.nn.fast import views as kernels
from triptych.ssl.shared.params import HeavyParams

MAPS = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
OPERATIONS = (*MAPS, "posterize", "solarize", "equalize", "sharpness", "cutout")
LARGEST_MAGNITUDE = 10
BRIGHTEST = 255  # of the levels of eight bits
LEVELS_PER_UNIT = (BRIGHTEST + 1 - 1e-3) / 2


class RandAugment:
    """Augmentation that applies `params.operations` random operations to each image of a batch."""

    def __init__(self, params: HeavyParams) -> None:
        self.params = params

    @torch.no_grad()
    def __call__(self, views: Tensor, draw: Draw) -> Tensor:
        """Return the augmented `views`, float32 of shape (B, C, H, W) in [-1, 1], in channels-last memory format."""
        if not self.params.operations:
            return views
        # Under autocast, some operations would round the images to bfloat16.
        with torch.autocast(views.device.type, enabled=False):
            if not kernels.fusible(views):
                views = views.contiguous()  # most of torch's operations are slower, or copy, in channels last
            for _ in range(self.params.operations):
                operation, side, down, right = draw.uniform((len(views), 4)).unbind(1)
                operation = (operation * len(OPERATIONS)).long()
                sign, centre = torch.where(side < 0.5, -1.0, 1.0), torch.stack([down, right], dim=1)
                views = augmented(views, operation, self.params.magnitude, sign, centre)
            return views.contiguous(memory_format=torch.channels_last)


def augmented(images: Tensor, operation: Tensor, magnitude: float, sign: Tensor, centre: Tensor) -> Tensor:
    """Apply `OPERATIONS[operation[i]]` to image i. `centre` has cutout centres, as fractions of height and width."""
    strength = magnitude / LARGEST_MAGNITUDE
    make = fused_augmented if kernels.fusible(images) else torch_augmented
    return make(images, operation, strength, sign, centre)


def fused_augmented(images: Tensor, operation: Tensor, strength: float, sign: Tensor, centre: Tensor) -> Tensor:
    """Compute the result of `torch_augmented` by the compiled CPU kernels. Both results agree up to rounding."""
    parameters = np.zeros(len(images), kernels.HEAVY_VIEW)
    parameters["operation"] = (operation - len(MAPS) + 1).clamp(min=0).numpy()
    parameters["map"] = sources(operation, strength, sign, images.shape[-2:]).numpy()
    parameters["sharpness"], parameters["centre"] = sharpness(strength, sign).numpy(), centre.numpy()
    level = torch.arange(BRIGHTEST + 1, dtype=torch.int32)
    tables = values(torch.stack([level, posterize(level, strength), solarize(level, strength)]))
    pixels = images.detach().permute(0, 2, 3, 1).contiguous()
    views, side = torch.empty_like(pixels), cutout_side(strength, images.shape[-2:])
    kernels.fuse_heavy(pixels.numpy(), parameters, tables.numpy(), LEVELS_PER_UNIT, side, views.numpy())
    return views.permute(0, 3, 1, 2)


def torch_augmented(images: Tensor, operation: Tensor, strength: float, sign: Tensor, centre: Tensor) -> Tensor:
    """Apply `OPERATIONS[operation[i]]` to image i with torch. `strength` is the magnitude, scaled to [0, 1]."""
    chosen = {name: (operation == index)[:, None, None, None] for index, name in enumerate(OPERATIONS)}
    mapped = sample(images, sources(operation, strength, sign, images.shape[-2:]), "zeros")
    images = torch.where((operation < len(MAPS))[:, None, None, None], mapped, images)
    images = relevelled(images, strength, chosen)
    images = sharpen(images, torch.where(chosen["sharpness"], sharpness(strength, sign)[:, None, None, None], 1.0))
    return cut_out(images, cutout_side(strength, images.shape[-2:]), centre, chosen["cutout"])


# --- Affine maps: (B, 2, 3), from the (x, y, 1) of a pixel to the (x, y) of its source, in pixels from the centre ---


def rotation(angle: Tensor) -> Tensor:
    turn = torch.deg2rad(angle)
    cos, sin, zero = turn.cos(), turn.sin(), torch.zeros_like(turn)
    # y points downwards, so that the source of a pixel is its position rotated clockwise.
    return torch.stack([cos, -sin, zero, sin, cos, zero], dim=1).view(-1, 2, 3)


def sources(operation: Tensor, strength: float, sign: Tensor, size: tuple[int, int]) -> Tensor:
    """Return affine maps, of shape (B, 2, 3), from each pixel of the result to its position in the original image.

    `size` is (height, width). With sign 1, translations are to the right or down, and rotations are counter-clockwise;
    with sign -1, the directions are reversed. Operations that are not in MAPS get the identity.
    """
    height, width = size

    def signed(name: str, value: float) -> Tensor:
        return torch.where(operation == OPERATIONS.index(name), value * sign, 0.0)

    maps = rotation(signed("rotate", 30 * strength))
    shear_x, shear_y = signed("shear_x", 0.3 * strength), signed("shear_y", 0.3 * strength)
    right = signed("translate_x", math.floor(150 / 331 * width * strength))
    down = signed("translate_y", math.floor(150 / 331 * height * strength))
    # The fixed point of a shear is the upper left corner, so it also shifts the centre.
    maps[:, 0, 1] += shear_x
    maps[:, 0, 2] += shear_x * (height / 2) - right
    maps[:, 1, 0] += shear_y
    maps[:, 1, 2] += shear_y * (width / 2) - down
    return maps


def sample(images: Tensor, maps: Tensor, outside: Literal["reflection", "zeros"]) -> Tensor:
    """Transform images by affine `maps` of shape (B, 2, 3), with bilinear interpolation.

    A map gives the source position of each pixel, in pixels from the centre. `outside` is the padding mode; rotated
    views use "reflection", because black corners would reveal the angle. No matrix product computes positions, as TF32
    would round them.
    """
    height, width = images.shape[-2:]
    x, y = centred(width, images), centred(height, images)[:, None]
    (xx, xy, x0), (yx, yy, y0) = (row[..., None, None].unbind(1) for row in maps.unbind(1))
    across, down = 2 / width, 2 / height  # from pixels to the grid's [-1, 1]
    grid = [(xx * x + x0) * across + xy * y * across, (yx * x + y0) * down + yy * y * down]
    return functional.grid_sample(
        images, torch.stack(grid, dim=-1), mode="bilinear", padding_mode=outside, align_corners=False
    )


def centred(size: int, like: Tensor) -> Tensor:
    return torch.arange(size, device=like.device, dtype=like.dtype) - (size - 1) / 2


# --- Levels of 8 bits: maps of (256,) int32 to as many new levels along the last dimension ---


def values(levels: Tensor) -> Tensor:
    return levels.to(torch.float32).mul_(2 / BRIGHTEST).sub_(1)


def posterize(level: Tensor, strength: float) -> Tensor:
    return level & -(2 ** (8 - round(8 - 4 * strength)))


def solarize(level: Tensor, strength: float) -> Tensor:
    return torch.where(level >= (1 - strength) * BRIGHTEST, BRIGHTEST - level, level)


def equalize(level: Tensor, pixels: Tensor) -> Tensor:
    """Return levels, of shape (B, C, 256), that equalise the histogram of each channel as Pillow does.

    `pixels` has the int64 level of each pixel. A new level is the number of darker pixels divided by a step, 1/255 of
    the number of pixels darker than the brightest pixel. If this number is below 255, nothing changes.
    """
    counts = torch.zeros(*pixels.shape[:2], len(level), dtype=torch.int32, device=pixels.device)
    # Integer counts do not depend on the order in which a GPU adds them.
    counts.scatter_add_(2, pixels, counts.new_ones(1).expand_as(pixels))
    darker = counts.cumsum(2, dtype=torch.int32) - counts
    step = torch.where(counts > 0, darker, 0).amax(2, keepdim=True).div(BRIGHTEST, rounding_mode="floor")
    even = (darker + step // 2).div(step.clamp(min=1), rounding_mode="floor").clamp_(max=BRIGHTEST)
    return torch.where(step > 0, even, level)


def relevelled(images: Tensor, strength: float, chosen: dict[str, Tensor]) -> Tensor:
    # Truncation maps values that exceed the range by an ulp to 0 or 255.
    pixels = images.add(1).mul_(LEVELS_PER_UNIT).long().flatten(2)
    level = torch.arange(BRIGHTEST + 1, dtype=torch.int32, device=images.device)
    table = torch.where(chosen["posterize"][..., 0], posterize(level, strength), level)
    table = torch.where(chosen["solarize"][..., 0], solarize(level, strength), table)
    table = torch.where(chosen["equalize"][..., 0], equalize(level, pixels), table)
    altered = values(table).gather(2, pixels).view(images.shape)
    return torch.where(chosen["posterize"] | chosen["solarize"] | chosen["equalize"], altered, images)


# --- Neighbouring pixels and squares ---


def sharpness(strength: float, sign: Tensor) -> Tensor:
    return 1 + 0.9 * strength * sign


def sharpen(images: Tensor, factor: Tensor) -> Tensor:
    """Return factor * images + (1 - factor) * 3x3 averages (centre 5/13, others 1/13). Border pixels do not change."""
    rows = images[..., :-2] + images[..., 1:-1] + images[..., 2:]
    neighbours = rows[..., :-2, :] + rows[..., 1:-1, :] + rows[..., 2:, :]
    change = neighbours.sub_(images[..., 1:-1, 1:-1], alpha=9).mul_((1 - factor) / 13)
    return functional.pad(change, (1, 1, 1, 1)).add_(images).clamp_(-1, 1)


def cutout_side(strength: float, size: tuple[int, int]) -> int:
    return round(strength / 2 * min(size))


def cut_out(images: Tensor, side: int, centre: Tensor, chosen: Tensor) -> Tensor:
    size = images.shape[-2:]

    def within(axis: int) -> Tensor:
        start = torch.floor(centre[:, axis, None] * size[axis]) - side // 2
        pixel = torch.arange(size[axis], device=images.device)
        return (pixel >= start) & (pixel < start + side)

    square = within(0)[:, None, :, None] & within(1)[:, None, None, :] & chosen
    return images * (~square).to(images.dtype)
