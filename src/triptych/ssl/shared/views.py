"""Random augmented views of a batch of images. Each image has its own random parameters.

The operations are those of SimCLR (arXiv:2002.05709, appendix A), BYOL (arXiv:2006.07733, appendix B) and SimSiam
(arXiv:2011.10566, section 3). They are computed as in torchvision, for values in [-1, 1]. A colour factor of 1 leaves
an image exactly unchanged. Resizing and blurring multiply by one small matrix per image and axis.

All random parameters are drawn first. On a CPU, the kernels of `nn/fast/views.py` then make the views image by image.
On GPUs, under torch.compile, or with `runtime.kernels: plain`, the operations of this module process the whole batch.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from triptych.machine.randomness import Draw
from triptych.nn.fast import views as kernels
from triptych.ssl.shared.heavy import RandAugment, rotation, sample
from triptych.ssl.shared.params import ViewParams

CROP_TRIALS = 10
# torchvision's weights of red, green and blue for luminance, which sum to 0.9999.
LUMA = (0.2989, 0.587, 0.114)


class Choices(NamedTuple):
    """Random parameters of a batch of views, one row per image. The field of a disabled operation is None."""

    boxes: Tensor  # (B, 4) top, left, height and width of the crops in pixels, integers stored as floats
    flipped: Tensor | None  # (B,) bool
    angles: Tensor | None  # (B,) degrees
    jitter: Tensor | None  # (B, 4) factors of brightness, contrast and saturation, and rotation of the hue in turns
    grey: Tensor | None  # (B,) bool
    blurred: Tensor | None  # (B,) bool
    sigma: Tensor | None  # (B,) standard deviation of the blur in pixels
    solarized: Tensor | None  # (B,) bool
    inverted: Tensor | None  # (B,) bool


class Views:
    """Augmentation that makes one random view of each image. `size` is the side of views in pixels; 0 keeps the size.

    Views depend only on the images, the settings, the batch size, and the seed and step of `draw`. Disabled operations
    draw no random numbers.
    """

    def __init__(self, params: ViewParams, size: int = 0) -> None:
        self.params, self.size = params, size
        self.heavy = RandAugment(params.heavy)

    @torch.no_grad()
    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        """Return one view per image: float32 of shape (B, C, H, W) in [-1, 1], in channels-last memory format."""
        choices = self.choose(len(images), images.shape[-2:], draw)
        size = tuple(self.size or side for side in images.shape[-2:])
        # Under autocast, matrix products would round the images to bfloat16.
        with torch.autocast(images.device.type, enabled=False):
            make = fused_views if kernels.fusible(images) else torch_views
            return self.heavy(make(images, choices, size, self.params), draw)

    def choose(self, count: int, size: tuple[int, int], draw: Draw) -> Choices:
        params = self.params
        low, high = params.blur_sigma
        return Choices(
            boxes=random_boxes(params.crop_scale, params.crop_ratio, size, count, draw),
            flipped=happens(params.flip, count, draw),
            angles=params.rotation * (2 * draw.uniform((count,)) - 1) if params.rotation else None,
            jitter=random_jitter(params, count, draw) if params.jitter else None,
            grey=happens(params.grey, count, draw),
            blurred=happens(params.blur, count, draw),
            sigma=low + (high - low) * draw.uniform((count,)) if params.blur else None,
            solarized=happens(params.solarize, count, draw),
            inverted=happens(params.invert, count, draw),
        )


# --- Random parameters ---


def happens(probability: float, count: int, draw: Draw) -> Tensor | None:
    return draw.uniform((count,)) < probability if probability else None


def random_boxes(scale: list[float], ratio: list[float], size: tuple[int, int], count: int, draw: Draw) -> Tensor:
    """Draw `count` crop boxes as torchvision's RandomResizedCrop does (Szegedy et al. 2015, arXiv:1409.4842).

    Each row of the result contains top, left, height and width in pixels. It is the first of ten random boxes that fits
    into the image. If none fits, it is the largest central box with an allowed aspect ratio.
    """
    high, wide = size
    area, log_ratio = draw.uniform((count, CROP_TRIALS, 2)).unbind(-1)
    area = high * wide * (scale[0] + (scale[1] - scale[0]) * area)
    aspect = torch.exp(math.log(ratio[0]) + (math.log(ratio[1]) - math.log(ratio[0])) * log_ratio)
    heights, widths = torch.sqrt(area / aspect).round(), torch.sqrt(area * aspect).round()
    fits = (heights > 0) & (heights <= high) & (widths > 0) & (widths <= wide)
    first, any_fits = fits.byte().argmax(dim=1, keepdim=True), fits.any(dim=1)
    central_height, central_width = min(high, round(wide / ratio[0])), min(wide, round(high * ratio[1]))
    height = torch.where(any_fits, heights.gather(1, first)[:, 0], central_height)
    width = torch.where(any_fits, widths.gather(1, first)[:, 0], central_width)
    down, right = draw.uniform((count, 2)).unbind(-1)
    top = torch.where(any_fits, torch.floor(down * (high - height + 1)), (high - central_height) // 2)
    left = torch.where(any_fits, torch.floor(right * (wide - width + 1)), (wide - central_width) // 2)
    return torch.stack([top, left, height, width], dim=1)


def random_jitter(params: ViewParams, count: int, draw: Draw) -> Tensor:
    chance, *shares = draw.uniform((count, 5)).unbind(1)
    bounds = [(max(0.0, 1 - x), 1 + x, 1.0) for x in (params.brightness, params.contrast, params.saturation)]
    bounds.append((-params.hue, params.hue, 0.0))
    factors = [
        torch.where(chance < params.jitter, low + (high - low) * share, neutral)
        for (low, high, neutral), share in zip(bounds, shares, strict=True)
    ]
    return torch.stack(factors, dim=1)


# --- Views from random parameters: (B, C, H, W) in [-1, 1] -> (B, C, *size), channels last ---


def fused_views(images: Tensor, choices: Choices, size: tuple[int, int], params: ViewParams) -> Tensor:
    parameters = np.zeros(len(images), kernels.VIEW)
    parameters["box"], parameters["jitter"] = choices.boxes.numpy(), kernels.UNJITTERED
    for name in ("flipped", "jitter", "grey", "blurred", "solarized", "inverted"):
        if (chosen := getattr(choices, name)) is not None:
            parameters[name] = chosen.numpy()
    if choices.angles is not None:
        parameters["rotated"], parameters["map"] = True, rotation(choices.angles).numpy()
    sigma = torch.ones(len(images)) if choices.sigma is None else choices.sigma
    radius = blur_radius(params.blur_sigma)
    taps = (blur_taps(sigma, min(radius, side - 1)).numpy() for side in size)
    luma = np.array([*LUMA, sum(LUMA) - 1], np.float32)
    pixels, views = images.detach().permute(0, 2, 3, 1).contiguous(), torch.empty(len(images), *size, images.shape[1])
    kernels.fuse(pixels.numpy(), parameters, *taps, luma, views.numpy())
    return views.permute(0, 3, 1, 2)


def torch_views(images: Tensor, choices: Choices, size: tuple[int, int], params: ViewParams) -> Tensor:
    """Return views of `images` with the random parameters `choices`. This is the reference for the compiled kernels."""
    views = resized_crop(images, choices.boxes, choices.flipped, size)
    if choices.angles is not None:
        views = sample(views, rotation(choices.angles), "reflection")
    if choices.jitter is not None:
        # The order is fixed. torchvision shuffles it, but 24 orders would require 24 passes over the batch.
        for strength, adjust, factor in zip(
            (params.brightness, params.contrast, params.saturation, params.hue),
            (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue),
            choices.jitter.unbind(1),
            strict=True,
        ):
            views = adjust(views, factor) if strength else views
    if choices.grey is not None:
        views = greyscale(views, choices.grey)
    if choices.blurred is not None:
        views = gaussian_blur(views, choices.sigma, choices.blurred, blur_radius(params.blur_sigma))
    if choices.solarized is not None:
        views = solarize(views, choices.solarized)
    if choices.inverted is not None:
        views = invert(views, choices.inverted)
    # Interpolation weights sum to one only up to rounding, so that values can exceed the range by an ulp.
    return views.clamp_(-1, 1).contiguous(memory_format=torch.channels_last)


# --- Operations on (B, C, H, W) in [-1, 1] ---


def resized_crop(images: Tensor, boxes: Tensor, flipped: Tensor | None, size: tuple[int, int]) -> Tensor:
    """Crop image i to `boxes[i]`, resize the crop bilinearly to `size`, and mirror it if `flipped[i]` is True."""
    # Pixels outside the box have no influence, and there is no antialiasing. Channels-last images are fastest.
    top, left, height, width = boxes.unbind(1)
    rows = interpolation(top, height, None, images.shape[2], size[0])
    columns = interpolation(left, width, flipped, images.shape[3], size[1])
    return along_columns(columns, along_rows(rows, images))


def interpolation(start: Tensor, length: Tensor, mirrored: Tensor | None, inputs: int, outputs: int) -> Tensor:
    """Return weights, of shape (B, outputs, inputs), that crop, mirror and resize one axis by linear interpolation."""
    pixel = torch.arange(inputs, device=start.device, dtype=start.dtype)
    output = torch.arange(outputs, device=start.device, dtype=start.dtype)
    if mirrored is not None:
        output = torch.where(mirrored[:, None], output.flip(0), output)
    length = length[:, None]
    # The centre of pixel i is at i + 0.5. Beyond the outermost centres of a box, its outermost pixels are repeated.
    source = ((output + 0.5) * (length / outputs) - 0.5).clamp(min=0).minimum(length - 1) + start[:, None]
    return (source[:, :, None] - pixel).abs_().neg_().add_(1).clamp_(min=0)


def along_rows(weights: Tensor, images: Tensor) -> Tensor:
    count, channels, height, width = images.shape
    mixed = weights @ images.permute(0, 2, 3, 1).reshape(count, height, width * channels)
    return mixed.view(count, weights.shape[1], width, channels).permute(0, 3, 1, 2)


def along_columns(weights: Tensor, images: Tensor) -> Tensor:
    count, channels, height, width = images.shape
    mixed = images.reshape(count, channels * height, width) @ weights.mT
    return mixed.view(count, channels, height, weights.shape[1])


def per_image(parameter: Tensor) -> Tensor:
    return parameter[:, None, None, None]


def luminance(images: Tensor) -> Tensor:
    if images.shape[1] == 1:
        return images
    red, green, blue = images.split(1, dim=1)
    # The constant compensates in [-1, 1] for weights that do not sum to 1.
    grey = red * LUMA[0] + (sum(LUMA) - 1)
    return grey.add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    factor = per_image(factor)
    return (images * factor).add_(factor - 1).clamp_(-1, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    return blended(images, factor, luminance(images.mean(dim=(2, 3), keepdim=True)))


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    return images if images.shape[1] == 1 else blended(images, factor, luminance(images))


def blended(images: Tensor, factor: Tensor, other: Tensor) -> Tensor:
    factor = per_image(factor)
    return (images * factor).add_((1 - factor) * other).clamp_(-1, 1)


def adjust_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Rotate the HSV hue of image i by `turns[i]` full turns, in [-0.5, 0.5].

    The new value of a channel is minimum + (maximum - minimum) * nearness, with the old extremes of the pixel. Nearness
    is 1 if the new hue is within 1/6 turn of the channel's colour, 0 from 1/3 turn on, and linear in between.
    """
    if images.shape[1] == 1:
        return images
    red, green, blue = images.split(1, dim=1)
    least = torch.minimum(torch.minimum(red, green), blue)
    chroma = torch.maximum(torch.maximum(red, green), blue).sub_(least)
    # With channels scaled to [0, 1] by minimum and chroma, 1 + green + blue - red is the distance of the hue from red,
    # in sixths of a turn, and the sign of green - blue its direction. The textbook formula with its three cases takes
    # twice as long. Without chroma the hue is 0.
    hue = (green - least).add_(blue).sub_(red).add_(chroma)
    hue.div_(chroma.clamp(min=torch.finfo(chroma.dtype).tiny)).copysign_(green - blue)
    hue.add_(per_image(6 * turns))
    hue.sub_((hue / 6).round_(), alpha=6)
    # Created on the device, because copying constants to it would synchronise.
    own_colours = torch.arange(0, 6, 2, device=images.device).view(1, 3, 1, 1)
    # For y up to 7 sixths, | |y| - 3 | - 1 is 2 minus the distance of y from the nearest whole turn, before clamping.
    nearness = (hue - own_colours).abs_().sub_(3).abs_().sub_(1).clamp_(0, 1)
    return torch.where(per_image(turns) == 0, images, nearness.mul_(chroma).add_(least))


def greyscale(images: Tensor, chosen: Tensor) -> Tensor:
    return images if images.shape[1] == 1 else torch.where(per_image(chosen), luminance(images), images)


def blur_radius(sigma: list[float]) -> int:
    return math.ceil(3 * sigma[1])


def gaussian_blur(images: Tensor, sigma: Tensor, chosen: Tensor, radius: int) -> Tensor:
    """Blur the images for which `chosen` is True, with reflected borders. `sigma` and `radius` are in pixels."""
    down, across = (blur_matrix(sigma, chosen, radius, size) for size in images.shape[-2:])
    return along_rows(down, along_columns(across, images))


def blur_taps(sigma: Tensor, radius: int) -> Tensor:
    offset = torch.arange(-radius, radius + 1, device=sigma.device)
    # Weights below exp(-50) have no effect, but subnormal floats would make the products many times slower.
    return torch.softmax((-0.5 * (offset / sigma[:, None]) ** 2).clamp_(min=-50), dim=1)


def blur_matrix(sigma: Tensor, chosen: Tensor, radius: int, size: int) -> Tensor:
    """Return matrices, of shape (B, size, size), that blur along one axis, or the identity if `chosen` is False."""
    radius = min(radius, size - 1)
    offset = torch.arange(-radius, radius + 1, device=sigma.device)
    gaussian = blur_taps(sigma, radius)
    taps = torch.where(chosen[:, None], gaussian, (offset == 0).to(gaussian.dtype))
    pixel = torch.arange(size, device=sigma.device)
    source = (pixel[:, None] + offset[:, None, None]).abs()
    source = torch.where(source >= size, 2 * (size - 1) - source, source)
    reaches = (source == pixel).to(taps.dtype)
    return (taps @ reaches.flatten(1)).view(-1, size, size)


def solarize(images: Tensor, chosen: Tensor) -> Tensor:
    return torch.minimum(images, invert(images, chosen))


def invert(images: Tensor, chosen: Tensor) -> Tensor:
    return images * per_image(torch.where(chosen, -1.0, 1.0))
