"""Write files atomically, and raise InputError for files that cannot be read."""

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from triptych.core.errors import InputError

# Errors of numpy for damaged files (among them those of zipfile and zlib), for an .npy file instead of an .npz file
# (AttributeError, TypeError) and for an array of objects, which could be read only by unpickling (ValueError).
UNREADABLE = (OSError, ValueError, EOFError, AttributeError, TypeError, NotImplementedError, BadZipFile, zlib.error)


@contextmanager
def written_whole(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path to write to. If the `with` block succeeds, rename the temporary file to `path`.

    Missing parent folders are created. If `path` is a link into DVC's cache, the link is replaced, not the cached file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.touch()
        permissions = partial.stat().st_mode
        yield partial
        partial.chmod(permissions)  # safetensors writes files that only the owner can read
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write `text` to a UTF-8 file atomically."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: object) -> None:
    """Write `value` to an indented JSON file atomically. Raises ValueError if a number is NaN or infinite."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def write_arrays(path: Path | str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays to a compressed .npz file atomically."""
    # Given a path instead of an open file, numpy would append .npz.
    with written_whole(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_arrays(path: Path | str) -> dict[str, np.ndarray]:
    """Return a dict of the arrays in an .npz file. Raises InputError if the file is missing or damaged."""
    with readable(path, "create it with `dvc repro`"), np.load(path, allow_pickle=False) as file:
        return dict(file)


@contextmanager
def readable(path: Path | str, remedy: str) -> Iterator[Path]:
    """Yield `path`. If the `with` block cannot read the file, raise InputError. The message ends with `remedy`."""
    try:
        yield Path(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {remedy}") from None
    except UNREADABLE as error:
        raise InputError(f"{path}: truncated or damaged ({' '.join(str(error).split())}); {remedy}") from None
