"""Named arrays in one .npz file, written whole or not at all, and read without running code from it."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from triptych.core.errors import InputError
from triptych.core.files import written_whole


def write_arrays(path: Path | str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes named arrays to `path`, compressed, see `written_whole`."""
    # An open file: to a name, numpy would append .npz.
    with written_whole(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


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
