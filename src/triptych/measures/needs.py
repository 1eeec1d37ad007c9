"""Check the requirements of measures. Each function returns None, or a LeftOut with the reason to omit a measure."""

import numpy as np

from triptych.data.storage import Dataset
from triptych.measures.estimate import LeftOut


def two_classes(dataset: Dataset) -> LeftOut | None:
    """Return None if the images have labels and at least two classes. Otherwise, return a LeftOut with the reason."""
    if not dataset.labelled:
        return LeftOut("the images have no labels")
    return LeftOut("all images are of one class, but two are needed") if len(dataset.classes) < 2 else None


def images(count: int, least: int, what: str = "test images") -> LeftOut | None:
    if count >= least:
        return None
    return LeftOut(f"the measure needs at least {least} {what}, but there {'is' if count == 1 else 'are'} {count}")


def images_of_each_class(dataset: Dataset, least: int) -> LeftOut | None:
    if missing := two_classes(dataset):
        return missing
    counts = np.bincount(np.asarray(dataset.test.labels), minlength=len(dataset.classes))
    return images(int(counts.min()), least, f"test images of class '{dataset.classes[counts.argmin()]}'")
