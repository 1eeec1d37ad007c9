"""One picture of a stored dataset: some training images of each class."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from triptych.core.files import written_whole
from triptych.data.storage import Dataset, load

COLUMNS = 16
MOST_ROWS = 20
UNLABELLED_ROWS = 8
INCHES = 0.55  # side of an image on paper


def draw(folder: Path | str, path: Path | str) -> None:
    """Writes the grid of the dataset in `folder` to the PNG `path`: a row for each class, labelled with its name.

    Raises:
        InputError: `folder` holds no dataset.
    """
    dataset = load(folder)
    rows = _rows(dataset)
    height = len(rows) * INCHES + 0.8
    figure = Figure(figsize=(COLUMNS * INCHES + 1.4, height), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    picture = _mosaic(dataset.train.images, [indices for _, indices in rows])
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    side = dataset.train.images.shape[-1] + 1
    axes.set_xticks([])
    axes.set_yticks([(row + 0.5) * side for row in range(len(rows))], [name for name, _ in rows])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    counts = f"{len(dataset.train.images):,} train, {len(dataset.test.images):,} test"
    shape = "×".join(map(str, dataset.train.images.shape[1:]))
    kind = "a row for each class" if dataset.labelled else "unlabelled"
    axes.set_title(f"{dataset.name}: {counts} images of {shape}; training images, {kind}", fontsize=10)
    FigureCanvasAgg(figure)
    with written_whole(path) as partial:
        # No version in the file: the same dataset gives the same bytes.
        figure.savefig(partial, format="png", metadata={"Software": None})


def _rows(dataset: Dataset) -> list[tuple[str, np.ndarray]]:
    """Each row's name and the indices of its images: the first of its class."""
    if not dataset.labelled:
        starts = range(0, min(len(dataset.train.images), UNLABELLED_ROWS * COLUMNS), COLUMNS)
        return [("", np.arange(start, min(start + COLUMNS, len(dataset.train.images)))) for start in starts]
    labels = np.asarray(dataset.train.labels)
    shown = dataset.classes[:MOST_ROWS]
    return [(name, np.flatnonzero(labels == label)[:COLUMNS]) for label, name in enumerate(shown)]


def _mosaic(images: np.ndarray, rows: list[np.ndarray]) -> np.ndarray:
    """The images (N, C, H, W) of each row side by side, one white pixel between them: (rows, columns[, 3]) uint8."""
    _, channels, height, width = images.shape
    canvas = np.full((len(rows) * (height + 1), COLUMNS * (width + 1), channels), 255, np.uint8)
    for row, indices in enumerate(rows):
        for column, index in enumerate(indices):
            top, left = row * (height + 1), column * (width + 1)
            canvas[top : top + height, left : left + width] = images[index].transpose(1, 2, 0)
    return canvas[..., 0] if channels == 1 else canvas
