"""Draw synthetic house-number digits that resemble the SVHN dataset. Size and difficulty are adjustable.

Each digit of a font is stored as a signed distance field. Sampling the field on a perspective grid draws the digit with
clean edges at any size, weight and angle. Then light, texture, shadow, blur and sensor noise are added.
Images are drawn in blocks, and each block takes only a few tensor operations.
"""

import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from triptych.data.sources.params import StreetDigits
from triptych.machine.randomness import generator

# Image i is in block i // BLOCK, and whole blocks are drawn, so that a larger dataset begins with the images of a
# smaller one. A block of 250 images of 32x32 fits into the cache of one core.
BLOCK = 250
CLASSES = [str(digit) for digit in range(10)]

# House numbers are mostly bold and sans serif, so two such fonts occur twice. No font has dotted zeros.
FONTS = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique",
    "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-BoldItalic", "STIXGeneralBol", "STIXGeneralBolIta",
    "cmr10", "cmb10", "cmss10", "cmss10", "cmtt10",
)  # fmt: skip

CELL = 64  # pixels per side of a distance field
GLYPH = 0.6  # height of a digit as a fraction of the cell; the margin is for distances outside the digit
OVERSAMPLING = 4  # pixels of the outline per pixel of the cell
STROKE_REACH = 0.03  # largest shift of an outline at stroke 1, as a fraction of the digit's height


def draw(count: int, seed: int, split: str, knobs: StreetDigits, threads: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the first `count` images of a split, uint8 (count, 3, size, size), and their labels, int64 (count,).

    Image i depends only on i, `seed`, `split` and the settings `knobs`. If `threads` is 0, torch's setting is used.
    """
    images = np.empty((count, 3, knobs.size, knobs.size), np.uint8)
    labels = np.empty(count, np.int64)

    def fill(block: int) -> None:
        rows = slice(block * BLOCK, min((block + 1) * BLOCK, count))
        pixels, digits = _block(seed, split, block, knobs)
        images[rows] = pixels[: rows.stop - rows.start].numpy()
        labels[rows] = digits[: rows.stop - rows.start].numpy()

    _atlas()
    before = torch.get_num_threads()
    # One thread per block, because the number of threads changes the rounding of sums.
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads or before) as pool:
            list(pool.map(fill, range(-(-count // BLOCK))))
    finally:
        torch.set_num_threads(before)
    return images, labels


@functools.cache
def _atlas() -> tuple[Tensor, Tensor]:
    """Return the distance fields (fonts, 10, CELL, CELL) and aspect ratios (fonts, 10) of the digits of all fonts."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    glyphs = {font: [_glyph(folder / f"{font}.ttf", digit) for digit in CLASSES] for font in set(FONTS)}
    fields = torch.stack([torch.stack([field for field, _ in glyphs[font]]) for font in FONTS])
    widths = torch.tensor([[width for _, width in glyphs[font]] for font in FONTS])
    return fields, widths


def _glyph(path: Path, digit: str) -> tuple[Tensor, float]:
    """Return a digit's signed distance field (CELL, CELL), positive inside, and aspect ratio. `path` is a font file."""
    side = CELL * OVERSAMPLING
    height = side * GLYPH
    # The font size is not the height of the digits: measure them at one size, then draw at the right size.
    _, top, _, bottom = ImageFont.truetype(path, side).getbbox("8")
    font = ImageFont.truetype(path, side * height / (bottom - top))
    left, top, right, bottom = font.getbbox(digit)
    canvas = Image.new("L", (side, side))
    ImageDraw.Draw(canvas).text(((side - left - right) / 2, (side - top - bottom) / 2), digit, fill=255, font=font)
    inside = np.asarray(canvas) > 127
    distance = (distance_transform_edt(inside) - distance_transform_edt(~inside)) / height
    field = distance.reshape(CELL, OVERSAMPLING, CELL, OVERSAMPLING).mean(axis=(1, 3))
    return torch.from_numpy(field).float(), (right - left) / height


class _Chance:
    def __init__(self, *names: int | str) -> None:
        self.generator = generator("cpu", *names)

    def between(self, bounds: Sequence[float], *shape: int) -> Tensor:
        low, high = bounds
        return low + (high - low) * torch.rand((BLOCK, *shape), generator=self.generator)

    def around(self, spread: float, *shape: int) -> Tensor:
        return self.between((-spread, spread), *shape)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn((BLOCK, *shape), generator=self.generator)

    def index(self, high: int, *shape: int) -> Tensor:
        return torch.randint(high, (BLOCK, *shape), generator=self.generator)


def _block(seed: int, split: str, block: int, knobs: StreetDigits) -> tuple[Tensor, Tensor]:
    """Draw block number `block` of a split. Returns uint8 images (BLOCK, 3, size, size) and int64 labels (BLOCK,)."""
    chance = _Chance(seed, "streetdigits", split, block)
    # Every ten images contain each digit once, in random order.
    labels = chance.between((0, 1)).view(-1, len(CLASSES)).argsort(dim=1).flatten()
    grid, pixel = _grid(chance, knobs)
    ink, shade = _ink(chance, knobs, labels, grid, pixel)
    picture = _paint(chance, knobs, ink, shade)
    picture = _soften(chance, knobs, picture)
    sensor = chance.normal(3, knobs.size, knobs.size) * chance.between((0, knobs.noise), 1, 1, 1)
    return (picture + sensor).clamp_(0, 1).mul_(255).round_().to(torch.uint8), labels


def _grid(chance: _Chance, knobs: StreetDigits) -> tuple[Tensor, Tensor]:
    """Return the positions (BLOCK, size, size, 2) and side lengths (BLOCK, 1, 1) of pixels in the plane of a digit.

    The origin is the digit's centre, and the unit of length is the digit's height.
    """
    height = chance.between(knobs.digit_height, 1, 1)
    centre = (torch.arange(knobs.size) + 0.5) / knobs.size - 0.5
    x = centre.view(1, 1, -1) - chance.around(knobs.shift, 1, 1)
    y = centre.view(1, -1, 1) - chance.around(knobs.shift, 1, 1)
    tilt_x, tilt_y = chance.around(knobs.perspective, 1, 1), chance.around(knobs.perspective, 1, 1)
    depth = 1 + 2 * (tilt_x * x + tilt_y * y)  # 1 at the centre; a tilt is the change over half an image
    angle = torch.deg2rad(chance.around(knobs.rotation, 1, 1))
    cos, sin = angle.cos() / depth, angle.sin() / depth
    along, across = cos * x + sin * y, cos * y - sin * x
    along = (along + chance.around(knobs.shear, 1, 1) * across) * (1 + chance.around(knobs.stretch, 1, 1))
    return torch.stack([along, across], dim=-1) / height.unsqueeze(-1), 1 / (height * knobs.size)


def _ink(chance: _Chance, knobs: StreetDigits, labels: Tensor, grid: Tensor, pixel: Tensor) -> tuple[Tensor, Tensor]:
    """Return the fractions of each pixel covered by digits and by shadows, as two tensors (BLOCK, 1, size, size).

    `grid` and `pixel` are the results of `_grid`. Other digits can appear on the left and right, as in SVHN.
    """
    fields, widths = _atlas()
    font = chance.index(len(FONTS))
    width = widths[font, labels]
    shadow_offset = torch.stack([chance.around(0.08), chance.between((0.03, 0.09))], dim=-1).view(BLOCK, 1, 1, 2)
    field = _field(fields[font, labels], grid)
    shade = _field(fields[font, labels], grid - shadow_offset)
    for side in (-1, 1):
        other = chance.index(len(CLASSES))
        present = chance.between((0, 1), 1, 1) < knobs.neighbours
        step = side * ((width + widths[font, other]) / 2 + chance.between((0.1, 0.25)))
        offset = torch.stack([step, chance.around(0.05)], dim=-1).view(BLOCK, 1, 1, 2)
        neighbour = fields[font, other]
        field = torch.where(present, field.maximum(_field(neighbour, grid - offset)), field)
        shade = torch.where(present, shade.maximum(_field(neighbour, grid - offset - shadow_offset)), shade)
    weight = chance.around(knobs.stroke * STROKE_REACH, 1, 1)
    ink = ((field + weight) / pixel + 0.5).clamp_(0, 1)
    shade = ((shade + weight) / (3 * pixel) + 0.5).clamp_(0, 1)
    return ink.unsqueeze(1), shade.unsqueeze(1)


def _field(fields: Tensor, grid: Tensor) -> Tensor:
    """Return the values of distance fields (BLOCK, CELL, CELL) at the points `grid` (BLOCK, size, size, 2)."""
    # The coordinates of grid_sample are -1 to 1 in the cell; outside it the border value is used.
    read = F.grid_sample(fields.unsqueeze(1), grid * (2 * GLYPH), padding_mode="border", align_corners=False)
    return read.squeeze(1)


def _paint(chance: _Chance, knobs: StreetDigits, ink: Tensor, shade: Tensor) -> Tensor:
    """Return RGB pictures of digits on an unevenly lit wall. `ink` and `shade` are the results of `_ink`."""
    size = knobs.size
    wall = chance.between(knobs.luminance, 1, 1, 1)
    contrast = chance.between(knobs.contrast, 1, 1, 1)
    # The digit is lighter or darker than the wall: at random if both fit into [0, 1], else whichever fits.
    lighter = torch.where(
        (wall - contrast < 0) | (wall + contrast > 1), wall < 0.5, chance.between((0, 1), 1, 1, 1) < 0.5
    )
    digit = torch.where(lighter, wall + contrast, wall - contrast).clamp_(0, 1)
    wall, digit = wall + _tint(chance, knobs.channel_spread), digit + _tint(chance, knobs.channel_spread)

    centre = torch.linspace(-1, 1, size)
    slope_x, slope_y = chance.around(knobs.gradient, 1, 1, 1) / 2, chance.around(knobs.gradient, 1, 1, 1) / 2
    light = slope_x * centre.view(1, 1, 1, -1) + slope_y * centre.view(1, 1, -1, 1)
    coarse = chance.normal(1, 5, 5) * chance.between((0, knobs.texture), 1, 1, 1)
    fine = chance.normal(1, 16, 16) * chance.between((0, knobs.texture), 1, 1, 1)
    stains = _enlarge(coarse, size) + 0.5 * _enlarge(fine, size)

    wall = (wall + stains) * (1 - chance.between((0, knobs.shadow), 1, 1, 1) * shade)
    return torch.lerp(wall, digit + 0.3 * stains, ink) + light


def _tint(chance: _Chance, spread: float) -> Tensor:
    """Return random RGB deviations (BLOCK, 3, 1, 1) from grey, with absolute values of at most `spread`.

    Red and blue vary more than green, as in paint and daylight.
    """
    warmth, green = chance.around(spread, 1, 1), chance.around(0.3 * spread, 1, 1)
    return torch.stack([warmth - green, green, -warmth - green], dim=1).clamp_(-spread, spread)


def _enlarge(coarse: Tensor, size: int) -> Tensor:
    return F.interpolate(coarse, (size, size), mode="bilinear", align_corners=True)


def _soften(chance: _Chance, knobs: StreetDigits, picture: Tensor) -> Tensor:
    """Blur each picture: reduce it to a random side length, at least `knobs.least_resolution`, and enlarge it again."""
    resolution = chance.index(knobs.size - knobs.least_resolution + 1)
    matrix = _resolutions(knobs.size, knobs.least_resolution)[resolution].unsqueeze(1)
    return matrix @ picture @ matrix.mT


@functools.cache
def _resolutions(size: int, least: int) -> Tensor:
    """Return size - least + 1 matrices (size, size). Matrix r resizes a row of pixels to least + r pixels and back."""
    line = torch.eye(size).view(1, 1, size, size)

    def resize(lines: Tensor, to: int) -> Tensor:
        return F.interpolate(lines, (to, size), mode="bilinear", antialias=True, align_corners=False)

    return torch.stack([resize(resize(line, to), size)[0, 0] for to in range(least, size + 1)])
