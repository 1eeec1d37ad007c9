"""Load public datasets with torchvision."""

import contextlib
import hashlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from triptych.core.errors import InputError
from triptych.data.sources.npz import nchw
from triptych.data.sources.params import Torchvision
from triptych.data.storage import SPLITS, Dataset, Split
from triptych.machine.randomness import generator

DIGITS = [str(digit) for digit in range(10)]
DATASETS = {  # class of torchvision, and licence
    "svhn": ("SVHN", "free for non-commercial use (Netzer et al. 2011)"),
    "cifar10": ("CIFAR10", "none stated by its authors (Krizhevsky 2009)"),
    "mnist": ("MNIST", "CC BY-SA 3.0 (LeCun et al. 1998)"),
    "fashion_mnist": ("FashionMNIST", "MIT (Xiao et al. 2017)"),
}


def load(params: Torchvision, seed: int) -> Dataset:
    """Load a public dataset. If `params.download` is true, download missing files first.

    `seed` selects the images of a subset. Raises InputError if a download fails, a file is missing or damaged, or the
    subset is larger than the dataset.
    """
    if params.download:
        print(f"{params.name}: downloading missing files to {params.root}", flush=True)
        for split in SPLITS:
            _open(params, split, download=True)
    _check_files(params)
    splits: dict[str, Any] = {}
    for split in SPLITS:
        source = _open(params, split, download=False)
        labels = source.labels if hasattr(source, "labels") else source.targets
        images = np.asarray(source.data)  # NCHW (SVHN), NHWC (CIFAR-10) or NHW (MNIST)
        images = nchw(images[:, None] if images.ndim == 3 else images, f"{params.name}: {split}")
        whole = Split(images, np.asarray(labels).astype(np.int64))
        splits[split] = _subset(whole, getattr(params, split), seed, f"{params.name}: {split}")
    return Dataset(
        **splits,
        classes=DIGITS if params.name in ("svhn", "mnist") else list(source.classes),
        source=f"torchvision.datasets.{DATASETS[params.name][0]}",
        licence=DATASETS[params.name][1],
        name=params.name,
    )


def _dataset_class(name: str) -> Any:
    from torchvision import datasets  # takes 1.5 s

    return getattr(datasets, DATASETS[name][0])


def _open(params: Torchvision, split: str, download: bool) -> Any:
    choice = {"split": split} if params.name == "svhn" else {"train": split == "train"}
    quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    try:
        with quiet[0], quiet[1], warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _dataset_class(params.name)(params.root, download=download, **choice)
    except Exception as error:  # torchvision raises struct, assertion, URL, unpickling and other errors
        problem = "could not be downloaded" if download else "cannot be read"
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{params.root}: {params.name} ({split}) {problem}: {reason}") from None


def _check_files(params: Torchvision) -> None:
    """Raise InputError if a required file is missing or damaged. Torchvision's own error does not name the file."""
    for path, md5 in _needed_files(params):
        if not path.is_file():
            raise InputError(f"{path}: no such file, but {params.name} requires it; set download: true to download it")
        if md5 is None:
            _check_idx(path)
        elif hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != md5:
            raise InputError(f"{path}: wrong checksum, so the file is damaged; delete the file and download it again")


def _needed_files(params: Torchvision) -> Iterator[tuple[Path, str | None]]:
    source, root = _dataset_class(params.name), Path(params.root)
    if params.name == "svhn":
        yield from ((root / source.split_list[split][1], source.split_list[split][2]) for split in SPLITS)
    elif params.name == "cifar10":
        files = [*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])]
        yield from ((root / source.base_folder / name, md5) for name, md5 in files)
    else:  # torchvision has checksums of MNIST's archives only, but the unpacked files contain their own length
        yield from ((root / source.__name__ / "raw" / Path(name).stem, None) for name, _ in source.resources)


def _check_idx(path: Path) -> None:
    """Raise InputError if the header or the length of an IDX file (MNIST's file format) is wrong.

    An IDX file contains two zero bytes, a type byte (8 for uint8), the number of dimensions, the shape and the values.
    """
    with path.open("rb") as file:
        magic = file.read(4)
        dimensions = np.frombuffer(file.read(4 * magic[3]) if len(magic) == 4 else b"", ">u4").astype(np.int64)
    if magic[:3] != b"\x00\x00\x08":
        raise InputError(f"{path}: not an IDX file with uint8 data")
    expected = 4 + 4 * magic[3] + int(dimensions.prod())
    if len(dimensions) != magic[3] or path.stat().st_size != expected:
        raise InputError(f"{path}: truncated: {path.stat().st_size} bytes, but the header requires {expected}")


def _subset(split: Split, count: int | None, seed: int, name: str) -> Split:
    """Return `count` random images, or all images if `count` is None. Larger subsets contain the smaller ones."""
    if count is None:
        return split
    if count > len(split.images):
        raise InputError(f"{name}: {count} images requested, but the dataset has only {len(split.images)}")
    order = torch.randperm(len(split.images), generator=generator("cpu", seed, "subset", name)).numpy()
    return Split(split.images[order[:count]], split.labels[order[:count]])
