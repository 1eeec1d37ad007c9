"""The images that a command starts from: a user's own, or the first test images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from triptych.cli import pictures
from triptych.core.errors import InputError
from triptych.data.storage import load

DATA = Path("data/generative")
SHOWN = 8  # test images, where nothing else is asked for


@dataclass(frozen=True)
class Originals:
    """Images uint8 (N, C, H, W), and what each is called."""

    names: list[str]
    images: np.ndarray


def originals(files: Sequence[Path], test: int | None, shape: tuple[int, int, int]) -> Originals:
    """The images of the files; without any, the first `test` test images.

    Args:
        files: a user's own.
        test: how many test images; None for SHOWN of them.
        shape: (C, H, W) that the model takes.

    Raises:
        InputError: files and a number of test images; a file that cannot be read; test images that are not prepared,
            too few, or of another shape.
    """
    if files and test is not None:
        raise InputError("--test: takes test images, and images of your own are named, too; one or the other")
    if files:
        return Originals([file.as_posix() for file in files], np.stack([pictures.read(file, shape) for file in files]))
    held_out, count = load(DATA).test.images, test or SHOWN
    if held_out.shape[1:] != shape:
        here, taken = ("×".join(map(str, sides)) for sides in (held_out.shape[1:], shape))
        raise InputError(f"{DATA}: images of {here}, and the model takes {taken}; `dvc repro` trains it on these")
    if count > len(held_out):
        raise InputError(f"--test {count}: there are {len(held_out)} test images in {DATA}")
    return Originals([f"test image {row}" for row in range(count)], np.array(held_out[:count]))
