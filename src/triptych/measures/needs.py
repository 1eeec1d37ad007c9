"""What a measure needs of the images: why it is left out where they are too few, or no classes tell them apart.

Each returns None where the need is met, so that a measure reads `needs.images(…) or number()`.
"""

import sys
from collections.abc import Iterator, Mapping

import numpy as np

from triptych.data.storage import Dataset
from triptych.measures.estimate import LeftOut


def two_classes(dataset: Dataset) -> LeftOut | None:
    """For whatever counts right classes: with one class alone, or none, every answer is right."""
    if not dataset.labelled:
        return LeftOut("the images have no labels")
    return LeftOut("all images are of one class, and it takes two") if len(dataset.classes) < 2 else None


def images(count: int, least: int, what: str = "test images") -> LeftOut | None:
    """For whatever takes at least so many images; `what` says of which kind."""
    if count >= least:
        return None
    return LeftOut(f"it takes {least} {what}, and there {'is' if count == 1 else 'are'} {count}")


def images_of_each_class(dataset: Dataset, least: int) -> LeftOut | None:
    """For whatever takes classes, and at least so many test images of each."""
    missing = two_classes(dataset)
    if missing:
        return missing
    counts = np.bincount(np.asarray(dataset.test.labels), minlength=len(dataset.classes))
    rarest = int(counts.argmin())
    return images(int(counts[rarest]), least, f"test images of each class, also of '{dataset.classes[rarest]}'")


def tell_left_out(stage: str, numbers: Mapping[str, object]) -> None:
    """Says on the terminal which of a stage's numbers are left out, those of one reason in one line."""
    reasons: dict[str, list[str]] = {}
    for key, reason in _left_out(numbers):
        reasons.setdefault(reason, []).append(key)
    for reason, keys in reasons.items():
        print(f"{stage}: left out, as {reason}: {', '.join(keys)}", file=sys.stderr)


def _left_out(numbers: Mapping[str, object], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in numbers.items():
        if isinstance(value, LeftOut):
            yield f"{above}{key}", value.reason
        elif isinstance(value, Mapping):
            yield from _left_out(value, f"{above}{key}.")
        elif isinstance(value, list):
            for row in value:
                yield from _left_out(row, f"{above}{key}.")
