"""Requirements of measures on the images. Each returns None if it is met, else the reason to leave the measure out.

A measure reads `needs.images(…) or number()`.
"""

import sys
from collections.abc import Iterator, Mapping

import numpy as np

from triptych.data.storage import Dataset
from triptych.measures.estimate import LeftOut


def two_classes(dataset: Dataset) -> LeftOut | None:
    """Require labels of two classes or more: with one class, every answer is right."""
    if not dataset.labelled:
        return LeftOut("the images have no labels")
    return LeftOut("all images are of one class, and it takes two") if len(dataset.classes) < 2 else None


def images(count: int, least: int, what: str = "test images") -> LeftOut | None:
    if count >= least:
        return None
    return LeftOut(f"it takes {least} {what}, and there {'is' if count == 1 else 'are'} {count}")


def images_of_each_class(dataset: Dataset, least: int) -> LeftOut | None:
    if missing := two_classes(dataset):
        return missing
    counts = np.bincount(np.asarray(dataset.test.labels), minlength=len(dataset.classes))
    rarest = int(counts.argmin())
    return images(int(counts[rarest]), least, f"test images of each class, also of '{dataset.classes[rarest]}'")


def print_left_out(stage: str, numbers: Mapping[str, object]) -> None:
    """Print to stderr which numbers of a stage are left out, one line per reason."""
    keys: dict[str, list[str]] = {}
    for key, reason in _left_out(numbers):
        keys.setdefault(reason, []).append(key)
    for reason, left_out in keys.items():
        print(f"{stage}: left out, as {reason}: {', '.join(left_out)}", file=sys.stderr)


def _left_out(value: object, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, LeftOut):
        yield key, value.reason
    elif isinstance(value, Mapping):
        for name, entry in value.items():
            yield from _left_out(entry, f"{key}.{name}".removeprefix("."))
    elif isinstance(value, list):
        for row in value:
            yield from _left_out(row, key)
