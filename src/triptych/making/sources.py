"""Where images come from: each source that params.yaml can name, in the one form of `triptych.data.storage`."""

import contextlib
import hashlib
import io
import os
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from triptych.core.errors import InputError
from triptych.core.randomness import generator
from triptych.data.storage import CHANNELS, SPLITS, UNLABELLED, Dataset, Split, validate
from triptych.making import streetdigits
from triptych.making.params import Folder, Npz, Source, StreetDigits, Torchvision

DIGITS = [str(digit) for digit in range(10)]
LICENCES = {
    "svhn": "free for non-commercial use (Netzer et al. 2011)",
    "cifar10": "none stated by its authors (Krizhevsky 2009)",
    "mnist": "CC BY-SA 3.0 (LeCun et al. 1998)",
    "fashion_mnist": "MIT (Xiao et al. 2017)",
}
OWN_LICENCE = "the user's own"


def build(params: Source, seed: int) -> Dataset:
    """The dataset that `params` describe.

    Args:
        params: one source of the `data` section.
        seed: decides what is drawn, and which images a subset keeps.

    Raises:
        InputError: anything wrong with the data; one line that names the file and what is wrong with it.
    """
    if isinstance(params, StreetDigits):
        dataset, where = _drawn(params, seed), params.name
    elif isinstance(params, Torchvision):
        dataset, where = _torchvision(params, seed), f"{params.root} ({params.name})"
    elif isinstance(params, Folder):
        dataset, where = _folder(params), params.root
    else:
        dataset, where = _npz(params), params.path
    validate(dataset, least_images=1, where=where)
    return dataset


def _drawn(params: StreetDigits, seed: int) -> Dataset:
    train = Split(*streetdigits.draw(params.train, seed, "train", params))
    test = Split(*streetdigits.draw(params.test, seed, "test", params))
    return Dataset(
        train,
        test,
        classes=streetdigits.CLASSES,
        source=f"drawn by triptych.making.streetdigits, seed {seed}",
        licence="free; the glyphs are from the free fonts that matplotlib ships (DejaVu, STIX, Computer Modern)",
        name=params.name,
    )


# --- public datasets, through torchvision ---


def _torchvision(params: Torchvision, seed: int) -> Dataset:
    if params.download:
        print(f"{params.name}: looking for it in {params.root}, and downloading what is missing", flush=True)
        _open(params, "train", download=True)
        _open(params, "test", download=True)
    _check_files(params)
    splits = {}
    for split in SPLITS:
        opened = _open(params, split, download=False)
        images, labels = _arrays(opened)
        splits[split] = _subset(Split(images, labels), getattr(params, split), seed, f"{params.name}: {split}")
    classes = DIGITS if params.name in ("svhn", "mnist") else list(opened.classes)
    return Dataset(
        splits["train"],
        splits["test"],
        classes=classes,
        source=f"torchvision.datasets.{type(opened).__name__}",
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
        raise InputError(f"{params.root}: {params.name} ({split}) {doing}: {_one_line(error)}") from None


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


def _arrays(opened: object) -> tuple[np.ndarray, np.ndarray]:
    """Images NCHW and labels of a torchvision dataset: SVHN holds NCHW, CIFAR-10 NHWC, the MNISTs NHW."""
    labels = opened.labels if hasattr(opened, "labels") else opened.targets
    images = np.asarray(opened.data)
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


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


# --- a user's own images ---


def _folder(params: Folder) -> Dataset:
    root = Path(params.root)
    listed = {split: _list_images(root / split) for split in SPLITS}
    classes = listed["train"][1]
    if listed["test"][1] != classes:
        train, test = set(classes), set(listed["test"][1])
        odd = sorted(train ^ test)[0]
        raise InputError(
            f"{root}: class folder '{odd}' is in {'train' if odd in train else 'test'} only; "
            "train and test must have the same classes, or both none"
        )
    splits = {}
    for split, (samples, _) in listed.items():
        print(f"reading {len(samples):,} images of {root / split}", flush=True)
        labels = np.array([label for _, label in samples], np.int64)
        splits[split] = Split(_read_images([path for path, _ in samples], params.size), labels)
    return Dataset(
        splits["train"], splits["test"], classes, source=str(root), licence=OWN_LICENCE, name=root.resolve().name
    )


def _list_images(folder: Path) -> tuple[list[tuple[Path, int]], list[str]]:
    """(path, label) of each image of a split, and its classes; without class folders the label is UNLABELLED."""
    from torchvision.datasets import ImageFolder
    from torchvision.datasets.folder import IMG_EXTENSIONS

    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected {folder}/<class>/<image>, or images in {folder} itself")
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    images = [entry for entry in entries if entry.suffix.lower() in IMG_EXTENSIONS and entry.is_file()]
    folders = [entry for entry in entries if entry.is_dir()]
    if images and folders:
        raise InputError(
            f"{folder}: holds both class folders and images ({images[0].name}); it must be one or the other"
        )
    if not images and not folders:
        raise InputError(f"{folder}: no images; allowed are {', '.join(IMG_EXTENSIONS)}")
    if images:
        return [(path, UNLABELLED) for path in images], []
    found = ImageFolder(folder, allow_empty=True)
    # ImageFolder takes hidden folders, such as .ipynb_checkpoints, for classes.
    classes = [entry.name for entry in folders]
    samples = [(Path(path), found.classes[label]) for path, label in found.samples]
    return [(path, classes.index(name)) for path, name in samples if name in classes], classes


def _read_images(paths: list[Path], size: int) -> np.ndarray:
    """RGB images uint8 (N, 3, size, size): upright, the shorter side resized to `size`, the middle kept."""
    images = np.empty((len(paths), 3, size, size), np.uint8)

    def read(row: int) -> None:
        images[row] = _read_image(paths[row], size)

    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")
        list(pool.map(read, range(len(paths))))
    return images


def _read_image(path: Path, size: int) -> np.ndarray:
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            fitted = ImageOps.fit(upright, (size, size), Image.Resampling.LANCZOS)
    # A damaged file makes Pillow's decoders raise nearly anything.
    except Exception as error:
        raise InputError(f"{path}: not a readable image: {_one_line(error)}") from None
    return np.asarray(fitted).transpose(2, 0, 1)


# --- a user's own arrays ---


def _npz(params: Npz) -> Dataset:
    path = Path(params.path)
    arrays = _read_npz(path)
    if ("y_train" in arrays) != ("y_test" in arrays):
        raise InputError(f"{path}: only one of y_train and y_test is there; both are needed, or none (unlabelled)")
    splits = {}
    for split in SPLITS:
        images = _nchw(arrays[f"x_{split}"], f"{path}: x_{split}")
        labels = _labels(arrays.get(f"y_{split}"), len(images), f"{path}: y_{split}")
        splits[split] = Split(images, labels)
    classes = _classes(splits["train"].labels, f"{path}: y_train")
    return Dataset(splits["train"], splits["test"], classes, source=str(path), licence=OWN_LICENCE, name=path.stem)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    names = [f"{axis}_{split}" for split in SPLITS for axis in "xy"]
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise InputError(f"{path}: a single array; expected an .npz archive with {', '.join(names)}")
        with archive:
            arrays = {name: archive[name] for name in names if name in archive.files}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    # A damaged zip raises zipfile's, zlib's and numpy's own errors; an array of objects, numpy's refusal to unpickle.
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise InputError(f"{path}: truncated, or not an .npz archive of plain arrays: {_one_line(error)}") from None
    for name in ("x_train", "x_test"):
        if name not in arrays:
            raise InputError(f"{path}: array '{name}' is missing; needed are {', '.join(names)}")
    return arrays


def _nchw(images: np.ndarray, where: str) -> np.ndarray:
    if images.dtype != np.uint8:
        raise InputError(f"{where} is {images.dtype}; images must be uint8, 0 to 255")
    shape = images.shape
    channels_first = len(shape) == 4 and shape[1] in CHANNELS and shape[2] == shape[3]
    channels_last = len(shape) == 4 and shape[3] in CHANNELS and shape[1] == shape[2]
    if channels_first == channels_last:
        raise InputError(f"{where} has shape {shape}; it must be (N, C, side, side) or (N, side, side, C), C 1 or 3")
    return np.ascontiguousarray(images if channels_first else images.transpose(0, 3, 1, 2))


def _labels(labels: np.ndarray | None, count: int, where: str) -> np.ndarray:
    if labels is None:
        return np.full(count, UNLABELLED, np.int64)
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"{where} is {labels.dtype}; labels must be integers")
    if labels.shape != (count,):
        raise InputError(f"{where} has shape {labels.shape}; it must be ({count},), one label for each image")
    return labels.astype(np.int64)


def _classes(labels: np.ndarray, where: str) -> list[str]:
    """Names for the labels 0 to the highest."""
    if not len(labels) or (labels == UNLABELLED).all():
        return []
    highest = int(labels.max())
    if highest >= len(labels):
        raise InputError(f"{where}: label {highest} is out of range; {len(labels)} images have fewer classes than that")
    return [str(label) for label in range(highest + 1)]
