"""Sheets of images: a grid of them below a headline, and bands of images that belong together."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from triptych.report.drawing import style

COLUMNS = 16  # images side by side
LEAST_COLUMNS = 8  # room for so many, also where there are fewer: a single image does not fill the page
MARGIN = 0.11  # share of the width at the left that the names of rows take


def tile(images: np.ndarray, columns: int, gap: int = 2) -> np.ndarray:
    """(N, C, H, W) uint8 -> one (rows·H, columns·W, 3) uint8 picture with white gaps."""
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for number, image in enumerate(images):
        top, left = (number // columns) * (height + gap), (number % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = np.broadcast_to(image.transpose(1, 2, 0), (height, width, 3))
    return sheet


def show(axes: Axes, picture: np.ndarray) -> None:
    """A picture on its own axes, without ticks; pixels stay square and sharp."""
    axes.imshow(picture, interpolation="nearest")
    axes.set_axis_off()


def image_sheet(
    path: Path,
    images: np.ndarray,
    columns: int,
    title: str,
    note: str,
    row_names: Sequence[str] = (),
    margin: float = MARGIN,
) -> None:
    """A grid of images with a headline; `row_names` label the rows at the left, in a margin of that share."""
    picture = tile(images, columns)
    left = margin if row_names else 0.005
    scale = style.WIDTH * (0.995 - left) / picture.shape[1]
    height = picture.shape[0] * scale
    figure = plt.figure(figsize=(style.WIDTH, height + 0.75))
    axes = figure.add_axes((left, 0.005, 0.995 - left, height / (height + 0.75)))
    show(axes, picture)
    for number, name in enumerate(row_names):
        middle = (number + 0.5) * picture.shape[0] / len(row_names)
        axes.text(-4, middle, name, ha="right", va="center", fontsize=9.5, color=style.INK)
    style.headline(figure, title, note)
    style.save(figure, path)


def rows(path: Path, images: np.ndarray, title: str, note: str, names: Sequence[str] = ()) -> None:
    """A sheet of rows that belong together; images: (rows, images in a row, C, H, W)."""
    count, columns = images.shape[:2]
    image_sheet(path, images.reshape(count * columns, *images.shape[2:]), columns, title, note, names)


def bands(path: Path, images: dict[str, np.ndarray], title: str, note: str, margin: float = MARGIN) -> None:
    """A named row for each entry; images: (N, C, H, W). A row of fewer images than others ends early."""
    columns = max(LEAST_COLUMNS, *(len(row) for row in images.values()))
    filled = [filled_up(row, columns) for row in images.values()]
    image_sheet(path, np.concatenate(filled), columns, title, note, list(images), margin)


def pairs(path: Path, above: np.ndarray, below: np.ndarray, names: tuple[str, str], title: str, note: str) -> None:
    """Images, each above its counterpart, COLUMNS in a row; both (N, C, H, W)."""
    starts = range(0, len(below), COLUMNS)
    parts = [part for start in starts for part in (above[start:][:COLUMNS], below[start:][:COLUMNS])]
    filled = [filled_up(part, COLUMNS) for part in parts]
    image_sheet(path, np.concatenate(filled), COLUMNS, title, note, list(names) * len(starts))


def filled_up(images: np.ndarray, columns: int) -> np.ndarray:
    """(N, C, H, W) uint8 images with white ones after them, so that N fills whole rows of so many columns."""
    missing = -len(images) % columns
    return np.concatenate([images, np.full((missing, *images.shape[1:]), 255, np.uint8)])
