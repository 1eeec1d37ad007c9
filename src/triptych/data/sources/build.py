"""Build image datasets, save each dataset with a data card, and draw a picture of its training images."""

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

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

COLUMNS, MOST_ROWS, UNLABELLED_ROWS = 16, 20, 8  # of the picture of a dataset
INCHES = 0.55  # side of an image in the picture


def build(params: Source, seed: int) -> Dataset:
    """Build a dataset from the image source that `params` describes. Raises InputError if the data are invalid.

    Images from files are shuffled, because they are often sorted by class. `seed` determines all random choices.
    """
    if isinstance(params, StreetDigits):
        dataset = _draw_digits(params, seed)
        validate(dataset, params.name)
        return dataset
    if isinstance(params, Torchvision):
        dataset, name = public.load(params, seed), f"{params.root} ({params.name})"
    else:
        dataset, name = (folder if isinstance(params, Folder) else npz).load(params), params.root
    validate(dataset, name)
    return _shuffled(_padded(dataset), seed)


def validate(dataset: Dataset, where: str) -> None:
    """Raise InputError if images, labels or classes are invalid. The error message starts with the name `where`."""
    for name, split in _splits(dataset).items():
        check_arrays(split, f"{where}: {name}")
        _check_content(split, dataset.classes, f"{where}: {name}")
    train, test = dataset.train.images.shape[1:], dataset.test.images.shape[1:]
    if train != test:
        raise InputError(f"{where}: train images have shape {train}, test images {test}; the shapes must be equal")


def _check_content(split: Split, classes: list[str], where: str) -> None:
    if not len(split.images):
        raise InputError(f"{where}: 0 images; at least 1 is required")
    if classes:
        wrong = np.flatnonzero((split.labels < 0) | (split.labels >= len(classes)))
        allowed = f"must be 0 to {len(classes) - 1}"
    else:
        wrong = np.flatnonzero(split.labels != UNLABELLED)
        allowed = "must be -1, because there are no classes"
    if len(wrong):
        raise InputError(f"{where}: label {split.labels[wrong[0]]} of image {wrong[0]} is out of range; {allowed}")
    if empty := sorted(set(range(len(classes))) - set(split.labels.tolist())):
        raise InputError(f"{where}: class '{classes[empty[0]]}' has no images; every class must have at least one")


def _draw_digits(params: StreetDigits, seed: int) -> Dataset:
    return Dataset(
        Split(*streetdigits.draw(params.train, seed, "train", params)),
        Split(*streetdigits.draw(params.test, seed, "test", params)),
        classes=streetdigits.CLASSES,
        source=f"drawn by triptych.data.sources.streetdigits, seed {seed}",
        licence="free; the glyphs are from the free fonts that matplotlib ships (DejaVu, STIX, Computer Modern)",
        name=params.name,
    )


def _splits(dataset: Dataset) -> dict[str, Split]:
    return {name: getattr(dataset, name) for name in SPLITS}


def _shuffled(dataset: Dataset, seed: int) -> Dataset:
    splits: dict[str, Any] = {}
    for name, split in _splits(dataset).items():
        order = torch.randperm(len(split.images), generator=generator("cpu", seed, "order of images", name)).numpy()
        splits[name] = Split(split.images[order], split.labels[order])
    return replace(dataset, **splits)


def _padded(dataset: Dataset) -> Dataset:
    """Pad images of 28 x 28 pixels to 32 x 32 pixels by repeating the border. Images of other sizes are unchanged."""
    if dataset.train.images.shape[-1] != SMALL:
        return dataset
    width = (PADDED - SMALL) // 2
    widths = (0, 0), (0, 0), (width, width), (width, width)
    splits: dict[str, Any] = {
        name: Split(np.pad(split.images, widths, mode="edge"), split.labels) for name, split in _splits(dataset).items()
    }
    source = f"{dataset.source}; framed from {SMALL} x {SMALL} to {PADDED} x {PADDED} by its border pixels"
    return replace(dataset, **splits, source=source)


def save(dataset: Dataset, folder: Path | str) -> dict:
    """Save a dataset and its data card (card.json) in `folder`. Return the card. On failure, `folder` is unchanged."""
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
    return {f"{name}_{array}": getattr(split, array) for name, split in _splits(dataset).items() for array in ARRAYS}


def make_card(dataset: Dataset) -> dict:
    """Return the data card of a dataset: a dict with its name, image counts, statistics, hashes, source and licence."""
    mean, deviation = channel_statistics(dataset.train.images)
    return {
        "name": dataset.name,
        "train_images": len(dataset.train.images),
        "test_images": len(dataset.test.images),
        "shape": list(dataset.train.images.shape[1:]),
        "classes": list(dataset.classes),
        "per_class": {
            name: {class_name: int((split.labels == label).sum()) for label, class_name in enumerate(dataset.classes)}
            for name, split in _splits(dataset).items()
        },
        "channel_mean": mean,
        "channel_std": deviation,
        "sha256": {
            name: hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
            for name, array in _arrays(dataset).items()
        },
        "source": dataset.source,
        "licence": dataset.licence,
        "left_out": dataset.skipped,
    }


def channel_statistics(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Return the mean and standard deviation per channel of images (N, C, H, W), with uint8 scaled to [0, 1]."""
    levels = np.arange(256) / 255
    means, deviations = [], []
    for channel in range(images.shape[1]):
        # Counts of the 256 values in chunks, because a float copy of the images might not fit in memory.
        chunks = (images[start : start + 4096, channel].reshape(-1) for start in range(0, len(images), 4096))
        counts = np.sum([np.bincount(chunk, minlength=256) for chunk in chunks], axis=0)
        mean = float(counts @ levels / counts.sum())
        means.append(mean)
        deviations.append(float(np.sqrt(counts @ (levels - mean) ** 2 / counts.sum())))
    return means, deviations


def draw(dataset: Dataset, path: Path | str) -> None:
    """Write a PNG of training images: one row for each of the first 20 classes, or at most 8 rows if unlabelled."""
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
        # Without matplotlib's version in the metadata, equal datasets give equal bytes.
        figure.savefig(partial, format="png", metadata={"Software": None})


def _rows(dataset: Dataset) -> list[tuple[str, np.ndarray]]:
    """Return the class name and the image indices of each row of the picture. Unlabelled rows have an empty name."""
    if not dataset.labelled:
        count = min(len(dataset.train.images), UNLABELLED_ROWS * COLUMNS)
        return [("", np.arange(start, min(start + COLUMNS, count))) for start in range(0, count, COLUMNS)]
    labels = np.asarray(dataset.train.labels)
    return [(name, np.flatnonzero(labels == label)[:COLUMNS]) for label, name in enumerate(dataset.classes[:MOST_ROWS])]


def tile_rows(images: np.ndarray, rows: list[np.ndarray]) -> np.ndarray:
    """Arrange images (N, C, H, W) in a uint8 picture (height, width, 3). `rows` lists the image indices of each row."""
    height, width = images.shape[2] + 1, images.shape[3] + 1
    cells = np.full((len(rows), COLUMNS, 3, height, width), 255, np.uint8)
    for cell, indices in zip(cells, rows, strict=True):
        cell[: len(indices), :, :-1, :-1] = images[indices]
    return cells.transpose(0, 3, 1, 4, 2).reshape(len(rows) * height, COLUMNS * width, 3)
