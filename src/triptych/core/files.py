"""Writing files whole or not at all."""

import json
import os
from pathlib import Path


def write_text(path: Path | str, text: str) -> None:
    """Writes `text` to `path`, making its folder. A reader sees the old file or the new one, never a part."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path | str, value: object) -> None:
    """Writes `value` as JSON: keys in their own order, two spaces a level, a newline at the end.

    Raises:
        ValueError: a number is NaN or infinite; neither is JSON, and neither is a result.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
