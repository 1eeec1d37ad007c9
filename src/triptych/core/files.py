"""Writing files whole or not at all."""

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
    """A place beside `path` to write to, which takes its place at the end; its folder is made.

    A reader sees the old file or the new one, never a part. And the old one itself is never written to: it may be a
    link of DVC's into its cache.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Writes `text` to `path`, see `written_whole`."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: object) -> None:
    """Writes `value` as JSON: keys in their own order, two spaces a level, a newline at the end.

    Raises:
        ValueError: a number is NaN or infinite; neither is JSON, and neither is a result.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


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
