"""Public datasets, through torchvision's own classes."""

import contextlib
import hashlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from triptych.core.errors import InputError
from triptych.data.sources.params import Torchvision
from triptych.data.sources.wording import one_line
from triptych.data.storage import CHANNELS, SPLITS, Dataset, Split
from triptych.machine.randomness import generator

DIGITS = [str(digit) for digit in range(10)]
LICENCES = {
    "svhn": "free for non-commercial use (Netzer et al. 2011)",
    "cifar10": "none stated by its authors (Krizhevsky 2009)",
    "mnist": "CC BY-SA 3.0 (LeCun et al. 1998)",
    "fashion_mnist": "MIT (Xiao et al. 2017)",
}


def opened(params: Torchvision, seed: int) -> Dataset:
    """The dataset, downloaded where the params say so; a subset depends on the seed.

    Raises:
        InputError: a file is missing or damaged, or a subset larger than the whole is asked for.
    """
    if params.download:
        print(f"{params.name}: looking for it in {params.root}, and downloading what is missing", flush=True)
        _open(params, "train", download=True)
        _open(params, "test", download=True)
    _check_files(params)
    splits = {}
    for split in SPLITS:
        source = _open(params, split, download=False)
        images, labels = _arrays(source)
        splits[split] = _subset(Split(images, labels), getattr(params, split), seed, f"{params.name}: {split}")
    classes = DIGITS if params.name in ("svhn", "mnist") else list(source.classes)
    return Dataset(
        splits["train"],
        splits["test"],
        classes=classes,
        source=f"torchvision.datasets.{type(source).__name__}",
        licence=LICENCES[params.name],
        name=params.name,
    )


def _dataset_class(name: str) -> type:
    from torchvision import datasets  # 1.5 s: only for who needs it

    return {
        "svhn": datasets.SVHN,
        "cifar10": datasets.CIFAR10,
        "mnist": datasets.MNIST,
        "fashion_mnist": datasets.FashionMNIST,
    }[name]


def _open(params: Torchvision, split: str, download: bool):  # one of torchvision's dataset classes
    which = {"split": split} if params.name == "svhn" else {"train": split == "train"}
    kind = _dataset_class(params.name)
    try:
        with _quiet():
            return kind(params.root, download=download, **which)
    # torchvision raises what its parsers happen to raise: struct, assertion, URL and unpickling errors among them.
    except Exception as error:
        doing = "could not be downloaded" if download else "cannot be read"
        raise InputError(f"{params.root}: {params.name} ({split}) {doing}: {one_line(error)}") from None


def _check_files(params: Torchvision) -> None:
    """Names the file that torchvision would only call "not found or corrupted"."""
    for path, md5 in _needed_files(params):
        if not path.is_file():
            raise InputError(f"{path}: no such file; {params.name} needs it ('download: true' fetches it)")
        if md5 is None:
            _check_idx(path)
        elif _md5(path) != md5:
            raise InputError(f"{path}: wrong checksum, so it is truncated or altered; delete it and download it again")


def _needed_files(params: Torchvision) -> list[tuple[Path, str | None]]:
    kind, root = _dataset_class(params.name), Path(params.root)
    if params.name == "svhn":
        return [(root / kind.split_list[split][1], kind.split_list[split][2]) for split in SPLITS]
    if params.name == "cifar10":
        files = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
        return [(root / kind.base_folder / name, md5) for name, md5 in files]
    # The checksums that torchvision knows are those of the archives; the unpacked files state their own length.
    return [(root / kind.__name__ / "raw" / name.removesuffix(".gz"), None) for name, _ in kind.resources]


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _check_idx(path: Path) -> None:
    """An idx file: two zero bytes, the type (8: uint8), the number of dimensions, each as 4 bytes, then the values."""
    with path.open("rb") as file:
        magic = file.read(4)
        dimensions = np.frombuffer(file.read(4 * magic[3]) if len(magic) == 4 else b"", ">u4").astype(np.int64)
    if magic[:3] != b"\x00\x00\x08":
        raise InputError(f"{path}: not an idx file of bytes")
    expected = 4 + 4 * magic[3] + int(dimensions.prod())
    if len(dimensions) != magic[3] or path.stat().st_size != expected:
        raise InputError(f"{path}: truncated: {path.stat().st_size} bytes where its header promises {expected}")


def _arrays(source: object) -> tuple[np.ndarray, np.ndarray]:
    """Images NCHW and labels of a torchvision dataset: SVHN holds NCHW, CIFAR-10 NHWC, the MNISTs NHW."""
    labels = source.labels if hasattr(source, "labels") else source.targets
    images = np.asarray(source.data)
    if images.ndim == 3:
        images = images[:, None]
    elif images.shape[1] not in CHANNELS:
        images = images.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(images), np.asarray(labels).astype(np.int64)


def _subset(split: Split, count: int | None, seed: int, where: str) -> Split:
    """`count` images chosen by chance; a smaller subset is part of a larger one."""
    if count is None:
        return split
    if count > len(split.images):
        raise InputError(f"{where}: {count} images asked for; it has {len(split.images)}")
    order = torch.randperm(len(split.images), generator=generator("cpu", seed, "subset", where)).numpy()
    return Split(split.images[order[:count]], split.labels[order[:count]])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps a library's prints, progress bars and warnings off the terminal."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield
