"""Images from files and to files: a user's own as a model takes them, and PNGs, one by one or as a sheet."""

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from triptych.core.errors import InputError
from triptych.core.files import written_whole
from triptych.data.sources.folder import read_image

WHITE = 255
GAP = 2  # pixels between the images of a sheet
LEAST_DIGITS = 4  # of a number in a file's name: the first ten of a hundred have the names of ten


def read(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """One image of a user as a model of `shape` (C, H, W) takes it, uint8: as for training, upright, cropped, resized.

    Raises:
        InputError: the file is missing, or no image that can be read.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such image file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of odd but readable files
        try:
            image = read_image(path, shape[1])
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    if shape[0] == 1:
        return np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L"))[None]
    return image


def numbered(count: int, parts: Sequence[str] = ("",)) -> list[str]:
    """Names of files: 0000.png, 0001.png, …; or of the parts of each image, 0000_original.png and so on."""
    digits = max(LEAST_DIGITS, len(str(count - 1)))
    return [f"{row:0{digits}}{'_' * bool(part)}{part}.png" for row in range(count) for part in parts]


@dataclass(frozen=True)
class Target:
    """Where images go.

    Attributes:
        files: one sheet, or a file for each image.
        sheet: which of the two.
    """

    files: list[Path]
    sheet: bool

    def write(self, images: np.ndarray, columns: int) -> list[str]:
        """Writes images (N, C, H, W) uint8, a sheet with so many columns; each file whole or not at all.

        Returns:
            The files written.

        Raises:
            InputError: a file cannot be written.
        """
        pictures = [tiled(images, columns)] if self.sheet else images
        for file, picture in zip(self.files, pictures, strict=True):
            _save(file, picture)
        return [file.as_posix() for file in self.files]


def target(out: str, names: Sequence[str], force: bool) -> Target:
    """Where images go that are asked for at `out`: a sheet `….png`, or files with those names in a folder.

    A folder is what exists as one, or ends with a slash. Nothing is written yet.

    Raises:
        InputError: neither sheet nor folder, a place that cannot be written to, or a file that is there already,
            unless it may be replaced by `force`.
    """
    path = Path(out)
    try:
        sheet = not (out.endswith("/") or (_is_there(path) and path.is_dir()))
        files = [path] if sheet else [path / name for name in names]
        above = next(folder for folder in files[0].parents if _is_there(folder))
        there = next((file for file in files if _is_there(file)), None)
    except OSError as error:  # a name that is too long, or a folder that may not be looked into
        raise InputError(f"--out {out}: cannot be written: {str(error.strerror).lower()}") from None
    if sheet and path.suffix.lower() != ".png":
        raise InputError(f"--out {out}: a sheet's name ends with .png, a folder's with /")
    if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
        raise InputError(f"--out {out}: cannot be written: {above} is no folder that you may write to")
    if there and not force:
        raise InputError(f"{there}: exists already; --force replaces it, --out names another place")
    return Target(files, sheet)


def _is_there(path: Path) -> bool:
    """Whether there is anything of that name; other than `Path.exists`, alike in every version of Python."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def columns_for(count: int, parts: int = 1) -> int:
    """Columns that make a sheet of `count` groups, each of so many images side by side, nearly square."""
    return parts * math.ceil(math.sqrt(count / parts))


def beside(*parts: np.ndarray) -> np.ndarray:
    """Images (N, C, H, W) of several kinds, those of one row of each kind in succession."""
    return np.stack(parts, axis=1).reshape(-1, *parts[0].shape[1:])


def tiled(images: np.ndarray, columns: int) -> np.ndarray:
    """One picture (C, height, width) of images (N, C, H, W), row by row, with white between and around them."""
    count, channels, height, width = images.shape
    columns = min(columns, count)
    rows, height, width = -(-count // columns), height + GAP, width + GAP
    cells = np.full((rows * columns, channels, height, width), WHITE, np.uint8)
    cells[:count, :, GAP:, GAP:] = images
    grid = cells.reshape(rows, columns, channels, height, width).transpose(2, 0, 3, 1, 4)
    sheet = grid.reshape(channels, rows * height, columns * width)
    return np.pad(sheet, ((0, 0), (0, GAP), (0, GAP)), constant_values=WHITE)


def _save(path: Path, picture: np.ndarray) -> None:
    """Writes a picture (1 or 3, H, W) as PNG."""
    levels = picture[0] if len(picture) == 1 else np.ascontiguousarray(picture.transpose(1, 2, 0))
    try:
        with written_whole(path) as partial:
            Image.fromarray(levels).save(partial, format="PNG")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}") from None
