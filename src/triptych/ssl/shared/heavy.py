"""RandAugment (Cubuk et al. 2020, arXiv:1909.13719) of whole batches: N operations on each image, at magnitude M.

It makes the heavy views of DSSL (Bai et al. 2022, "Directional Self-supervised Learning for Heavy Image
Augmentations", arXiv:2110.13555) from standard ones, and so draws only from operations that standard views have not:
no brightness, contrast or saturation. M counts to 10 as in the paper, where torchvision counts to 30; what it means is
torchvision's table:

| operation                | at M                                           | sign   |
| ------------------------ | ---------------------------------------------- | ------ |
| shear_x, shear_y         | 0.3 M/10 pixels a pixel, from the upper left   | random |
| translate_x, translate_y | 150/331 M/10 of the side, in whole pixels      | random |
| rotate                   | 30 M/10 degrees                                | random |
| sharpness                | factor 1 + 0.9 M/10; with a minus, it blurs    | random |
| posterize                | keeps 8 - 4 M/10 bits of 8, rounded            |        |
| solarize                 | inverts levels from 255 (1 - M/10) on          |        |
| equalize                 | the same at every M                            |        |
| cutout                   | a square of M/20 of the shorter side, anywhere |        |

torchvision has no cutout: at M = 10 this one is DeVries & Taylor's (2017, arXiv:1708.04552) 16 of CIFAR-10's 32 pixels.
Images are floats, of which posterize, solarize and equalize see the 8 bits that torchvision works on. Unlike its
default, maps interpolate bilinearly, and what comes from outside or is cut out is mid-grey (0 here), as in the paper,
not black.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from triptych.machine.randomness import Draw
from triptych.nn.fast.views import fuse_heavy, fused
from triptych.ssl.shared.affine import rotation, sample
from triptych.ssl.shared.params import HeavyParams

MAPS = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
OPERATIONS = (*MAPS, "posterize", "solarize", "equalize", "sharpness", "cutout")
STRONGEST = 10
BRIGHTEST = 255  # of the levels of eight bits
LEVELS_A_UNIT = (BRIGHTEST + 1 - 1e-3) / 2


class RandAugment:
    """Alters each image of a batch by operations of its own.

    Every round draws one of `OPERATIONS` for each image, whatever was drawn before. What is drawn depends on the
    params and the size of the batch alone.
    """

    def __init__(self, params: HeavyParams) -> None:
        self.params = params

    @torch.no_grad()
    def __call__(self, views: Tensor, draw: Draw) -> Tensor:
        """The heavy view of each view; with no operations the very tensor, and nothing is drawn.

        Args:
            views: (B, C, H, W) float32 in [-1, 1]; C is 3 or 1. Unchanged.
            draw: where all randomness comes from, on the views' device.

        Returns:
            Images of the same shape and range, channels last.
        """
        if not self.params.operations:
            return views
        # Under autocast some operations would round the images to bfloat16.
        with torch.autocast(views.device.type, enabled=False):
            if not fused(views):
                views = views.contiguous()  # most operations take one channel after another, or copy
            for _ in range(self.params.operations):
                operation, side, down, right = draw.uniform((len(views), 4)).unbind(1)
                operation = (operation * len(OPERATIONS)).long()
                sign, place = torch.where(side < 0.5, -1.0, 1.0), torch.stack([down, right], dim=1)
                views = augmented(views, operation, self.params.magnitude, sign, place)
            return views.contiguous(memory_format=torch.channels_last)


def augmented(images: Tensor, operation: Tensor, magnitude: float, sign: Tensor, place: Tensor) -> Tensor:
    """Each image after one operation.

    Args:
        images: (B, C, H, W) in [-1, 1].
        operation: (B,) indices of `OPERATIONS`.
        magnitude: M, in [0, 10].
        sign: (B,) 1 or -1, for the operations that have one.
        place: (B, 2) in [0, 1), how far down and right the centre of a cutout lies.
    """
    share = magnitude / STRONGEST
    if fused(images):
        return augmented_in_one_pass(images, operation, share, sign, place)
    chosen = {name: (operation == index)[:, None, None, None] for index, name in enumerate(OPERATIONS)}
    mapped = sample(images, sources(operation, share, sign, images.shape[-2:]), "zeros")
    images = torch.where((operation < len(MAPS))[:, None, None, None], mapped, images)
    images = relevelled(images, share, chosen)
    images = sharpen(images, torch.where(chosen["sharpness"], sharpness(share, sign)[:, None, None, None], 1.0))
    return cut_out(images, share / 2, place, chosen["cutout"])


def augmented_in_one_pass(images: Tensor, operation: Tensor, share: float, sign: Tensor, place: Tensor) -> Tensor:
    """As `augmented` up to rounding, of which each image costs no more than its own operation; see `fused_views.py`."""
    level = torch.arange(BRIGHTEST + 1, dtype=torch.int32)
    tables = values(torch.stack([level, posterize(level, round(8 - 4 * share)), solarize(level, 1 - share)]))
    kinds = (operation - len(MAPS) + 1).clamp(min=0)
    maps = sources(operation, share, sign, images.shape[-2:])
    pixels = images.detach().permute(0, 2, 3, 1).contiguous()
    views = torch.empty_like(pixels)
    made = (tensor.numpy() for tensor in (pixels, kinds, maps, sharpness(share, sign), place.contiguous(), tables))
    fuse_heavy(*made, LEVELS_A_UNIT, round(share / 2 * min(images.shape[-2:])), views.numpy())
    return views.permute(0, 3, 1, 2)


def sharpness(share: float, sign: Tensor) -> Tensor:
    """(B,) factors of the blend with the smoothed image."""
    return 1 + 0.9 * share * sign


def values(levels: Tensor) -> Tensor:
    """Of [0, 255] in [-1, 1]."""
    return levels.to(torch.float32).mul_(2 / BRIGHTEST).sub_(1)


def sources(operation: Tensor, share: float, sign: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, 2, 3) maps for `affine.sample` of the `MAPS` chosen; the identity for other operations.

    Args:
        operation: (B,) indices of `OPERATIONS`.
        share: M/10.
        sign: (B,) 1 or -1; 1 moves right or down, or turns counter-clockwise.
        size: height and width of the images.
    """
    height, width = size

    def at(name: str, value: float) -> Tensor:
        return torch.where(operation == OPERATIONS.index(name), value * sign, 0.0)

    maps = rotation(at("rotate", 30 * share))
    shear_x, shear_y = at("shear_x", 0.3 * share), at("shear_y", 0.3 * share)
    right = at("translate_x", math.floor(150 / 331 * width * share))
    down = at("translate_y", math.floor(150 / 331 * height * share))
    # From the upper left corner, so that a shear also shifts by what it does in half the image.
    maps[:, 0, 1] += shear_x
    maps[:, 0, 2] += shear_x * (height / 2) - right
    maps[:, 1, 0] += shear_y
    maps[:, 1, 2] += shear_y * (width / 2) - down
    return maps


def relevelled(images: Tensor, share: float, chosen: dict[str, Tensor]) -> Tensor:
    """Posterizes, solarizes or equalizes each image for which that was chosen, by one table for each of its channels.

    Args:
        images: (B, C, H, W) in [-1, 1].
        share: M/10.
        chosen: (B, 1, 1, 1) bool for each operation.
    """
    # Truncating takes what interpolation left outside the range by an ulp for 0 or 255.
    pixels = images.add(1).mul_(LEVELS_A_UNIT).long().flatten(2)
    level = torch.arange(BRIGHTEST + 1, dtype=torch.int32, device=images.device)
    table = torch.where(chosen["posterize"][..., 0], posterize(level, round(8 - 4 * share)), level)
    table = torch.where(chosen["solarize"][..., 0], solarize(level, 1 - share), table)
    table = torch.where(chosen["equalize"][..., 0], equalize(level, pixels), table)
    altered = values(table).gather(2, pixels).view(images.shape)
    return torch.where(chosen["posterize"] | chosen["solarize"] | chosen["equalize"], altered, images)


# --- What becomes of each level: (256,) int32 in, as many along the last dimension out ---


def posterize(level: Tensor, bits: int) -> Tensor:
    """Keeps the first of the eight bits."""
    return level & -(2 ** (8 - bits))


def solarize(level: Tensor, threshold: float) -> Tensor:
    """Inverts levels that are at least the threshold, a share of the brightest."""
    return torch.where(level >= threshold * BRIGHTEST, BRIGHTEST - level, level)


def equalize(level: Tensor, pixels: Tensor) -> Tensor:
    """Spreads each channel's levels evenly, as Pillow's equalize: (B, C, 256) for (B, C, pixels) int64 levels.

    A level becomes the number of darker pixels over the step, the 255th part of those darker than the brightest there
    are. Where those are fewer than 255, all stays as it is.
    """
    counts = torch.zeros(*pixels.shape[:2], len(level), dtype=torch.int32, device=pixels.device)
    # Counts are integers, whose sum does not depend on the order in which a GPU adds them.
    counts.scatter_add_(2, pixels, counts.new_ones(1).expand_as(pixels))
    darker = counts.cumsum(2, dtype=torch.int32) - counts
    step = torch.where(counts > 0, darker, 0).amax(2, keepdim=True).div(BRIGHTEST, rounding_mode="floor")
    even = (darker + step // 2).div(step.clamp(min=1), rounding_mode="floor").clamp_(max=BRIGHTEST)
    return torch.where(step > 0, even, level)


# --- What becomes of images: (B, C, H, W) in [-1, 1] ---


def sharpen(images: Tensor, factor: Tensor) -> Tensor:
    """Blends with a smoothed image, (B, 1, 1, 1): by factor 0 smoothed, by 1 the image. Pixels at the border stay.

    The smoothed image weighs the eight neighbours by 1/13 and the pixel itself by 5/13.
    """
    rows = images[..., :-2] + images[..., 1:-1] + images[..., 2:]
    around = rows[..., :-2, :] + rows[..., 1:-1, :] + rows[..., 2:, :]
    # (around + 4 x) / 13 - x, of which factor 1 adds nothing.
    change = around.sub_(images[..., 1:-1, 1:-1], alpha=9).mul_((1 - factor) / 13)
    return functional.pad(change, (1, 1, 1, 1)).add_(images).clamp_(-1, 1)


def cut_out(images: Tensor, share: float, place: Tensor, chosen: Tensor) -> Tensor:
    """Blanks a square of a share of the shorter side, rounded, about a random pixel: at the border it is cut off.

    Args:
        images: (B, C, H, W).
        share: side of the square over the shorter side of the images.
        place: (B, 2) in [0, 1), how far down and right its centre lies.
        chosen: (B, 1, 1, 1) bool.
    """
    size = images.shape[-2:]
    side = round(share * min(size))

    def within(along: int) -> Tensor:
        start = torch.floor(place[:, along, None] * size[along]) - side // 2
        pixel = torch.arange(size[along], device=images.device)
        return (pixel >= start) & (pixel < start + side)

    square = within(0)[:, None, :, None] & within(1)[:, None, None, :] & chosen
    return images * (~square).to(images.dtype)
