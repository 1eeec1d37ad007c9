"""Named arrays in one .npz file, written whole or not at all, and read without running code from it."""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from triptych.core.errors import InputError


def write_arrays(path: Path | str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes named arrays to `path`, compressed, making its folder. A reader sees the old file or the new one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        # An open file: to a name, numpy would append .npz.
        with partial.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_arrays(path: Path | str) -> dict[str, np.ndarray]:
    """The arrays of `path` under their names.

    Raises:
        InputError: it is missing, truncated, or holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; `dvc repro` makes it") from None
    except (OSError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: truncated, or not arrays ({' '.join(str(error).split())})") from None
