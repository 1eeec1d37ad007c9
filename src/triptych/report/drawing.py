"""Shared plotting functions: charts in one style, curves averaged over seeds, and grids of images.

The functions import matplotlib and seaborn when they are called, because these imports are slow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from triptych.core.files import written_whole
from triptych.report.formatting import NBSP

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# A palette for colour-blind readers (Okabe & Ito 2008).
PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442"]
INK, MUTED, PALE = "#222222", "#6b6b6b", "#a9c6d9"
COLLAPSED = "#F7DEDB"  # background of values that count as collapsed
# In inches. At this width, 10-point text is readable on a screen of 390 pixels. The page puts two charts side by side.
WIDTH, HEIGHT, SHEET_WIDTH = 6.0, 3.6, 6.8
DPI = 140
COLUMNS = 16  # images per row of a sheet


@contextmanager
def chart(
    path: Path, rows: int = 1, columns: int = 1, height: float = HEIGHT, legend: int = 0, **options: object
) -> Iterator[np.ndarray]:
    """Yield an array of axes of shape (rows, columns), and write the chart to `path` as PNG when the `with` block ends.

    `height` is in inches. `legend` is the number of columns of the legend above the chart; 0 draws no legend. The
    legend lists the labels of the first axes. `options` are passed to `matplotlib.pyplot.subplots`.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import seaborn as sns

    look = {
        "savefig.dpi": DPI,
        "axes.edgecolor": "#cccccc",
        "axes.labelcolor": INK,
        "grid.color": "#ececec",
        "text.color": INK,
        "font.family": "DejaVu Sans",
        "legend.frameon": False,
        "text.parse_math": False,  # a class may be called $x$
    }
    sns.set_theme(context="paper", style="whitegrid", palette=PALETTE, font_scale=1.1, rc=look)
    options = {"figsize": (WIDTH, height), "layout": "constrained", "squeeze": False} | options
    figure, cells = plt.subplots(rows, columns, **options)
    yield cells
    if legend:
        figure.legend(*cells[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=legend)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure to the PNG file `path` and close the figure. Equal figures give identical files."""
    import matplotlib.pyplot as plt

    with written_whole(path) as partial:
        figure.savefig(partial, format="png", metadata={"Software": None}, bbox_inches="tight", facecolor="white")
    plt.close(figure)


def percent(axis: Axis) -> None:
    """Format the tick labels of an axis as percentages. The plotted values are fractions."""
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=f"{NBSP}%"))


def curve(axes: Axes, history: pd.DataFrame, x: str, y: str, **line: object) -> None:
    """Draw the mean over seeds of column `y` against column `x`, with a band from the lowest to the highest value.

    `history` has one row per seed and value of `x`. `line` contains keyword arguments for `seaborn.lineplot`.
    """
    import seaborn as sns

    measured = history.dropna(subset=[y])
    marker = "o" if measured[x].nunique() <= 40 else None
    sns.lineplot(measured, x=x, y=y, errorbar=("pi", 100), marker=marker, legend=False, ax=axes, **line)
    if x == "epoch":
        axes.xaxis.get_major_locator().set_params(integer=True)


def grid(images: np.ndarray, columns: int = COLUMNS, gap: int = 2) -> np.ndarray:
    """Arrange uint8 images (count, channels, height, width) in rows of `columns`. Return shape (height, width, 3)."""
    count, _, height, width = images.shape
    rows = -(-count // columns)
    picture = np.full((rows * (height + gap), columns * (width + gap), 3), 255, np.uint8)
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        picture[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return picture[:-gap, :-gap]


def image_sheet(path: Path, bands: Sequence[tuple[str, np.ndarray]], columns: int = COLUMNS) -> None:
    """Draw groups of images in a grid and write the grid to `path` as PNG. Each group starts on a new row.

    `bands` contains (name, images) pairs. The images are uint8 arrays of shape (count, channels, height, width).
    """
    pictures = [grid(images, columns) for _, images in bands]
    gap = np.full((2, *pictures[0].shape[1:]), 255, np.uint8)
    sheet = np.concatenate([block for picture in pictures for block in (picture, gap)][:-1])
    height, width = sheet.shape[:2]
    tops = np.cumsum([0, *(len(picture) + len(gap) for picture in pictures)])[:-1]
    middles = [top + len(picture) / 2 for top, picture in zip(tops, pictures, strict=True)]
    with chart(path, figsize=(SHEET_WIDTH, SHEET_WIDTH * height / width)) as [[axes]]:
        axes.imshow(sheet, interpolation="nearest")
        axes.grid(visible=False)
        axes.set(xticks=[], frame_on=False)
        axes.set_yticks(middles, [name for name, _ in bands])
        axes.tick_params(length=0)
