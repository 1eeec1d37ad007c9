"""The one form in which every dataset lies on disk: four .npy files that load by memory map, and a card."""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from triptych.core.errors import InputError
from triptych.core.files import write_json

UNLABELLED = -1
SPLITS = ("train", "test")
CHANNELS = (1, 3)


@dataclass(frozen=True)
class Split:
    """Images uint8 (N, C, H, W) and their labels int64 (N,), all UNLABELLED when there are none."""

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """A train and a test split. `classes` names the labels 0, 1, …; it is empty when there are none.

    `left_out` says what of the source is in neither split, and why, in a sentence for each reason.
    """

    train: Split
    test: Split
    classes: list[str]
    source: str
    licence: str
    name: str = "unnamed"
    left_out: list[str] = field(default_factory=list)

    @property
    def labelled(self) -> bool:
        """Whether the images have labels."""
        return bool(self.classes)


def validate(dataset: Dataset, least_images: int, where: str = "") -> None:
    """Refuses what nothing can be learned from.

    Args:
        dataset: any dataset.
        least_images: what the training split must hold: the batch size of whoever trains on it.
        where: what the message names as the culprit; the dataset's name if empty.

    Raises:
        InputError: a wrong dtype or shape, too few images, labels out of range, or a class without an image.
    """
    where = where or dataset.name
    for split in SPLITS:
        _check_arrays(getattr(dataset, split), f"{where}: {split}")
        least = least_images if split == "train" else 1
        _check_content(getattr(dataset, split), dataset.classes, least, f"{where}: {split}")
    shapes = dataset.train.images.shape[1:], dataset.test.images.shape[1:]
    if shapes[0] != shapes[1]:
        raise InputError(f"{where}: train images have shape {shapes[0]} and test images {shapes[1]}; they must agree")


def _check_arrays(split: Split, where: str) -> None:
    images, labels = split.images, split.labels
    if images.dtype != np.uint8:
        raise InputError(f"{where}: images are {images.dtype}; they must be uint8")
    if images.ndim != 4 or images.shape[1] not in CHANNELS or images.shape[2] != images.shape[3]:
        raise InputError(f"{where}: images have shape {images.shape}; it must be (N, 1 or 3, side, side)")
    if labels.dtype != np.int64:
        raise InputError(f"{where}: labels are {labels.dtype}; they must be int64")
    if labels.shape != images.shape[:1]:
        raise InputError(f"{where}: labels have shape {labels.shape}; it must be ({len(images)},), one for each image")


def _check_content(split: Split, classes: list[str], least_images: int, where: str) -> None:
    least_images = max(least_images, 1)
    if len(split.images) < least_images:
        batch = " (one batch)" if least_images > 1 else ""
        raise InputError(f"{where}: {len(split.images)} images; at least {least_images}{batch} are needed")
    if not classes:
        wrong = split.labels[split.labels != UNLABELLED]
        if len(wrong):
            raise InputError(f"{where}: label {wrong[0]} is out of range; without classes every label must be -1")
        return
    outside = np.flatnonzero((split.labels < 0) | (split.labels >= len(classes)))
    if len(outside):
        at = outside[0]
        raise InputError(
            f"{where}: label {split.labels[at]} of image {at} is out of range; allowed are 0 to {len(classes) - 1}"
        )
    empty = np.flatnonzero(np.bincount(split.labels, minlength=len(classes)) == 0)
    if len(empty):
        raise InputError(f"{where}: class '{classes[empty[0]]}' has no image; every class needs at least one")


def save(dataset: Dataset, folder: Path | str) -> dict:
    """Writes a dataset to `folder`; an earlier one stays there until the new one is whole.

    Returns:
        The data card, which lies beside the arrays as card.json.
    """
    folder = Path(folder)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    card = make_card(dataset)
    try:
        partial.mkdir(parents=True)
        for split in SPLITS:
            for part in ("images", "labels"):
                np.save(partial / f"{split}_{part}.npy", getattr(getattr(dataset, split), part), allow_pickle=False)
        write_json(partial / "card.json", card)
        _replace(folder, partial)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return card


def _replace(folder: Path, by: Path) -> None:
    """Puts folder `by` in the place of `folder`."""
    if not folder.exists():
        by.rename(folder)
        return
    earlier = by.with_suffix(".earlier")
    folder.rename(earlier)
    try:
        by.rename(folder)
    except BaseException:
        earlier.rename(folder)
        raise
    shutil.rmtree(earlier)


def make_card(dataset: Dataset) -> dict:
    """What a reader wants to know of a dataset: counts, shape, statistics of the training pixels in [0, 1], hashes."""
    mean, deviation = channel_statistics(dataset.train.images)
    return {
        "name": dataset.name,
        "train_images": len(dataset.train.images),
        "test_images": len(dataset.test.images),
        "shape": list(dataset.train.images.shape[1:]),
        "classes": list(dataset.classes),
        "per_class": {split: _per_class(getattr(dataset, split), dataset.classes) for split in SPLITS},
        "channel_mean": mean,
        "channel_std": deviation,
        "sha256": {
            f"{split}_{part}": _sha256(getattr(getattr(dataset, split), part))
            for split in SPLITS
            for part in ("images", "labels")
        },
        "source": dataset.source,
        "licence": dataset.licence,
        "left_out": dataset.left_out,
    }


def channel_statistics(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel of uint8 (N, C, H, W), in units of 255.

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


def _per_class(split: Split, classes: list[str]) -> dict[str, int]:
    return {name: int((split.labels == label).sum()) for label, name in enumerate(classes)}


def _sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()


def load(folder: Path | str) -> Dataset:
    """The dataset in `folder`, its arrays memory-mapped and read-only.

    Raises:
        InputError: a file is missing, truncated, or holds something else; the message names it.
    """
    folder = Path(folder)
    card = load_card(folder)
    splits = {}
    for split in SPLITS:
        images, labels = (_load_array(folder / f"{split}_{part}.npy") for part in ("images", "labels"))
        splits[split] = Split(images, labels)
        _check_arrays(splits[split], str(folder / f"{split}_images.npy"))
    return Dataset(
        splits["train"],
        splits["test"],
        card["classes"],
        card["source"],
        card["licence"],
        card["name"],
        card.get("left_out", []),
    )


def load_card(folder: Path | str) -> dict:
    """The data card in `folder`.

    Raises:
        InputError: it is missing or not a card.
    """
    path = Path(folder) / "card.json"
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; the prepare stage makes it") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if not isinstance(card, dict) or not {"name", "classes", "source", "licence"} <= card.keys():
        raise InputError(f"{path}: not a data card; run the prepare stage again")
    return card


def _load_array(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; the prepare stage makes it") from None
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: truncated, or not a .npy array ({reason}); run the prepare stage again") from None
