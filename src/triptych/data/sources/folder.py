"""A user's own images: train/<class>/* and test/<class>/*, or unlabelled in train/ and test/ themselves.

Every file is an image, or left out with a reason that the data card holds; hidden files and those that systems leave
behind go without saying.
"""

import os
import unicodedata
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from triptych.core.errors import InputError
from triptych.data.sources.params import OWN_LICENCE, Folder
from triptych.data.storage import SPLITS, UNLABELLED, Dataset, Split

# What systems and tools leave behind among images; hidden files besides.
NO_DATA = ("thumbs.db", "desktop.ini", "__macosx")
NAMED = 3  # files of each kind that are named among those left out
WHITE = (255, 255, 255, 255)
DEEP = 65535  # the brightest of 16 bits


@dataclass
class Listed:
    """The files of a split.

    Attributes:
        images: (path, name of the class, "" for none) of each, in order.
        classes: the names of the class folders.
        left_out: reason -> files.
    """

    images: list[tuple[Path, str]] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    left_out: dict[str, list[Path]] = field(default_factory=dict)

    def leave_out(self, path: Path, reason: str) -> None:
        """Notes a file that is no image of the split."""
        self.left_out.setdefault(reason, []).append(path)


def opened(params: Folder) -> Dataset:
    """The dataset of the images below a folder.

    Raises:
        InputError: a folder is missing, holds no image that can be read, or mixes forms; classes of the splits differ,
            or a name cannot be kept.
    """
    root = Path(params.root)
    listed = {split: list_images(root / split) for split in SPLITS}
    classes = listed["train"].classes
    if listed["test"].classes != classes:
        train, test = set(classes), set(listed["test"].classes)
        odd = sorted(train ^ test)[0]
        raise InputError(
            f"{root}: class folder '{odd}' is in {'train' if odd in train else 'test'} only; "
            "train and test must have the same classes, or both none"
        )
    splits, left_out = {}, []
    for split, files in listed.items():
        print(f"reading {len(files.images):,} images of {root / split}", flush=True)
        splits[split] = _split(files, classes, params.size, root / split)
        found = [f"{split}: {_sentence(reason, paths)}" for reason, paths in sorted(files.left_out.items())]
        for line in found:
            print(f"left out of {root}/{line}", flush=True)
        left_out += found
    return Dataset(
        splits["train"],
        splits["test"],
        classes,
        source=str(root),
        licence=OWN_LICENCE,
        name=root.resolve().name,
        left_out=left_out,
    )


def _split(files: Listed, classes: list[str], size: int, where: Path) -> Split:
    """The images that can be read, and their labels; the others are left out."""
    images, good = read_images([path for path, _ in files.images], size, files)
    if not good.any():
        raise InputError(f"{where}: no image that can be read: {_sentence(*next(iter(files.left_out.items())))}")
    labels = np.array([classes.index(name) if name else UNLABELLED for _, name in files.images], np.int64)
    return Split(images[good], labels[good])


def _sentence(reason: str, paths: list[Path]) -> str:
    names = ", ".join(path.name for path in paths[:NAMED])
    more = f" and {len(paths) - NAMED:,} more" if len(paths) > NAMED else ""
    return f"{len(paths):,} {'file' if len(paths) == 1 else 'files'}, {reason}: {names}{more}"


# --- which files ---


def list_images(folder: Path) -> Listed:
    """The files of a split.

    Raises:
        InputError: no such folder, no image, images beside class folders, or names that cannot be kept.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected {folder}/<class>/<image>, or images in {folder} itself")
    listed = Listed()
    entries = [entry for entry in sorted(folder.iterdir()) if _is_data(entry)]
    folders = [entry for entry in entries if entry.is_dir()]
    for entry in entries:
        if not entry.is_dir():
            _sort_in(entry, "", listed)
    if listed.images and folders:
        raise InputError(
            f"{folder}: holds both class folders and images ({listed.images[0][0].name}); it must be one or the other"
        )
    for entry in folders:
        listed.classes.append(_class_name(entry, listed.classes))
        for path in _files_below(entry, listed):
            _sort_in(path, listed.classes[-1], listed)
    listed.classes.sort()
    if not listed.images and not folders:
        raise InputError(f"{folder}: no images; allowed are {', '.join(sorted(_endings()))}")
    return listed


def _is_data(path: Path) -> bool:
    return not path.name.startswith(".") and path.name.lower() not in NO_DATA


def _sort_in(path: Path, name: str, listed: Listed) -> None:
    """An image's place among the images; anything else's among what is left out."""
    if not path.is_file():
        listed.leave_out(path, "no such file behind the link" if path.is_symlink() else "no plain file")
    elif path.suffix.lower() in _endings():
        listed.images.append((path, name))
    else:
        listed.leave_out(path, f"{path.suffix.lower()} is no image's ending" if path.suffix else "without an ending")


@cache
def _endings() -> frozenset[str]:
    """Those of every form that Pillow reads here."""
    return frozenset(ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN)


def _files_below(folder: Path, listed: Listed, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """The files in a folder and those below it. A link to a folder that holds it is left out: it would never end."""
    above = above | {folder.resolve(), *folder.resolve().parents}
    for entry in sorted(folder.iterdir()):
        if not _is_data(entry):
            continue
        if not entry.is_dir():
            yield entry
        elif entry.resolve() in above:
            listed.leave_out(entry, "a link to a folder that holds it")
        else:
            yield from _files_below(entry, listed, above)


def _class_name(folder: Path, others: list[str]) -> str:
    """A class's name, of the several spellings of an accent in Unicode the composed one.

    Raises:
        InputError: the name is no text, or another folder has it in another spelling.
    """
    try:
        folder.name.encode()
    except UnicodeEncodeError:
        raise InputError(f"{folder.parent}: class folder {os.fsencode(folder.name)} is not UTF-8; rename it") from None
    name = unicodedata.normalize("NFC", folder.name)
    if name in others:
        raise InputError(f"{folder.parent}: two class folders are spellings of one name, '{name}'; join them")
    return name


# --- what they hold ---


def read_images(paths: list[Path], size: int, listed: Listed) -> tuple[np.ndarray, np.ndarray]:
    """RGB images uint8 (N, 3, size, size): upright, the shorter side resized to `size`, the middle kept.

    Args:
        paths: of N images.
        size: pixels a side.
        listed: where those that cannot be read are left out.

    Returns:
        The images, and whether each could be read (N,).
    """
    images = np.empty((len(paths), 3, size, size), np.uint8)

    def read(row: int) -> str:
        try:
            images[row] = read_image(paths[row], size)
        except InputError as error:
            return str(error)
        return ""

    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")
        problems = list(pool.map(read, range(len(paths))))
    for path, problem in zip(paths, problems, strict=True):
        if problem:
            listed.leave_out(path, problem)
    return images, np.array([not problem for problem in problems], bool)


def read_image(path: Path, size: int) -> np.ndarray:
    """One image, (3, size, size) uint8.

    Raises:
        InputError: it cannot be read, or its values have no range of their own; the message is the reason alone.
    """
    try:
        with Image.open(path) as image:
            fitted = ImageOps.fit(_in_colour(_upright(image)), (size, size), Image.Resampling.LANCZOS)
    except InputError:
        raise
    except Exception:  # a damaged file makes Pillow's decoders raise nearly anything
        raise InputError("not readable") from None
    return np.asarray(fitted).transpose(2, 0, 1)


def _upright(image: Image.Image) -> Image.Image:
    """As the camera was held, where the file tells it; damaged notes of the camera cost no image."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # Pillow's parser of these notes raises struct's, Unicode's and its own errors
        return image


def _in_colour(image: Image.Image) -> Image.Image:
    """RGB of eight bits; what is transparent lies on white."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        levels = np.asarray(image.convert("I"), np.float64) * (255 / DEEP)
        return Image.fromarray(levels.round().astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        levels = np.asarray(image)
        if not (np.isfinite(levels).all() and levels.min() >= 0 and levels.max() <= 1):
            raise InputError("floats outside 0 to 1, whose range is unknown; save them with 8 or 16 bits")
        return Image.fromarray((levels * 255).round().astype(np.uint8)).convert("RGB")
    if image.mode == "I":
        raise InputError("integers of 32 bits, whose range is unknown; save them with 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image).convert("RGB")
    return image.convert("RGB")
