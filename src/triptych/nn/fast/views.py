"""Compiled CPU kernels for random views and for the operations of RandAugment. They process one image after another.

The torch references are `ssl/shared/views.py` and `ssl/shared/heavy.py`. Functions of the same name have the same
formulas there, but process whole batches in about forty passes over memory. Here, each image stays in the fastest cache
from the first operation to the last, and inner loops run over adjacent pixels. Kernels use no constants of other
modules, because numba's cache would not notice changes of these constants.
"""

import numpy as np
import torch
from torch import Tensor

from triptych.nn.fast.compiled import compiled, enabled, inlined

ZERO, HALF, ONE, TWO, THREE, SIX = (np.float32(value) for value in (0, 0.5, 1, 2, 3, 6))
TINY = np.finfo(np.float32).tiny
# Adding and subtracting this value rounds floats below 2^22 to integers, since a float32 of its size has no fraction.
ROUNDER = np.float32(1.5 * 2**23)

# Parameters of one image. Zeros, or `UNJITTERED`, turn an operation off.
VIEW = np.dtype(
    [
        ("box", np.float32, 4),  # top, left, height and width of the crop
        ("flipped", np.bool_),
        ("rotated", np.bool_),
        ("map", np.float32, (2, 3)),  # affine map from a pixel to its source
        ("jitter", np.float32, 4),  # factors of brightness, contrast and saturation, and rotation of the hue in turns
        ("grey", np.bool_),
        ("blurred", np.bool_),
        ("solarized", np.bool_),
        ("inverted", np.bool_),
    ],
    align=True,
)
UNJITTERED = (1, 1, 1, 0)
# Values of `operation`: any affine map, or one of the other operations in the order of `heavy.OPERATIONS`.
MAP, POSTERIZE, SOLARIZE, EQUALIZE, SHARPNESS, CUTOUT = range(6)
HEAVY_VIEW = np.dtype(
    [
        ("operation", np.int32),
        ("map", np.float32, (2, 3)),
        ("sharpness", np.float32),
        ("centre", np.float32, 2),  # of the cutout, in shares of height and width
    ],
    align=True,
)


def fusible(images: Tensor) -> bool:
    """Return True if the compiled kernels are enabled and `images` is a float32 tensor on a CPU."""
    return enabled() and images.device.type == "cpu" and images.dtype == torch.float32


@compiled
def fuse(images, parameters, taps_down, taps_across, luma, views):
    """Write a view of each image to `views`. `images` has shape (B, H, W, C), and `views` (B, height, width, C).

    `parameters` has shape (B,) and dtype `VIEW`. `taps_down` and `taps_across`, of shape (B, 2 radius + 1), are blur
    weights along columns and rows. `luma` contains the weights of red, green and blue in luminance, and an offset.
    """
    _, height, width, channels = views.shape
    image = np.empty((channels, height, width), np.float32)
    other, padded = np.empty_like(image), np.empty((channels, height + 3, width + 3), np.float32)
    for b in range(len(images)):
        view = parameters[b]
        resized_crop(images[b], view.box, view.flipped, image)
        if view.rotated:
            sample(image, view.map, True, padded, other)
            image, other = other, image
        blend(image, view.jitter[0], view.jitter[0] - ONE)
        adjust_contrast(image, view.jitter[1], luma)
        if channels == 3:
            adjust_saturation(image, view.jitter[2], luma)
            adjust_hue(image, view.jitter[3])
            if view.grey:
                greyscale(image, luma)
        if view.blurred:
            gaussian_blur(image, taps_down[b], taps_across[b], other)
        if view.solarized:
            solarize(image)
        if view.inverted:
            np.negative(image, image)
        write(image, views[b])


@compiled
def fuse_heavy(images, parameters, tables, scale, side, views):
    """Apply one operation of RandAugment to each of `images`, of shape (B, H, W, C), and write the results to `views`.

    `parameters` has shape (B,) and dtype `HEAVY_VIEW`. `tables`, of shape (3, 256), contains the values of unchanged,
    posterized and solarized levels. `scale` is the number of levels per unit of value. `side` is the side of cutouts.
    """
    count, height, width, channels = images.shape
    image = np.empty((channels, height, width), np.float32)
    other, padded = np.empty_like(image), np.empty((channels, height + 3, width + 3), np.float32)
    for b in range(count):
        view = parameters[b]
        image[:] = images[b].transpose(2, 0, 1)
        if view.operation == MAP:
            sample(image, view.map, False, padded, other)
            image, other = other, image
        elif view.operation == SHARPNESS:
            sharpen(image, view.sharpness, other)
            image, other = other, image
        elif view.operation == CUTOUT:
            cut_out(image, side, view.centre)
        else:
            for c in range(channels):
                if view.operation == EQUALIZE:
                    equalize(plane(image, c), scale, tables[0])
                else:
                    relevelled(plane(image, c), scale, tables[view.operation])
        write(image, views[b])


@inlined
def plane(image, channel):
    return image[channel].reshape(image.shape[1] * image.shape[2])


@inlined
def planes(image):
    return plane(image, 0), plane(image, 1), plane(image, 2)


@inlined
def clamp(value):
    value = value if value > -ONE else -ONE
    return value if value < ONE else ONE


@inlined
def write(image, view):
    """Clamp `image`, of shape (C, H, W), to [-1, 1], and write the result to `view`, of shape (H, W, C)."""
    pixels = view.reshape(view.size)
    if len(image) == 3:  # six times as fast as the general loop
        red, green, blue = planes(image)
        for i in range(len(red)):
            pixels[3 * i], pixels[3 * i + 1], pixels[3 * i + 2] = clamp(red[i]), clamp(green[i]), clamp(blue[i])
    else:
        for i in range(len(pixels)):
            pixels[i] = clamp(image[0].reshape(len(pixels))[i])


# --- Geometry ---


@inlined
def resized_crop(image, box, flipped, view):
    channels, height, width = view.shape
    rows, columns = image.shape[0], image.shape[1]
    upper, lower, down = interpolation(box[0], box[2], False, rows, height)
    left, right, across = interpolation(box[1], box[3], flipped, columns, width)
    left *= np.uint32(channels)
    right *= np.uint32(channels)
    row, flat = np.empty(columns * channels, np.float32), image.reshape(rows, columns * channels)
    for y in range(height):
        above, below = ONE - down[y], down[y]
        first, second = flat[upper[y]], flat[lower[y]]
        for i in range(len(row)):
            row[i] = above * first[i] + below * second[i]
        for c in range(channels):
            channel, line = row[c:], view[c, y]
            for x in range(width):
                line[x] = (ONE - across[x]) * channel[left[x]] + across[x] * channel[right[x]]


@inlined
def interpolation(start, length, mirrored, inputs, outputs):
    """Return three arrays with an entry per output pixel: indices of two input pixels, and the weight of the second."""
    before, after = np.empty(outputs, np.uint32), np.empty(outputs, np.uint32)
    weight = np.empty(outputs, np.float32)
    for i in range(outputs):
        output = np.float32(outputs - 1 - i if mirrored else i)
        source = (output + HALF) * (length / np.float32(outputs)) - HALF
        source = source if source > ZERO else ZERO
        source = (source if source < length - ONE else length - ONE) + start
        before[i] = np.uint32(source)
        after[i] = min(before[i] + 1, inputs - 1)
        weight[i] = source - np.float32(before[i])
    return before, after, weight


@inlined
def sample(image, matrix, reflect, padded, view):
    """Interpolate `image` at the source of each pixel, and write the result to `view`. `matrix` maps pixels to sources.

    Pixels outside are reflected if `reflect` is True, otherwise 0. `padded` is a buffer of shape (C, H + 3, W + 3).
    """
    channels, height, width = image.shape
    stride = width + 3
    padded[:] = ZERO
    padded[:, 1 : 1 + height, 1 : 1 + width] = image
    corner, right, below = sources(matrix, height, width, stride, reflect)
    for c in range(channels):
        pixels, out = padded[c].reshape((height + 3) * stride), plane(view, c)
        for i in range(len(out)):
            left, above, at = ONE - right[i], ONE - below[i], corner[i]
            out[i] = (
                left * above * pixels[at]
                + right[i] * above * pixels[at + 1]
                + left * below[i] * pixels[at + stride]
                + right[i] * below[i] * pixels[at + stride + 1]
            )


@inlined
def sources(matrix, height, width, stride, reflect):
    """Return, for each source, the flat index of the pixel to its upper left in the padded image, and two offsets."""
    xx, xy, x0 = matrix[0, 0], matrix[0, 1], matrix[0, 2]
    yx, yy, y0 = matrix[1, 0], matrix[1, 1], matrix[1, 2]
    middle_x, middle_y = np.float32(width - 1) * HALF, np.float32(height - 1) * HALF
    corner = np.empty(height * width, np.uint32)
    right, below = np.empty(height * width, np.float32), np.empty(height * width, np.float32)
    for y in range(height):
        down = np.float32(y) - middle_y
        for x in range(width):
            across = np.float32(x) - middle_x
            source_x = xx * across + x0 + xy * down + middle_x
            source_y = yx * across + y0 + yy * down + middle_y
            if reflect:
                source_x, source_y = reflected(source_x, width), reflected(source_y, height)
                left, upper = truncated(source_x), truncated(source_y)
            else:
                source_x, source_y = within_border(source_x, width), within_border(source_y, height)
                left, upper = truncated(source_x + ONE) - ONE, truncated(source_y + ONE) - ONE
            i = y * width + x
            right[i], below[i] = source_x - left, source_y - upper
            corner[i] = np.int32(upper * np.float32(stride) + left) + stride + 1
    return corner, right, below


@inlined
def truncated(value):
    return np.float32(np.int32(value))


@inlined
def reflected(source, size):
    """Return the coordinate `source`, reflected at the borders of an axis of `size` pixels until it is inside."""
    size = np.float32(size)
    source = abs(source + HALF)
    times = truncated(source / size)
    source -= times * size
    source = (source if times == TWO * truncated(times * HALF) else size - source) - HALF
    source = source if source > ZERO else ZERO
    return source if source < size - ONE else size - ONE


@inlined
def within_border(source, size):
    """Return the coordinate `source`, clamped to [-1, size], which is at most one pixel outside the image."""
    source = source if source > -ONE else -ONE
    return source if source < np.float32(size) else np.float32(size)


@inlined
def gaussian_blur(image, taps_down, taps_across, scratch):
    channels, height, width = image.shape
    radius = len(taps_across) // 2
    row = np.empty(width + 2 * radius, np.float32)
    for c in range(channels):
        for y in range(height):
            for x in range(len(row)):
                row[x] = image[c, y, mirrored_index(x - radius, width)]
            scratch[c, y] = ZERO
            for t in range(len(taps_across)):
                for x in range(width):
                    scratch[c, y, x] += taps_across[t] * row[x + t]
    radius = len(taps_down) // 2
    for c in range(channels):
        for y in range(height):
            image[c, y] = ZERO
            for t in range(len(taps_down)):
                source = mirrored_index(y + t - radius, height)
                for x in range(width):
                    image[c, y, x] += taps_down[t] * scratch[c, source, x]


@inlined
def mirrored_index(index, size):
    """Return the index of a pixel, reflected about the centre of the first or last pixel if it is outside [0, size)."""
    index = abs(index)
    return index if index < size else 2 * (size - 1) - index


@inlined
def sharpen(image, factor, view):
    channels, height, width = image.shape
    view[:] = image
    rows = np.empty((height, width), np.float32)
    strength = (ONE - factor) / np.float32(13)
    for c in range(channels):
        for y in range(height):
            for x in range(1, width - 1):
                rows[y, x] = image[c, y, x - 1] + image[c, y, x] + image[c, y, x + 1]
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                change = rows[y - 1, x] + rows[y, x] + rows[y + 1, x] - np.float32(9) * image[c, y, x]
                view[c, y, x] = clamp(change * strength + image[c, y, x])


@inlined
def cut_out(image, side, centre):
    height, width = image.shape[1], image.shape[2]
    top = int(centre[0] * np.float32(height)) - side // 2
    left = int(centre[1] * np.float32(width)) - side // 2
    image[:, max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = ZERO


# --- Colours ---


@inlined
def blend(image, factor, shift):
    if factor != ONE:
        pixels = image.reshape(image.size)
        for i in range(len(pixels)):
            pixels[i] = clamp(pixels[i] * factor + shift)


@inlined
def adjust_contrast(image, factor, luma):
    if factor != ONE:
        mean = channel_mean(image[0])
        if len(image) == 3:
            mean = luminance(mean, channel_mean(image[1]), channel_mean(image[2]), luma)
        blend(image, factor, (ONE - factor) * mean)


@inlined
def channel_mean(channel):
    """Return the mean of a channel. Summing each column first is fast and fixes the order of summation."""
    height, width = channel.shape
    columns = np.zeros(width, np.float32)
    for y in range(height):
        for x in range(width):
            columns[x] += channel[y, x]
    total = ZERO
    for x in range(width):
        total += columns[x]
    return total / np.float32(height * width)


@inlined
def luminance(red, green, blue, luma):
    return red * luma[0] + luma[3] + green * luma[1] + blue * luma[2]


@inlined
def adjust_saturation(image, factor, luma):
    if factor != ONE:
        red, green, blue = planes(image)
        for i in range(len(red)):
            shift = (ONE - factor) * luminance(red[i], green[i], blue[i], luma)
            red[i] = clamp(red[i] * factor + shift)
            green[i] = clamp(green[i] * factor + shift)
            blue[i] = clamp(blue[i] * factor + shift)


@inlined
def adjust_hue(image, turns):
    if turns == ZERO:
        return
    red, green, blue = planes(image)
    for i in range(len(red)):
        r, g, b = red[i], green[i], blue[i]
        least = r if r < g else g
        least = least if least < b else b
        most = r if r > g else g
        chroma = (most if most > b else b) - least
        hue = (g - least + b - r + chroma) / (chroma if chroma > TINY else TINY)
        hue = (hue if g >= b else -hue) + SIX * turns
        hue -= (hue / SIX + ROUNDER - ROUNDER) * SIX
        red[i] = nearness(hue) * chroma + least
        green[i] = nearness(hue - TWO) * chroma + least
        blue[i] = nearness(hue - TWO - TWO) * chroma + least


@inlined
def nearness(hue):
    near = abs(abs(hue) - THREE) - ONE
    near = near if near > ZERO else ZERO
    return near if near < ONE else ONE


@inlined
def greyscale(image, luma):
    red, green, blue = planes(image)
    for i in range(len(red)):
        grey = luminance(red[i], green[i], blue[i], luma)
        red[i], green[i], blue[i] = grey, grey, grey


@inlined
def solarize(image):
    pixels = image.reshape(image.size)
    for i in range(len(pixels)):
        pixels[i] = pixels[i] if pixels[i] < -pixels[i] else -pixels[i]


@inlined
def level_of(value, scale):
    return min(max(np.int32((value + ONE) * scale), 0), 255)


@inlined
def relevelled(channel, scale, table):
    for i in range(len(channel)):
        channel[i] = table[level_of(channel[i], scale)]


@inlined
def equalize(channel, scale, table):
    counts = np.zeros(len(table), np.int64)
    for i in range(len(channel)):
        counts[level_of(channel[i], scale)] += 1
    brightest = len(table) - 1
    most = brightest
    while counts[most] == 0:
        most -= 1
    step = (len(channel) - counts[most]) // brightest
    if step > 0:
        even, darker = np.empty_like(table), 0
        for level in range(len(table)):
            even[level] = table[min((darker + step // 2) // step, brightest)]
            darker += counts[level]
        relevelled(channel, scale, even)
    else:
        relevelled(channel, scale, table)
