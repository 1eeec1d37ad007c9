"""Read image files for a model, write contact sheets or one file per image, and show progress."""

import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from triptych.core.errors import InputError
from triptych.core.files import written_whole
from triptych.data.sources import folder
from triptych.report.drawing import grid

MIN_DIGITS = 4  # in file names, so that `--count 10` and `--count 100` name the first ten images alike


def read_image(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """Read an image file as uint8 of shape `shape` (C, H, W). The image is rotated upright, cropped and resized."""
    if not path.is_file():
        raise InputError(f"{path}: no such image file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about unusual but readable files
        try:
            image = folder.read_image(path, shape[1])
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    return with_channels(image[None], shape[0])[0]


def with_channels(images: np.ndarray, channels: int) -> np.ndarray:
    """Convert uint8 RGB images (N, 3, H, W) to greyscale (N, 1, H, W). If `channels` is 3, return them unchanged."""
    if channels == 3:
        return images
    return np.stack([np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L"))[None] for image in images])


def check_output(path: Path, force: bool = False, endings: Sequence[str] = ()) -> None:
    """Raise InputError if the file `path` cannot be written, has a wrong extension, or exists and `force` is False.

    `endings` contains the allowed extensions, such as ".png". If it is empty, any extension is allowed.
    """
    if endings and path.suffix.lower() not in endings:
        raise InputError(f"{path}: unsupported file extension; expected one of {', '.join(endings)}")
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder; give a file name")
        if path.exists() and not force:
            raise InputError(f"{path}: already exists; replace it with --force, or choose another with --out")
        folder = next(parent for parent in path.absolute().parents if parent.exists())
    except OSError as error:  # such as a name that is too long
        raise InputError(f"{path}: cannot be written: {str(error.strerror).lower()}") from None
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise InputError(
            f"{path}: cannot be written: {folder} is {'not writable' if folder.is_dir() else 'not a folder'}"
        )


class Output(NamedTuple):
    """Image files to write: one contact sheet with `columns` images per row, or one file per image."""

    files: list[Path]
    is_sheet: bool
    columns: int

    def write(self, *groups: np.ndarray) -> list[str]:
        """Write groups of uint8 images (N, C, H, W), and return the paths. Groups alternate on a contact sheet."""
        images = np.stack(groups, axis=1).reshape(-1, *groups[0].shape[1:])
        pictures = [grid(images, min(self.columns, len(images)))] if self.is_sheet else images.transpose(0, 2, 3, 1)
        for file, picture in zip(self.files, pictures, strict=True):
            write_png(file, picture)
        return [file.as_posix() for file in self.files]


def output(
    out: str, count: int, groups: Sequence[str] = ("",), force: bool = False, columns: int | None = None
) -> Output:
    """Return the output files for `count` images per group. Raises InputError if a file cannot be written.

    `out` is NAME.png for one contact sheet, or a folder for one file per image. A new folder must end in `/`. A file
    name such as 0000_original.png contains the group. If `columns` is None, the contact sheet is nearly square.
    """
    path = Path(out)
    sheet = path.suffix.lower() == ".png" and not out.endswith("/")
    if not (sheet or out.endswith("/") or path.is_dir()):
        raise InputError(f"--out {out}: must end in .png (one contact sheet) or / (one file per image)")
    digits = max(MIN_DIGITS, len(str(count - 1)))
    names = [f"{row:0{digits}}{group and '_' + group}.png" for row in range(count) for group in groups]
    files = [path] if sheet else [path / name for name in names]
    for file in files:
        check_output(file, force)
    return Output(files, sheet, columns or len(groups) * math.ceil(math.sqrt(count / len(groups))))


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write a uint8 picture of shape (H, W, C), where C is 1 or 3, to a PNG file."""
    try:
        with written_whole(path) as partial:
            Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture).save(partial, format="PNG")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}") from None


def bar(command: str, total: int, unit: str = "it") -> tqdm:
    """Return a progress bar, labelled `command`, on stderr. It appears after two seconds, and only in a terminal."""
    return tqdm(total=total, desc=command, unit=unit, delay=2.0, disable=None, dynamic_ncols=True)
