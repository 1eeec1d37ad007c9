"""Load datasets from disk. A dataset is a folder with four .npy files and a data card (card.json)."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from triptych.core.errors import InputError
from triptych.core.files import readable

UNLABELLED = -1
SPLITS = ("train", "test")
ARRAYS = ("images", "labels")
CHANNELS = (1, 3)
REMEDY = "create it with `dvc repro prepare`"


@dataclass(frozen=True)
class Split:
    """Training or test images, uint8 (N, C, H, W), and their int64 labels (N,). Unlabelled images have the label -1."""

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """Image dataset: training and test splits, class names, source, licence, and messages about skipped files."""

    train: Split
    test: Split
    classes: list[str]  # names of the labels 0, 1, …; empty without labels
    source: str
    licence: str
    name: str = "unnamed"
    skipped: list[str] = field(default_factory=list)  # one message per reason why source images are in neither split

    @property
    def labelled(self) -> bool:
        return bool(self.classes)


def check_arrays(split: Split, where: str) -> None:
    """Raise InputError if images or labels have an unsupported type or shape. `where` begins the error message."""
    images, labels = split.images, split.labels
    square = images.ndim == 4 and images.shape[1] in CHANNELS and images.shape[2] == images.shape[3]
    if images.dtype != np.uint8 or not square:
        expected = "uint8 of shape (N, 1 or 3, side, side)"
        raise InputError(f"{where}: images are {images.dtype} of shape {images.shape}; expected {expected}")
    if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
        expected = f"int64 of shape ({len(images)},), one label per image"
        raise InputError(f"{where}: labels are {labels.dtype} of shape {labels.shape}; expected {expected}")


def load(folder: Path | str) -> Dataset:
    """Load the dataset in `folder` as memory-mapped arrays. Raises InputError if a file is missing or damaged."""
    folder = Path(folder)
    card = load_card(folder)
    splits: dict[str, Any] = {}
    for split in SPLITS:
        arrays = {}
        for name in ARRAYS:
            with readable(folder / f"{split}_{name}.npy", REMEDY) as path:
                arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False)
        splits[split] = Split(**arrays)
        check_arrays(splits[split], str(folder / f"{split}_images.npy"))
    facts = {key: card[key] for key in ("classes", "source", "licence", "name")}
    return Dataset(**splits, **facts, skipped=card.get("left_out", []))


def load_card(folder: Path | str) -> dict:
    """Return the data card (card.json) of the dataset in `folder`. Raises InputError if it is missing or damaged."""
    path = Path(folder) / "card.json"
    with readable(path, REMEDY):
        card = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(card, dict) or not {"name", "classes", "source", "licence"} <= card.keys():
        raise InputError(f"{path}: not a data card; {REMEDY}")
    return card
