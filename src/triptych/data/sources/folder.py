"""Load a user's own images from the folders train and test, which can have one subfolder per class.

Unreadable files are skipped, and the data card lists the reasons. Hidden files and files that operating systems create
are ignored.
"""

import os
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from triptych.core.errors import InputError
from triptych.data.sources.params import OWN_LICENCE, Folder
from triptych.data.storage import SPLITS, UNLABELLED, Dataset, Split

# Pillow recognises files by content, not by name, and starts Ghostscript for PostScript. The decoders of these formats
# start no program.
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "SGI", "TGA", "TIFF", "WEBP")
IGNORED = ("thumbs.db", "desktop.ini", "__macosx")
NAMED = 3  # number of file names per reason in a message
WHITE = (255, 255, 255, 255)


@dataclass
class Listing:
    """Files of the training or test split: images with class names, and skipped files grouped by reason."""

    images: list[tuple[Path, str]] = field(default_factory=list)  # path and class name, "" without classes
    classes: list[str] = field(default_factory=list)  # names of the class folders
    skipped: dict[str, list[Path]] = field(default_factory=dict)  # files by reason

    def skip(self, path: Path, reason: str) -> None:
        self.skipped.setdefault(reason, []).append(path)

    def add(self, path: Path, name: str) -> None:
        """Add a file to the images of class `name`, or skip it if it is not regular or has an unsupported extension."""
        if not path.is_file():
            self.skip(path, "broken link" if path.is_symlink() else "not a regular file")
        elif path.suffix.lower() in endings():
            self.images.append((path, name))
        else:
            self.skip(path, f"unsupported extension {path.suffix.lower()}" if path.suffix else "no file extension")


def load(params: Folder) -> Dataset:
    """Load a dataset from the folders train and test in `params.root`. Unreadable files are skipped.

    Raises InputError if a folder is missing, has no readable image, or contains both images and class folders. Both
    folders must have the same classes.
    """
    root = Path(params.root)
    listings = {split: list_images(root / split) for split in SPLITS}
    classes = listings["train"].classes
    if odd := sorted(set(classes) ^ set(listings["test"].classes)):
        raise InputError(
            f"{root}: class folder '{odd[0]}' is only in {'train' if odd[0] in classes else 'test'}; "
            "train and test must have the same class folders, or none"
        )
    splits, skipped = {}, []
    for split, listing in listings.items():
        print(f"reading {len(listing.images):,} images from {root / split}", flush=True)
        images, readable = read_images([path for path, _ in listing.images], params.size, listing)
        reasons = [f"{split}: {_summary(reason, paths)}" for reason, paths in sorted(listing.skipped.items())]
        if not readable.any():
            raise InputError(f"{root / split}: no readable image: {reasons[0].removeprefix(f'{split}: ')}")
        labels = np.array([classes.index(name) if name else UNLABELLED for _, name in listing.images], np.int64)
        splits[split] = Split(images[readable], labels[readable])
        print("".join(f"skipped in {root}/{line}\n" for line in reasons), end="", flush=True)
        skipped += reasons
    name = root.resolve().name
    return Dataset(splits["train"], splits["test"], classes, str(root), OWN_LICENCE, name, skipped)


def _summary(reason: str, paths: Sequence[Path]) -> str:
    names = ", ".join(path.name for path in paths[:NAMED])
    more = f" and {len(paths) - NAMED:,} more" if len(paths) > NAMED else ""
    return f"{len(paths):,} {'file' if len(paths) == 1 else 'files'}, {reason}: {names}{more}"


def list_images(folder: Path) -> Listing:
    """List the images in `folder`, which contains either images or one subfolder per class.

    Each class folder is searched with all its subfolders. Raises InputError if `folder` is missing, contains no images,
    mixes images with class folders, or has a class folder with an invalid name.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected {folder}/<class>/<image>, or images in {folder} itself")
    listing = Listing()
    entries = _entries(folder)
    folders = [entry for entry in entries if entry.is_dir()]
    for entry in entries:
        if not entry.is_dir():
            listing.add(entry, "")
    if listing.images and folders:
        raise InputError(
            f"{folder}: contains both class folders and images ({listing.images[0][0].name}); only one kind is allowed"
        )
    for entry in folders:
        name = _class_name(entry, listing.classes)
        listing.classes.append(name)
        for path in _files_below(entry, listing):
            listing.add(path, name)
    listing.classes.sort()
    if not listing.images and not folders:
        raise InputError(f"{folder}: no images found (supported: {', '.join(sorted(endings()))})")
    return listing


def _entries(folder: Path) -> list[Path]:
    return [
        path for path in sorted(folder.iterdir()) if not path.name.startswith(".") and path.name.lower() not in IGNORED
    ]


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@cache
def endings() -> frozenset[str]:
    """Return the file name extensions of the supported image formats, such as `.png`."""
    return frozenset(ending for ending, name in Image.registered_extensions().items() if name in _formats())


def _files_below(folder: Path, listing: Listing, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    above = above | {folder.resolve(), *folder.resolve().parents}
    for entry in _entries(folder):
        if not entry.is_dir():
            yield entry
        elif entry.resolve() in above:
            listing.skip(entry, "link to a parent folder")
        else:
            yield from _files_below(entry, listing, above)


def _class_name(folder: Path, others: list[str]) -> str:
    """Return the name of a folder in Unicode form NFC. Raises InputError if it is not UTF-8 or is in `others`."""
    try:
        folder.name.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{folder.parent}: the name of class folder {os.fsencode(folder.name)!r} is not UTF-8; rename it"
        ) from None
    name = unicodedata.normalize("NFC", folder.name)
    if name in others:
        raise InputError(
            f"{folder.parent}: two class folders '{name}' differ only in Unicode normalisation; merge them"
        )
    return name


def read_images(paths: Sequence[Path], size: int, listing: Listing) -> tuple[np.ndarray, np.ndarray]:
    """Read N images in parallel, and add unreadable files to the skipped files of `listing`.

    Returns a uint8 array of images (N, 3, size, size), and a boolean mask (N,) that is True for readable images.
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
            listing.skip(path, problem)
    return images, np.array([not problem for problem in problems], bool)


def read_image(path: Path, size: int) -> np.ndarray:
    """Return the central square of an image, upright and resized, as a uint8 RGB array (3, size, size).

    Raises InputError if the file is damaged or has unsupported pixel values. The message does not contain the path.
    """
    try:
        with Image.open(path, formats=_formats()) as image:
            fitted = ImageOps.fit(_rgb(_upright(image)), (size, size), Image.Resampling.LANCZOS)
    except InputError:
        raise
    except Exception:  # Pillow's decoders raise nearly any exception for damaged files
        raise InputError("not readable") from None
    return np.asarray(fitted).transpose(2, 0, 1)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # Pillow's EXIF parser raises struct, Unicode and other errors
        return image


def _rgb(image: Image.Image) -> Image.Image:
    """Convert an image to 8-bit RGB on white. Raises InputError for 32-bit integers and floats outside [0, 1]."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        levels = np.asarray(image.convert("I"), np.float64) * (255 / 65535)
        return Image.fromarray(levels.round().astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        levels = np.asarray(image)
        if not (np.isfinite(levels).all() and levels.min() >= 0 and levels.max() <= 1):
            raise InputError("float values outside [0, 1] are not supported; convert to 8 or 16 bits")
        return Image.fromarray((levels * 255).round().astype(np.uint8)).convert("RGB")
    if image.mode == "I":
        raise InputError("32-bit integers are not supported; convert to 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image).convert("RGB")
    return image.convert("RGB")
