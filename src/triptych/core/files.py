"""Atomic writing of files."""

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from triptych.core.errors import InputError


@contextmanager
def written_whole(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path in the same folder and rename it to `path` on success; create the parent folder.

    The old file itself is never written to: it may be a link into DVC's cache. Permissions follow the umask.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.touch()
        permissions = partial.stat().st_mode
        yield partial
        partial.chmod(permissions)  # safetensors writes files that the owner alone can read
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write a text file, see `written_whole`."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: object) -> None:
    """Write JSON, indented and in the order of its keys. NaN and infinity raise ValueError."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def write_arrays(path: Path | str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays to a compressed .npz file, see `written_whole`."""
    # Given a path instead of an open file, numpy would append .npz.
    with written_whole(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_arrays(path: Path | str) -> dict[str, np.ndarray]:
    """Read the named arrays of an .npz file. A missing or damaged file raises InputError."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; `dvc repro` makes it") from None
    except (OSError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: truncated, or not an .npz file ({' '.join(str(error).split())})") from None
