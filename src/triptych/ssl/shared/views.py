"""Random views of a batch of images, as SimCLR (arXiv:2002.05709, appendix A), BYOL (arXiv:2006.07733, appendix B)
and SimSiam (arXiv:2011.10566, section 3) make them, every image with numbers of its own and no loop over images.

The operations are torchvision's, on values in [-1, 1] instead of [0, 1]. Blends and the other affine operations are
written for that range directly: a factor of 1 then leaves every bit as it was, which a trip to [0, 1] and back would
not. (B,) tensors hold one parameter for each image.

Resizing and blurring are products with small matrices, one for each image and axis. On small images that resizes as
fast as sampling a grid and blurs several times as fast as convolving, and the identity matrix changes no bit.

All that is chance is drawn first. Then, on GPUs and in what torch compiles, the operations follow each other on the
whole batch; on CPUs `fused_views.py` does the same in one pass, image by image.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from triptych.machine.randomness import Draw
from triptych.nn.fast.views import fuse, fused
from triptych.ssl.shared import affine
from triptych.ssl.shared.heavy import RandAugment
from triptych.ssl.shared.params import ViewParams

CROP_TRIALS = 10
# torchvision's weights of red, green and blue in grey. They sum to 0.9999, here as there.
LUMA = (0.2989, 0.587, 0.114)


class Boxes(NamedTuple):
    """Crops in whole pixels; each (B,) float."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


class Jitter(NamedTuple):
    """Factors of ColorJitter; each (B,). 1, or a hue of 0, changes nothing."""

    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor


class Blur(NamedTuple):
    """Which images are blurred, (B,) bool, by what sigma, (B,), and how many pixels it reaches."""

    chosen: Tensor
    sigma: Tensor
    radius: int


class Choices(NamedTuple):
    """What is drawn for the views of a batch: (B,) bool, or degrees for the angles. None where an operation is off."""

    boxes: Boxes
    flipped: Tensor | None
    angles: Tensor | None
    jitter: Jitter | None
    grey: Tensor | None
    blur: Blur | None
    solarized: Tensor | None
    inverted: Tensor | None


class Views:
    """Makes one random view of each image of a batch.

    What is drawn depends on the params and the size of the batch alone, never on the images, so that a view is a
    function of the draw's seed and step. An operation whose probability is 0 draws nothing, nor does a rotation by 0.

    Args:
        params: the augmentation.
        size: pixels a side of the views, 0 as the images.
    """

    def __init__(self, params: ViewParams, size: int = 0) -> None:
        self.params, self.size = params, size
        self.heavy = RandAugment(params.heavy)

    @torch.no_grad()
    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        """A view of each image; calling again with the same draw makes other views.

        Args:
            images: (B, C, H, W) float32 in [-1, 1]; C is 3 or 1. Unchanged.
            draw: where all randomness comes from, on the images' device.

        Returns:
            Images of the same channels and range, of the views' size, channels last.
        """
        chosen = self.choose(len(images), images.shape[-2:], draw)
        size = tuple(self.size or side for side in images.shape[-2:])
        if fused(images):
            return self.heavy(views_in_one_pass(images, chosen, size), draw)
        # Under autocast the matrix products would round the images to bfloat16.
        with torch.autocast(images.device.type, enabled=False):
            return self.heavy(views_by_torch(images, chosen, size, self.params), draw)

    def choose(self, count: int, size: tuple[int, int], draw: Draw) -> Choices:
        """All that is drawn for the views of `count` images of a height and width, but for heavy operations."""
        params = self.params

        def whether(probability: float) -> Tensor | None:
            return happens(probability, count, draw) if probability else None

        return Choices(
            boxes=random_boxes(params.crop_scale, params.crop_ratio, size, count, draw),
            flipped=whether(params.flip),
            angles=random_angles(params.rotation, count, draw) if params.rotation else None,
            jitter=random_jitter(params, count, draw) if params.jitter else None,
            grey=whether(params.grey),
            blur=random_blur(params.blur, params.blur_sigma, count, draw) if params.blur else None,
            solarized=whether(params.solarize),
            inverted=whether(params.invert),
        )


# --- What is drawn ---


def happens(probability: float, count: int, draw: Draw) -> Tensor:
    """(count,) bool, each true with the probability."""
    return draw.uniform((count,)) < probability


def random_boxes(scale: list[float], ratio: list[float], size: tuple[int, int], count: int, draw: Draw) -> Boxes:
    """Crops as torchvision's RandomResizedCrop (Szegedy et al. 2015, arXiv:1409.4842) draws them.

    Of ten pairs of an area and a log-ratio, each image takes the first whose box lies within the image, at a uniform
    place; where none does, the largest central box of an allowed ratio.

    Args:
        scale: least and largest share of the image's area.
        ratio: least and largest width over height.
        size: height and width of the images.
        count: how many boxes.
        draw: where the numbers come from.
    """
    high, wide = size
    area, log_ratio = draw.uniform((count, CROP_TRIALS, 2)).unbind(-1)
    area = high * wide * (scale[0] + (scale[1] - scale[0]) * area)
    aspect = torch.exp(math.log(ratio[0]) + (math.log(ratio[1]) - math.log(ratio[0])) * log_ratio)
    heights, widths = torch.sqrt(area / aspect).round(), torch.sqrt(area * aspect).round()
    fits = (heights > 0) & (heights <= high) & (widths > 0) & (widths <= wide)
    first = fits.byte().argmax(dim=1, keepdim=True)
    fallback_height, fallback_width = central_box(ratio, size)
    found = fits.any(dim=1)
    height = torch.where(found, heights.gather(1, first)[:, 0], fallback_height)
    width = torch.where(found, widths.gather(1, first)[:, 0], fallback_width)
    down, right = draw.uniform((count, 2)).unbind(-1)
    top = torch.where(found, torch.floor(down * (high - height + 1)), (high - fallback_height) // 2)
    left = torch.where(found, torch.floor(right * (wide - width + 1)), (wide - fallback_width) // 2)
    return Boxes(top, left, height, width)


def central_box(ratio: list[float], size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the largest box of an allowed ratio within images of a size."""
    high, wide = size
    if wide / high < ratio[0]:
        return round(wide / ratio[0]), wide
    if wide / high > ratio[1]:
        return high, round(high * ratio[1])
    return high, wide


def random_angles(most: float, count: int, draw: Draw) -> Tensor:
    """(count,) degrees, uniform in [-most, most]."""
    return most * (2 * draw.uniform((count,)) - 1)


def random_jitter(params: ViewParams, count: int, draw: Draw) -> Jitter:
    """Factors as torchvision's ColorJitter draws them, with those of images that are left alone set to nothing."""
    chance, *shares = draw.uniform((count, 5)).unbind(1)
    jittered = chance < params.jitter

    def spread(low: float, high: float, share: Tensor, nothing: float) -> Tensor:
        return torch.where(jittered, low + (high - low) * share, nothing)

    strengths = (params.brightness, params.contrast, params.saturation)
    blends = [spread(max(0.0, 1 - x), 1 + x, share, 1.0) for x, share in zip(strengths, shares[:3], strict=True)]
    return Jitter(*blends, spread(-params.hue, params.hue, shares[3], 0.0))


def random_blur(probability: float, sigma: list[float], count: int, draw: Draw) -> Blur:
    """Blurs as SimCLR's: sigma is uniform between its two bounds."""
    low, high = sigma
    return Blur(happens(probability, count, draw), low + (high - low) * draw.uniform((count,)), blur_radius(high))


# --- The views of what was drawn ---


def views_in_one_pass(images: Tensor, chosen: Choices, size: tuple[int, int]) -> Tensor:
    """As `views_by_torch` up to rounding, several times as fast; see `fused_views.py`."""
    views = torch.empty(*images.shape[:2], *size, memory_format=torch.channels_last)
    # Of an operation that is off the parameters have no row.
    none = torch.zeros(0, dtype=torch.bool)
    flipped, grey, solarized, inverted = (
        none if which is None else which for which in (chosen.flipped, chosen.grey, chosen.solarized, chosen.inverted)
    )
    maps = torch.empty(0, 2, 3) if chosen.angles is None else affine.rotation(chosen.angles)
    jitter = torch.empty(0, 4) if chosen.jitter is None else torch.stack(chosen.jitter, dim=1)
    blurred, down, across = none, torch.empty(0, 1), torch.empty(0, 1)
    if chosen.blur:
        blurred = chosen.blur.chosen
        down, across = (blur_taps(chosen.blur.sigma, min(chosen.blur.radius, side - 1)) for side in size)
    luma = torch.tensor([*LUMA, sum(LUMA) - 1])
    boxes = torch.stack(chosen.boxes, dim=1)
    parameters = (boxes, flipped, maps, jitter, grey, blurred, down, across, solarized, inverted, luma)
    pixels = images.detach().permute(0, 2, 3, 1).contiguous()
    fuse(*(tensor.numpy() for tensor in (pixels, *parameters, views.permute(0, 2, 3, 1))))
    return views


def views_by_torch(images: Tensor, chosen: Choices, size: tuple[int, int], params: ViewParams) -> Tensor:
    """The operations one after the other.

    Args:
        images: (B, C, H, W) in [-1, 1].
        chosen: what was drawn for them.
        size: height and width of the views.
        params: which kinds of jitter are on.

    Returns:
        (B, C, *size) in [-1, 1], channels last.
    """
    flipped = torch.zeros_like(chosen.boxes.left, dtype=torch.bool) if chosen.flipped is None else chosen.flipped
    views = resized_crop(images, chosen.boxes, flipped, size)
    if chosen.angles is not None:
        views = rotate(views, chosen.angles)
    if chosen.jitter is not None:
        views = jittered(views, chosen.jitter, params)
    if chosen.grey is not None:
        views = greyscale(views, chosen.grey)
    if chosen.blur is not None:
        views = gaussian_blur(views, chosen.blur.sigma, chosen.blur.chosen, chosen.blur.radius)
    if chosen.solarized is not None:
        views = solarize(views, chosen.solarized)
    if chosen.inverted is not None:
        views = invert(views, chosen.inverted)
    # Weights that sum to one only up to rounding can leave the range by an ulp.
    return views.clamp_(-1, 1).contiguous(memory_format=torch.channels_last)


def jittered(images: Tensor, factors: Jitter, params: ViewParams) -> Tensor:
    """Colour jitter in one fixed order.

    torchvision shuffles the four operations. Here each is one pass over the whole batch; 24 orders would be 24
    passes, or a batch that is sorted by order and taken apart.
    """
    if params.brightness:
        images = adjust_brightness(images, factors.brightness)
    if params.contrast:
        images = adjust_contrast(images, factors.contrast)
    if params.saturation:
        images = adjust_saturation(images, factors.saturation)
    if params.hue:
        images = adjust_hue(images, factors.hue)
    return images


# --- What is done. Images in and out: (B, C, H, W) in [-1, 1] ---


def resized_crop(images: Tensor, boxes: Boxes, flipped: Tensor, size: tuple[int, int]) -> Tensor:
    """Each image's box, resized bilinearly to a size, and mirrored left to right where `flipped`.

    As crop, then resize, then flip: the pixels around a box have no part in it. Where a box shrinks, pixels between
    the places that are sampled have none either (torchvision's antialias=False).

    Args:
        images: (B, C, H, W); fastest if channels last.
        boxes: whole pixels within the images.
        flipped: (B,) bool.
        size: height and width of the result.
    """
    height, width = images.shape[-2:]
    rows = interpolation(boxes.top, boxes.height, torch.zeros_like(flipped), height, size[0])
    columns = interpolation(boxes.left, boxes.width, flipped, width, size[1])
    return along_columns(columns, along_rows(rows, images))


def interpolation(start: Tensor, length: Tensor, mirrored: Tensor, inputs: int, outputs: int) -> Tensor:
    """(B, outputs, inputs) weights that stretch `length` of the input's pixels from `start` on over the output."""
    pixel = torch.arange(inputs, device=start.device, dtype=start.dtype)
    output = torch.arange(outputs, device=start.device, dtype=start.dtype)
    output = torch.where(mirrored[:, None], output.flip(0), output)
    length = length[:, None]
    # Pixel centres lie at halves. Beyond the outermost centre of the box its outermost pixel goes on.
    place = ((output + 0.5) * (length / outputs) - 0.5).clamp(min=0).minimum(length - 1) + start[:, None]
    return (place[:, :, None] - pixel).abs_().neg_().add_(1).clamp_(min=0)


def along_rows(weights: Tensor, images: Tensor) -> Tensor:
    """Mixes the rows of each image: (B, rows of the result, H) weights; channels last."""
    count, channels, height, width = images.shape
    mixed = weights @ images.permute(0, 2, 3, 1).reshape(count, height, width * channels)
    return mixed.view(count, weights.shape[1], width, channels).permute(0, 3, 1, 2)


def along_columns(weights: Tensor, images: Tensor) -> Tensor:
    """Mixes the columns of each image: (B, columns of the result, W) weights; contiguous, channel after channel."""
    count, channels, height, width = images.shape
    mixed = images.reshape(count, channels * height, width) @ weights.mT
    return mixed.view(count, channels, height, weights.shape[1])


def rotate(images: Tensor, angle: Tensor) -> Tensor:
    """Turns each image counter-clockwise about its centre, as torchvision's rotate with bilinear interpolation.

    What comes from outside is the image reflected at its border. torchvision leaves it black: corners that are in no
    image would mark every view, and their shape would tell its angle.

    Args:
        images: (B, C, H, W).
        angle: (B,) degrees.
    """
    return affine.sample(images, affine.rotation(angle), "reflection")


def per_image(parameter: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1), to meet images."""
    return parameter[:, None, None, None]


def luminance(images: Tensor) -> Tensor:
    """(B, 1, H, W): the grey of each pixel; the image itself where it has one channel."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.split(1, dim=1)
    # The constant makes up, in [-1, 1], for weights that do not sum to 1.
    grey = red * LUMA[0] + (sum(LUMA) - 1)
    return grey.add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Blends with black: by factor 0 black, by 1 the image."""
    factor = per_image(factor)
    return (images * factor).add_(factor - 1).clamp_(-1, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blends with the mean grey of the image: by factor 0 flat, by 1 the image."""
    factor = per_image(factor)
    mean = luminance(images.mean(dim=(2, 3), keepdim=True))
    return (images * factor).add_((1 - factor) * mean).clamp_(-1, 1)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Blends with the grey of each pixel: by factor 0 grey, by 1 the image. Nothing where there is one channel."""
    if images.shape[1] == 1:
        return images
    factor = per_image(factor)
    return (images * factor).add_((1 - factor) * luminance(images)).clamp_(-1, 1)


def adjust_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Rotates the hue of HSV by a part of a turn, in [-0.5, 0.5]. Nothing where there is one channel.

    A channel is the pixel's least value plus its chroma times how near the hue is to the channel's own colour: 1 within
    a sixth of a turn, 0 from a third of a turn on, linear between. Least value and chroma do not rotate.
    """
    if images.shape[1] == 1:
        return images
    hue, chroma, least = hue_chroma_least(images)
    hue.add_(per_image(6 * turns))
    hue.sub_((hue / 6).round_(), alpha=6)
    # Made on the device: copying constants there would make the host wait.
    own_colours = torch.arange(0, 6, 2, device=images.device).view(1, 3, 1, 1)
    # For y of at most 7 sixths, | |y| - 3 | - 1 is 2 less y's distance from the nearest whole turn, up to the clamp.
    nearness = (hue - own_colours).abs_().sub_(3).abs_().sub_(1).clamp_(0, 1)
    return torch.where(per_image(turns) == 0, images, nearness.mul_(chroma).add_(least))


def hue_chroma_least(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue in sixths of a turn, in [-3, 3] with red at 0; the range of the channels; the least; each (B, 1, H, W).

    With channels scaled to [0, 1] by least and chroma, 1 + green + blue - red is the distance from red all the way to
    cyan, and the sign of green - blue is the side: the textbook's hue without its three cases, whose choice pixel by
    pixel would take half the time. Without chroma the hue is 0.
    """
    red, green, blue = images.split(1, dim=1)
    least = torch.minimum(torch.minimum(red, green), blue)
    chroma = torch.maximum(torch.maximum(red, green), blue).sub_(least)
    distance = (green - least).add_(blue).sub_(red).add_(chroma)
    distance.div_(chroma.clamp(min=torch.finfo(chroma.dtype).tiny))
    return distance.copysign_(green - blue), chroma, least


def greyscale(images: Tensor, chosen: Tensor) -> Tensor:
    """The grey of each pixel in all channels, where `chosen`, (B,) bool."""
    if images.shape[1] == 1:
        return images
    return torch.where(per_image(chosen), luminance(images), images)


def blur_radius(sigma: float) -> int:
    """Pixels on either side that a blur reaches: three standard deviations hold 99.7% of the Gaussian."""
    return math.ceil(3 * sigma)


def gaussian_blur(images: Tensor, sigma: Tensor, chosen: Tensor, radius: int) -> Tensor:
    """Blurs by a Gaussian of `sigma` pixels, cut off beyond `radius`, where `chosen`; borders are reflected.

    Args:
        images: (B, C, H, W); fastest if contiguous.
        sigma: (B,) positive.
        chosen: (B,) bool.
        radius: taps on either side; within images of n pixels at most n - 1, as many as can be reflected.
    """
    down, across = (blur_matrix(sigma, chosen, radius, size) for size in images.shape[-2:])
    return along_rows(down, along_columns(across, images))


def blur_taps(sigma: Tensor, radius: int) -> Tensor:
    """(B, 2 radius + 1) weights of a Gaussian around its middle."""
    offset = torch.arange(-radius, radius + 1, device=sigma.device)
    # Below exp(-50) a weight adds nothing, but one too small for a normal float makes the products many times slower.
    return torch.softmax((-0.5 * (offset / sigma[:, None]) ** 2).clamp_(min=-50), dim=1)


def blur_matrix(sigma: Tensor, chosen: Tensor, radius: int, size: int) -> Tensor:
    """(B, size, size) weights [output, input] of a blur along one axis; the identity where not `chosen`."""
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
    """Inverts the values of 0 and above (0.5 of [0, 1]), where `chosen`, (B,) bool."""
    return torch.minimum(images, invert(images, chosen))


def invert(images: Tensor, chosen: Tensor) -> Tensor:
    """Negates all values, where `chosen`, (B,) bool."""
    return images * per_image(torch.where(chosen, -1.0, 1.0))
