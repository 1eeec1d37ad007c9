"""One look for every figure: type, colours, sizes, and how images are laid out."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import seaborn as sns  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

# A palette that stays apart in print and for colour-blind readers (Okabe & Ito 2008).
PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442"]
INK, MUTED, ACCENT = "#222222", "#6b6b6b", "#D55E00"
DPI = 110
WIDTH = 9.0  # inches, of every figure


def apply() -> None:
    """Sets the look for all figures made after it."""
    sns.set_theme(
        context="notebook",
        style="whitegrid",
        palette=PALETTE,
        rc={
            "figure.dpi": DPI,
            "savefig.dpi": DPI,
            "axes.titlesize": 13,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.edgecolor": "#cccccc",
            "axes.labelcolor": INK,
            "grid.color": "#ececec",
            "text.color": INK,
            "font.family": "DejaVu Sans",
            "svg.hashsalt": "triptych",
        },
    )


def save(figure: Figure, path: Path) -> None:
    """Writes a PNG without a date or a version in it, so that equal numbers give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None}, bbox_inches="tight", facecolor="white")
    plt.close(figure)


def headline(figure: Figure, title: str, note: str) -> None:
    """A bold title and under it, in grey, what to see."""
    figure.suptitle(title, x=0.01, y=0.985, ha="left", va="top", fontsize=13, fontweight="bold")
    inches = figure.get_size_inches()[1]
    figure.text(0.01, 0.985 - 0.3 / inches, note, ha="left", va="top", fontsize=9.5, color=MUTED, wrap=True)


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
    path: Path, images: np.ndarray, columns: int, title: str, note: str, row_names: Sequence[str] = ()
) -> None:
    """A grid of images with a headline; `row_names` label the rows at the left."""
    picture = tile(images, columns)
    left = 0.11 if row_names else 0.005
    scale = WIDTH * (0.995 - left) / picture.shape[1]
    height = picture.shape[0] * scale
    figure = plt.figure(figsize=(WIDTH, height + 0.75))
    axes = figure.add_axes((left, 0.005, 0.995 - left, height / (height + 0.75)))
    show(axes, picture)
    for number, name in enumerate(row_names):
        middle = (number + 0.5) * picture.shape[0] / len(row_names)
        axes.text(-4, middle, name, ha="right", va="center", fontsize=9.5, color=INK)
    headline(figure, title, note)
    save(figure, path)
