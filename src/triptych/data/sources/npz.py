"""Load a user's own images and labels from one .npz file."""

from pathlib import Path

import numpy as np

from triptych.core.errors import InputError
from triptych.core.files import readable
from triptych.data.sources.params import OWN_LICENCE, Npz
from triptych.data.storage import CHANNELS, SPLITS, UNLABELLED, Dataset, Split

NAMES = [f"{axis}_{split}" for split in SPLITS for axis in "xy"]


def load(params: Npz) -> Dataset:
    """Load a dataset from the .npz file `params.root`. Raises InputError if the file or an array in it is invalid."""
    path = Path(params.root)
    expected = f"expected an .npz archive of plain arrays: {', '.join(NAMES)}"
    with readable(path, expected), np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in NAMES if name in archive.files}
    for name in ("x_train", "x_test"):
        if name not in arrays:
            raise InputError(f"{path}: array '{name}' is missing; {expected}")
    if ("y_train" in arrays) != ("y_test" in arrays):
        raise InputError(
            f"{path}: only one of y_train and y_test is present; provide both, or neither for unlabelled images"
        )
    splits = {}
    for split in SPLITS:
        images = nchw(arrays[f"x_{split}"], f"{path}: x_{split}")
        splits[split] = Split(images, _labels(arrays.get(f"y_{split}"), len(images), f"{path}: y_{split}"))
    classes = _classes(splits["train"].labels, f"{path}: y_train")
    return Dataset(splits["train"], splits["test"], classes, source=str(path), licence=OWN_LICENCE, name=path.stem)


def nchw(images: np.ndarray, name: str) -> np.ndarray:
    """Convert uint8 images (N, C, side, side) or (N, side, side, C) to the layout (N, C, side, side). C is 1 or 3.

    Raises InputError for other types and shapes, and for shapes that fit both layouts. The message begins with `name`.
    """
    if images.dtype != np.uint8:
        raise InputError(f"{name} is {images.dtype}; images must be uint8")
    shape = images.shape
    channels_first = len(shape) == 4 and shape[1] in CHANNELS and shape[2] == shape[3]
    channels_last = len(shape) == 4 and shape[3] in CHANNELS and shape[1] == shape[2]
    if channels_first == channels_last:
        raise InputError(f"{name} has shape {shape}; it must be (N, C, side, side) or (N, side, side, C), C = 1 or 3")
    return np.ascontiguousarray(images if channels_first else images.transpose(0, 3, 1, 2))


def _labels(labels: np.ndarray | None, count: int, name: str) -> np.ndarray:
    if labels is None:
        return np.full(count, UNLABELLED, np.int64)
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"{name} is {labels.dtype}; labels must be integers")
    if labels.shape != (count,):
        raise InputError(f"{name} has shape {labels.shape}; it must be ({count},), one label per image")
    return labels.astype(np.int64)


def _classes(labels: np.ndarray, name: str) -> list[str]:
    if not len(labels) or (labels == UNLABELLED).all():
        return []
    highest = int(labels.max())
    if highest >= len(labels):
        raise InputError(f"{name}: label {highest} is out of range; must be below the number of images ({len(labels)})")
    return [str(label) for label in range(highest + 1)]
