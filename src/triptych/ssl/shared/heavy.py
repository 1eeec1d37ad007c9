"""RandAugment (Cubuk et al. 2020, arXiv:1909.13719) of whole batches: N operations on each image, at magnitude M.

It makes the heavy views of DSSL (Bai et al. 2022, "Directional Self-supervised Learning for Heavy Image
Augmentations", arXiv:2110.13555) from standard views, and so draws only operations that standard views lack: no
brightness, contrast or saturation. M ranges to 10 as in the paper, where torchvision's ranges to 30; its meaning is
that of torchvision's table:

| operation                | at M                                           | sign   |
| ------------------------ | ---------------------------------------------- | ------ |
| shear_x, shear_y         | 0.3 M/10 pixels per pixel, from the upper left | random |
| translate_x, translate_y | 150/331 M/10 of the side, in whole pixels      | random |
| rotate                   | 30 M/10 degrees                                | random |
| sharpness                | factor 1 + 0.9 M/10; with a minus, it blurs    | random |
| posterize                | keeps 8 - 4 M/10 bits of 8, rounded            |        |
| solarize                 | inverts levels from 255 (1 - M/10) on          |        |
| equalize                 | the same at every M                            |        |
| cutout                   | a square of M/20 of the shorter side, anywhere |        |

torchvision has no cutout: at M = 10 this one is DeVries & Taylor's (2017, arXiv:1708.04552) 16 of CIFAR-10's 32 pixels.
Images are floats; posterize, solarize and equalize convert them to the 8 bits that torchvision works on. Unlike its
default, maps interpolate bilinearly, and pixels from outside or cut out are mid-grey (0 here), as in the paper.
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
    """Alter each image of a batch by its own random `OPERATIONS`."""

    def __init__(self, params: HeavyParams) -> None:
        self.params = params

    @torch.no_grad()
    def __call__(self, views: Tensor, draw: Draw) -> Tensor:
        """Return heavy views, channels last, of (B, C, H, W) in [-1, 1]; without operations the same tensor."""
        if not self.params.operations:
            return views
        # Under autocast some operations would round the images to bfloat16.
        with torch.autocast(views.device.type, enabled=False):
            if not kernels.fusible(views):
                views = views.contiguous()  # most of torch's operations take one channel after another, or copy
            for _ in range(self.params.operations):
                operation, side, down, right = draw.uniform((len(views), 4)).unbind(1)
                operation = (operation * len(OPERATIONS)).long()
                sign, centre = torch.where(side < 0.5, -1.0, 1.0), torch.stack([down, right], dim=1)
                views = augmented(views, operation, self.params.magnitude, sign, centre)
            return views.contiguous(memory_format=torch.channels_last)


def augmented(images: Tensor, operation: Tensor, magnitude: float, sign: Tensor, centre: Tensor) -> Tensor:
    """Apply `OPERATIONS[operation]` to each image; the centre of a cutout is (B, 2) in [0, 1) of height and width."""
    strength = magnitude / LARGEST_MAGNITUDE
    make = fused_augmented if kernels.fusible(images) else torch_augmented
    return make(images, operation, strength, sign, centre)


def fused_augmented(images: Tensor, operation: Tensor, strength: float, sign: Tensor, centre: Tensor) -> Tensor:
    """Make the images of `torch_augmented` up to rounding; each image costs no more than its own operation."""
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
    """Apply every operation to the whole batch and keep the chosen results: the reference of the kernels."""
    chosen = {name: (operation == index)[:, None, None, None] for index, name in enumerate(OPERATIONS)}
    mapped = sample(images, sources(operation, strength, sign, images.shape[-2:]), "zeros")
    images = torch.where((operation < len(MAPS))[:, None, None, None], mapped, images)
    images = relevelled(images, strength, chosen)
    images = sharpen(images, torch.where(chosen["sharpness"], sharpness(strength, sign)[:, None, None, None], 1.0))
    return cut_out(images, cutout_side(strength, images.shape[-2:]), centre, chosen["cutout"])


# --- Affine maps: (B, 2, 3), from a pixel's (x, y, 1) to its source's (x, y), in pixels from the image's centre ---


def rotation(angle: Tensor) -> Tensor:
    turn = torch.deg2rad(angle)
    cos, sin, zero = turn.cos(), turn.sin(), torch.zeros_like(turn)
    # y points downwards, so that the source of a pixel is its position turned clockwise.
    return torch.stack([cos, -sin, zero, sin, cos, zero], dim=1).view(-1, 2, 3)


def sources(operation: Tensor, strength: float, sign: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps of the chosen `MAPS`, else the identity. Sign 1 moves right or down, or turns counter-clockwise."""
    height, width = size

    def signed(name: str, value: float) -> Tensor:
        return torch.where(operation == OPERATIONS.index(name), value * sign, 0.0)

    maps = rotation(signed("rotate", 30 * strength))
    shear_x, shear_y = signed("shear_x", 0.3 * strength), signed("shear_y", 0.3 * strength)
    right = signed("translate_x", math.floor(150 / 331 * width * strength))
    down = signed("translate_y", math.floor(150 / 331 * height * strength))
    # A shear from the upper left corner shifts the centre by its effect over half the image.
    maps[:, 0, 1] += shear_x
    maps[:, 0, 2] += shear_x * (height / 2) - right
    maps[:, 1, 0] += shear_y
    maps[:, 1, 2] += shear_y * (width / 2) - down
    return maps


def sample(images: Tensor, maps: Tensor, outside: Literal["reflection", "zeros"]) -> Tensor:
    """Interpolate (B, C, H, W) bilinearly at each pixel's source; outside lies the reflected image, or zeros.

    torchvision's rotation leaves zeros: black corners that no image has would mark every view and give away its angle.
    The grid is that of `affine_grid` without aligned corners, but computed without a matrix product, which TF32
    would round to a hundredth of a pixel.
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


# --- Levels: (256,) int32 -> as many along the last dimension ---


def values(levels: Tensor) -> Tensor:
    return levels.to(torch.float32).mul_(2 / BRIGHTEST).sub_(1)


def posterize(level: Tensor, strength: float) -> Tensor:
    return level & -(2 ** (8 - round(8 - 4 * strength)))


def solarize(level: Tensor, strength: float) -> Tensor:
    return torch.where(level >= (1 - strength) * BRIGHTEST, BRIGHTEST - level, level)


def equalize(level: Tensor, pixels: Tensor) -> Tensor:
    """Spread each channel's levels evenly, as Pillow: (B, C, 256) for (B, C, pixels) int64 levels.

    A level becomes the number of darker pixels divided by the step, which is a 255th of the number of pixels darker
    than the brightest level in use. If that number is below 255, levels stay as they are.
    """
    counts = torch.zeros(*pixels.shape[:2], len(level), dtype=torch.int32, device=pixels.device)
    # Counts are integers, whose sum does not depend on the order in which a GPU adds them.
    counts.scatter_add_(2, pixels, counts.new_ones(1).expand_as(pixels))
    darker = counts.cumsum(2, dtype=torch.int32) - counts
    step = torch.where(counts > 0, darker, 0).amax(2, keepdim=True).div(BRIGHTEST, rounding_mode="floor")
    even = (darker + step // 2).div(step.clamp(min=1), rounding_mode="floor").clamp_(max=BRIGHTEST)
    return torch.where(step > 0, even, level)


def relevelled(images: Tensor, strength: float, chosen: dict[str, Tensor]) -> Tensor:
    # Truncation maps values that interpolation left outside the range by an ulp to 0 or 255.
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
    """Blend with the image smoothed by weights of 1/13 for neighbours and 5/13; factor 1 keeps it. Borders stay."""
    rows = images[..., :-2] + images[..., 1:-1] + images[..., 2:]
    neighbours = rows[..., :-2, :] + rows[..., 1:-1, :] + rows[..., 2:, :]
    # (neighbours + 4 x) / 13 - x, of which factor 1 adds nothing.
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
