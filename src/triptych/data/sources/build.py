"""Build, write and picture the datasets of every source that params.yaml can name."""

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from triptych.core.errors import InputError
from triptych.core.files import write_json, written_whole
from triptych.data.sources import folder, npz, public, streetdigits
from triptych.data.sources.params import PADDED, SMALL, Folder, Source, StreetDigits, Torchvision
from triptych.data.storage import ARRAYS, SPLITS, UNLABELLED, Dataset, Split, check_arrays
from triptych.machine.randomness import generator

COLUMNS = 16
MOST_ROWS = 20
UNLABELLED_ROWS = 8
INCHES = 0.55  # side of an image on paper


def build(params: Source, seed: int) -> Dataset:
    """Build the dataset of one source of the `data` section.

    Files are often sorted by class, so their images are shuffled. The seed determines drawn images, subsets and order.

    Raises:
        InputError: the data are wrong; one line that names the file and the problem.
    """
    if isinstance(params, StreetDigits):
        dataset = _draw_digits(params, seed)
        validate(dataset, params.name)
        return dataset
    if isinstance(params, Torchvision):
        dataset, name = public.load(params, seed), f"{params.root} ({params.name})"
    elif isinstance(params, Folder):
        dataset, name = folder.load(params), params.root
    else:
        dataset, name = npz.load(params), params.root
    validate(dataset, name)
    return _shuffle(_pad(dataset), seed)


def validate(dataset: Dataset, where: str) -> None:
    """Raise InputError, which begins with `where`, if a model cannot learn from the dataset."""
    for name in SPLITS:
        split: Split = getattr(dataset, name)
        check_arrays(split, f"{where}: {name}")
        _check_content(split, dataset.classes, f"{where}: {name}")
    shapes = dataset.train.images.shape[1:], dataset.test.images.shape[1:]
    if shapes[0] != shapes[1]:
        raise InputError(f"{where}: train images have shape {shapes[0]} and test images {shapes[1]}; they must agree")


def _check_content(split: Split, classes: list[str], where: str) -> None:
    if not len(split.images):
        raise InputError(f"{where}: 0 images; at least 1 is needed")
    if classes:
        wrong = np.flatnonzero((split.labels < 0) | (split.labels >= len(classes)))
        allowed = f"allowed are 0 to {len(classes) - 1}"
    else:
        wrong = np.flatnonzero(split.labels != UNLABELLED)
        allowed = "without classes every label must be -1"
    if len(wrong):
        raise InputError(f"{where}: label {split.labels[wrong[0]]} of image {wrong[0]} is out of range; {allowed}")
    counts = np.bincount(split.labels, minlength=len(classes)) if classes else np.ones(1)
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        raise InputError(f"{where}: class '{classes[empty[0]]}' has no image; every class needs at least one")


def _draw_digits(params: StreetDigits, seed: int) -> Dataset:
    return Dataset(
        Split(*streetdigits.draw(params.train, seed, "train", params)),
        Split(*streetdigits.draw(params.test, seed, "test", params)),
        classes=streetdigits.CLASSES,
        source=f"drawn by triptych.data.sources.streetdigits, seed {seed}",
        licence="free; the glyphs are from the free fonts that matplotlib ships (DejaVu, STIX, Computer Modern)",
        name=params.name,
    )


def _map_splits(dataset: Dataset, change: Callable[[str, Split], Split]) -> Dataset:
    return replace(dataset, train=change("train", dataset.train), test=change("test", dataset.test))


def _shuffle(dataset: Dataset, seed: int) -> Dataset:
    def shuffled(name: str, split: Split) -> Split:
        order = torch.randperm(len(split.images), generator=generator("cpu", seed, "order of images", name)).numpy()
        return Split(split.images[order], split.labels[order])

    return _map_splits(dataset, shuffled)


def _pad(dataset: Dataset) -> Dataset:
    """Pad images of SMALL pixels per side by their border pixels; return others unchanged."""
    if dataset.train.images.shape[-1] != SMALL:
        return dataset
    width = (PADDED - SMALL) // 2

    def padded(_: str, split: Split) -> Split:
        return Split(np.pad(split.images, ((0, 0), (0, 0), (width, width), (width, width)), mode="edge"), split.labels)

    source = f"{dataset.source}; framed from {SMALL} x {SMALL} to {PADDED} x {PADDED} by its border pixels"
    return replace(_map_splits(dataset, padded), source=source)


def save(dataset: Dataset, folder: Path | str) -> dict:
    """Write a dataset with its card; return the card. An earlier dataset stays until this one is whole."""
    folder = Path(folder)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    card = make_card(dataset)
    try:
        partial.mkdir(parents=True)
        for name, array in _arrays(dataset).items():
            np.save(partial / f"{name}.npy", array, allow_pickle=False)
        write_json(partial / "card.json", card)
        _replace(folder, partial)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return card


def _replace(folder: Path, new: Path) -> None:
    if not folder.exists():
        new.rename(folder)
        return
    earlier = new.with_suffix(".earlier")
    folder.rename(earlier)
    try:
        new.rename(folder)
    except BaseException:
        earlier.rename(folder)
        raise
    shutil.rmtree(earlier)


def _arrays(dataset: Dataset) -> dict[str, np.ndarray]:
    return {f"{split}_{name}": getattr(getattr(dataset, split), name) for split in SPLITS for name in ARRAYS}


def make_card(dataset: Dataset) -> dict:
    """Return the data card: counts, shape, statistics of the training pixels in [0, 1], hashes of the arrays."""
    mean, deviation = channel_statistics(dataset.train.images)
    return {
        "name": dataset.name,
        "train_images": len(dataset.train.images),
        "test_images": len(dataset.test.images),
        "shape": list(dataset.train.images.shape[1:]),
        "classes": list(dataset.classes),
        "per_class": {
            split: {
                name: int((getattr(dataset, split).labels == label).sum()) for label, name in enumerate(dataset.classes)
            }
            for split in SPLITS
        },
        "channel_mean": mean,
        "channel_std": deviation,
        "sha256": {
            name: hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
            for name, array in _arrays(dataset).items()
        },
        "source": dataset.source,
        "licence": dataset.licence,
        "left_out": dataset.left_out,
    }


def channel_statistics(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per channel of uint8 (N, C, H, W), in units of 255.

    Exact, from the counts of the 256 values: no float copy of the images.
    """
    levels = np.arange(256) / 255
    means, deviations = [], []
    for channel in range(images.shape[1]):
        counts = np.zeros(256, np.int64)
        for start in range(0, len(images), 4096):
            counts += np.bincount(images[start : start + 4096, channel].reshape(-1), minlength=256)
        mean = float(counts @ levels / counts.sum())
        means.append(mean)
        deviations.append(float(np.sqrt(counts @ (levels - mean) ** 2 / counts.sum())))
    return means, deviations


def draw(dataset: Dataset, path: Path | str) -> None:
    """Write a PNG of training images: one labelled row per class, or rows of unlabelled images."""
    rows = _rows(dataset)
    figure = Figure(figsize=(COLUMNS * INCHES + 1.4, len(rows) * INCHES + 0.8), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(tile_rows(dataset.train.images, [indices for _, indices in rows]), interpolation="nearest")
    side = dataset.train.images.shape[-1] + 1
    axes.set_xticks([])
    axes.set_yticks([(row + 0.5) * side for row in range(len(rows))], [name for name, _ in rows])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    counts = f"{len(dataset.train.images):,} train, {len(dataset.test.images):,} test"
    shape = "×".join(map(str, dataset.train.images.shape[1:]))
    labels = "one row per class" if dataset.labelled else "unlabelled"
    axes.set_title(f"{dataset.name}: {counts} images of {shape}; training images, {labels}", fontsize=10)
    FigureCanvasAgg(figure)
    with written_whole(path) as partial:
        # Without the version of matplotlib the same dataset gives the same bytes.
        figure.savefig(partial, format="png", metadata={"Software": None})


def _rows(dataset: Dataset) -> list[tuple[str, np.ndarray]]:
    """Return name and image indices of each row: the first images of its class."""
    if not dataset.labelled:
        count = min(len(dataset.train.images), UNLABELLED_ROWS * COLUMNS)
        return [("", np.arange(start, min(start + COLUMNS, count))) for start in range(0, count, COLUMNS)]
    labels = np.asarray(dataset.train.labels)
    return [(name, np.flatnonzero(labels == label)[:COLUMNS]) for label, name in enumerate(dataset.classes[:MOST_ROWS])]


def tile_rows(images: np.ndarray, rows: list[np.ndarray]) -> np.ndarray:
    """Return one picture (height, width, 3) uint8 with the indexed images (N, C, H, W) of each row, white elsewhere."""
    height, width = images.shape[2] + 1, images.shape[3] + 1
    cells = np.full((len(rows), COLUMNS, 3, height, width), 255, np.uint8)
    for cell, indices in zip(cells, rows, strict=True):
        cell[: len(indices), :, :-1, :-1] = images[indices]
    return cells.transpose(0, 3, 1, 4, 2).reshape(len(rows) * height, COLUMNS * width, 3)
