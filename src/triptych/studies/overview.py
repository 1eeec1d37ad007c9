"""The picture at the head of the README: real images, and what each study makes."""

from pathlib import Path

import numpy as np

from triptych.drawing import style

COLUMNS = 16


def draw(path: Path, real: np.ndarray, rows: dict[str, np.ndarray]) -> None:
    """A band of real images above a band of each model's first samples; all (N, C, H, W) uint8."""
    style.apply()
    bands = {"test images": real} | rows
    style.image_sheet(
        path,
        np.concatenate([images[:COLUMNS] for images in bands.values()]),
        COLUMNS,
        "What the models make of the data",
        "The first samples at the end of training, not chosen.",
        list(bands),
    )
