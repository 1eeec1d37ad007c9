"""The operations of `views.py`, and those of `heavy.py`, in one pass over the images, for CPUs.

As operations of torch they are some forty passes over the whole batch, each of which fetches it from a far cache. Here
an image stays in the nearest cache from its crop to its last operation. Every function is named as its twin there,
has its formula and works on one image, (C, H, W), channel after channel, so that the compiler makes vectors of
neighbouring pixels. Products and sums are not contracted (numba's fastmath is off), which would make other bits of the
same parameters on another CPU.

The machine code is compiled when it is first called (seconds) and kept. It knows no constant of another module, whose
change would leave it as it was.
"""

import numpy as np
import torch
from numba import njit
from torch import Tensor

from triptych.nn.fast.compiled import compiled

ZERO, HALF, ONE, TWO, THREE, SIX = (np.float32(value) for value in (0, 0.5, 1, 2, 3, 6))
TINY = np.finfo(np.float32).tiny
# Added and taken away again, it rounds floats below 2^22 half to even: there a float32 has no fraction.
ROUNDER = np.float32(1.5 * 2**23)

inlined = njit(error_model="numpy")


def fused(images: Tensor) -> bool:
    """Whether views are made in one pass by machine code of our own, or by torch's operations."""
    return images.device.type == "cpu" and not torch.compiler.is_compiling()


@inlined
def clamp(value):
    value = value if value > -ONE else -ONE
    return value if value < ONE else ONE


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
    """The two pixels of the input that each of the output lies between, and the weight of the second."""
    before, after = np.empty(outputs, np.uint32), np.empty(outputs, np.uint32)
    share = np.empty(outputs, np.float32)
    for i in range(outputs):
        output = np.float32(outputs - 1 - i if mirrored else i)
        place = (output + HALF) * (length / np.float32(outputs)) - HALF
        place = place if place > ZERO else ZERO
        place = (place if place < length - ONE else length - ONE) + start
        before[i] = np.uint32(place)
        after[i] = min(before[i] + 1, inputs - 1)
        share[i] = place - np.float32(before[i])
    return before, after, share


@inlined
def rotate(image, source, view):
    channels, height, width = image.shape
    corner, right, below = sources(source, height, width)
    step_x, step_y = np.uint32(width > 1), np.uint32(width if height > 1 else 0)
    if channels == 3:
        red, green, blue = planes(image)
        turned_red, turned_green, turned_blue = planes(view)
        for i in range(len(corner)):
            where, share = around(corner[i], step_x, step_y), shares(right[i], below[i])
            r, g, b = mixed(red, where, share), mixed(green, where, share), mixed(blue, where, share)
            turned_red[i], turned_green[i], turned_blue[i] = r, g, b
    else:
        pixels, turned = image.reshape(image.size), view.reshape(view.size)
        for i in range(len(corner)):
            turned[i] = mixed(pixels, around(corner[i], step_x, step_y), shares(right[i], below[i]))


@inlined
def sources(source, height, width):
    """For each pixel the upper left of the four that its source lies between, and how far right and below it is."""
    xx, xy, x0 = source[0, 0], source[0, 1], source[0, 2]
    yx, yy, y0 = source[1, 0], source[1, 1], source[1, 2]
    middle_x, middle_y = np.float32(width - 1) * HALF, np.float32(height - 1) * HALF
    # The last pixel is the second of its pair, with all the weight: so pairs always lie within the image.
    last_x, last_y = np.float32(max(width - 2, 0)), np.float32(max(height - 2, 0))
    corner = np.empty(height * width, np.uint32)
    right, below = np.empty(height * width, np.float32), np.empty(height * width, np.float32)
    for y in range(height):
        down = np.float32(y) - middle_y
        for x in range(width):
            across = np.float32(x) - middle_x
            place_x = reflected(xx * across + x0 + xy * down + middle_x, width)
            place_y = reflected(yx * across + y0 + yy * down + middle_y, height)
            left, upper = whole(place_x), whole(place_y)
            left, upper = left if left < last_x else last_x, upper if upper < last_y else last_y
            i = y * width + x
            right[i], below[i] = place_x - left, place_y - upper
            corner[i] = np.int32(upper * np.float32(width) + left)
    return corner, right, below


@inlined
def around(corner, step_x, step_y):
    return corner, corner + step_x, corner + step_y, corner + step_x + step_y


@inlined
def shares(right, below):
    left, above = ONE - right, ONE - below
    return left * above, right * above, left * below, right * below


@inlined
def mixed(pixels, where, share):
    a, b, c, d = where
    return share[0] * pixels[a] + share[1] * pixels[b] + share[2] * pixels[c] + share[3] * pixels[d]


@inlined
def whole(place):
    """The whole part of what is not negative."""
    return np.float32(np.int32(place))


@inlined
def reflected(place, size):
    """The place within the image where one beyond its border is seen in mirrors at the borders."""
    size = np.float32(size)
    place = abs(place + HALF)
    times = whole(place / size)
    place -= times * size
    place = (place if times == TWO * whole(times * HALF) else size - place) - HALF
    place = place if place > ZERO else ZERO
    return place if place < size - ONE else size - ONE


@inlined
def adjust_brightness(image, factor):
    if factor != ONE:
        blend(image, factor, factor - ONE)


@inlined
def adjust_contrast(image, factor, luma):
    if factor != ONE:
        mean = channel_mean(image[0])
        if len(image) == 3:
            mean = luminance(mean, channel_mean(image[1]), channel_mean(image[2]), luma)
        blend(image, factor, (ONE - factor) * mean)


@inlined
def blend(image, factor, shift):
    pixels = image.reshape(image.size)
    for i in range(len(pixels)):
        pixels[i] = clamp(pixels[i] * factor + shift)


@inlined
def channel_mean(channel):
    """Column by column first: as a fixed order of sums, and fast."""
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
def planes(image):
    size = image.shape[1] * image.shape[2]
    return image[0].reshape(size), image[1].reshape(size), image[2].reshape(size)


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
    """The index of a pixel beyond the border, mirrored at the outermost pixel's centre."""
    index = abs(index)
    return index if index < size else 2 * (size - 1) - index


@inlined
def solarize(image):
    pixels = image.reshape(image.size)
    for i in range(len(pixels)):
        pixels[i] = pixels[i] if pixels[i] < -pixels[i] else -pixels[i]


@inlined
def invert(image):
    pixels = image.reshape(image.size)
    for i in range(len(pixels)):
        pixels[i] = -pixels[i]


@inlined
def write(image, view):
    """Into channels-last order, and within the range: weights that sum to one up to rounding can leave it by an ulp."""
    pixels = view.reshape(view.size)
    if len(image) == 3:
        red, green, blue = planes(image)
        for i in range(len(red)):
            pixels[3 * i] = clamp(red[i])
            pixels[3 * i + 1] = clamp(green[i])
            pixels[3 * i + 2] = clamp(blue[i])
    else:
        grey = image.reshape(image.size)
        for i in range(len(grey)):
            pixels[i] = clamp(grey[i])


@compiled()
def fuse(images, boxes, flipped, maps, jitter, grey, blurred, taps_down, taps_across, solarized, inverted, luma, views):
    """Writes the view of each image. Of an operation that is off the parameters are empty: none of its length.

    Args:
        images: (B, H, W, C); C is 3 or 1.
        boxes: (B, 4) top, left, height and width of the crops.
        flipped: (B,) whether the crop is mirrored.
        maps: (B, 2, 3) of the rotation, from a pixel to its source (`affine.rotation`).
        jitter: (B, 4) factors of brightness, contrast and saturation, and the turns of the hue.
        grey, blurred, solarized, inverted: (B,) for which images that is done.
        taps_down, taps_across: (B, 2 radius + 1) weights of the blur along the columns and the rows.
        luma: (4,) weights of red, green and blue in grey, and what is added.
        views: (B, height, width, C), of the size of the views.
    """
    channels = images.shape[3]
    height, width = views.shape[1], views.shape[2]
    image = np.empty((channels, height, width), np.float32)
    other = np.empty_like(image)
    coloured = channels == 3
    for b in range(len(images)):
        resized_crop(images[b], boxes[b], len(flipped) > 0 and flipped[b], image)
        if len(maps):
            rotate(image, maps[b], other)
            image, other = other, image
        if len(jitter):
            adjust_brightness(image, jitter[b, 0])
            adjust_contrast(image, jitter[b, 1], luma)
            if coloured:
                adjust_saturation(image, jitter[b, 2], luma)
                adjust_hue(image, jitter[b, 3])
        if coloured and len(grey) and grey[b]:
            greyscale(image, luma)
        if len(blurred) and blurred[b]:
            gaussian_blur(image, taps_down[b], taps_across[b], other)
        if len(solarized) and solarized[b]:
            solarize(image)
        if len(inverted) and inverted[b]:
            invert(image)
        write(image, views[b])


# --- Heavy operations, whose twins are in `heavy.py` ---

# A map, then the other operations in their order there.
MAP, POSTERIZE, SOLARIZE, EQUALIZE, SHARPNESS, CUTOUT = range(6)


@inlined
def sample(image, source, padded, view):
    """As `rotate`, but zeros come from outside: of a border that is wide enough for the pixels around any source."""
    channels, height, width = image.shape
    xx, xy, x0 = source[0, 0], source[0, 1], source[0, 2]
    yx, yy, y0 = source[1, 0], source[1, 1], source[1, 2]
    middle_x, middle_y = np.float32(width - 1) * HALF, np.float32(height - 1) * HALF
    stride = width + 3
    padded[:] = ZERO
    padded[:, 1 : 1 + height, 1 : 1 + width] = image
    pixels = padded.reshape(channels, (height + 3) * stride)
    for y in range(height):
        down = np.float32(y) - middle_y
        for x in range(width):
            across = np.float32(x) - middle_x
            place_x = amid(xx * across + x0 + xy * down + middle_x, width)
            place_y = amid(yx * across + y0 + yy * down + middle_y, height)
            left, upper = whole(place_x + ONE), whole(place_y + ONE)
            share = shares(place_x - (left - ONE), place_y - (upper - ONE))
            where = around(np.uint32(upper) * stride + np.uint32(left), 1, stride)
            for c in range(channels):
                view[c, y, x] = mixed(pixels[c], where, share)


@inlined
def amid(place, size):
    """The place, or of one farther out than a pixel from the image the nearest that is not."""
    place = place if place > -ONE else -ONE
    return place if place < np.float32(size) else np.float32(size)


@inlined
def level_of(value, scale):
    level = np.int32((value + ONE) * scale)
    return min(max(level, 0), 255)


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
def cut_out(image, side, place):
    height, width = image.shape[1], image.shape[2]
    top = int(place[0] * np.float32(height)) - side // 2
    left = int(place[1] * np.float32(width)) - side // 2
    image[:, max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = ZERO


@compiled()
def fuse_heavy(images, kinds, maps, factors, places, tables, scale, side, views):
    """Writes each image after one heavy operation.

    Args:
        images: (B, H, W, C).
        kinds: (B,) which operation: 0 a map, then posterize, solarize, equalize, sharpness and cutout.
        maps: (B, 2, 3) from a pixel to its source.
        factors: (B,) of sharpness.
        places: (B, 2) in [0, 1), of the cutout's centre.
        tables: (3, 256) values of the levels as they are, posterized and solarized.
        scale: levels to a unit of the values.
        side: of the cutout, in pixels.
        views: (B, H, W, C).
    """
    count, height, width, channels = images.shape
    image, other = np.empty((channels, height, width), np.float32), np.empty((channels, height, width), np.float32)
    padded = np.empty((channels, height + 3, width + 3), np.float32)
    for b in range(count):
        kind = kinds[b]
        for c in range(channels):
            for y in range(height):
                for x in range(width):
                    image[c, y, x] = images[b, y, x, c]
        if kind == MAP:
            sample(image, maps[b], padded, other)
            image, other = other, image
        elif kind == SHARPNESS:
            sharpen(image, factors[b], other)
            image, other = other, image
        elif kind == CUTOUT:
            cut_out(image, side, places[b])
        else:
            for c in range(channels):
                channel = image[c].reshape(height * width)
                if kind == EQUALIZE:
                    equalize(channel, scale, tables[0])
                else:
                    relevelled(channel, scale, tables[kind])
        write(image, views[b])
