"""Datasets on disk: a folder with four memory-mapped .npy files and a data card."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from triptych.core.errors import InputError

UNLABELLED = -1
SPLITS = ("train", "test")
ARRAYS = ("images", "labels")
CHANNELS = (1, 3)


@dataclass(frozen=True)
class Split:
    """Images uint8 (N, C, H, W) and labels int64 (N,), all UNLABELLED without classes."""

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """A train and a test split."""

    train: Split
    test: Split
    classes: list[str]  # names of the labels 0, 1, …; empty for unlabelled images
    source: str
    licence: str
    name: str = "unnamed"
    left_out: list[str] = field(default_factory=list)  # reasons for which images of the source are in neither split

    @property
    def labelled(self) -> bool:
        """True if the images have labels."""
        return bool(self.classes)


def check_arrays(split: Split, where: str) -> None:
    """Raise InputError, which begins with `where`, if the arrays have a wrong type or shape."""
    images, labels = split.images, split.labels
    if images.dtype != np.uint8:
        raise InputError(f"{where}: images are {images.dtype}; they must be uint8")
    if images.ndim != 4 or images.shape[1] not in CHANNELS or images.shape[2] != images.shape[3]:
        raise InputError(f"{where}: images have shape {images.shape}; it must be (N, 1 or 3, side, side)")
    if labels.dtype != np.int64:
        raise InputError(f"{where}: labels are {labels.dtype}; they must be int64")
    if labels.shape != images.shape[:1]:
        raise InputError(f"{where}: labels have shape {labels.shape}; it must be ({len(images)},), one for each image")


def load(folder: Path | str) -> Dataset:
    """Load a dataset with memory-mapped, read-only arrays. A missing or damaged file raises InputError."""
    folder = Path(folder)
    card = load_card(folder)
    splits = {}
    for split in SPLITS:
        arrays = {}
        for name in ARRAYS:
            path = folder / f"{split}_{name}.npy"
            with _readable(path):
                arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False)
        splits[split] = Split(**arrays)
        check_arrays(splits[split], str(folder / f"{split}_images.npy"))
    about = {key: card[key] for key in ("classes", "source", "licence", "name")}
    return Dataset(splits["train"], splits["test"], **about, left_out=card.get("left_out", []))


def load_card(folder: Path | str) -> dict:
    """Load the data card in `folder`. A missing or damaged card raises InputError."""
    path = Path(folder) / "card.json"
    with _readable(path):
        card = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(card, dict) or not {"name", "classes", "source", "licence"} <= card.keys():
        raise InputError(f"{path}: not a data card; run the prepare stage again")
    return card


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; the prepare stage makes it") from None
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: truncated or damaged ({reason}); run the prepare stage again") from None
