"""Measure the judge on fonts that its training images lack: the table of docs/difficulty.md.

    python benchmarks/fonts.py

The fonts of the drawn digits are split into three families. For each family, a judge is trained with the recipe of
params.yaml on digits in the other fonts, and measured on new digits in the same fonts and in those of the family. The
nearest neighbours of pixels are measured on the same images. Test images are not used.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from unittest.mock import patch

import numpy as np
import torch
from difficulty import judge_of
from held_out import HELD_OUT, without_test_images
from pages import table

from triptych.core.errors import one_line_errors
from triptych.data.sources import streetdigits
from triptych.data.storage import Dataset
from triptych.machine.device import Machine, machine
from triptych.machine.processes import side_by_side
from triptych.params import Params, check
from triptych.ssl.probe import knn_correct
from triptych.training.objective import to_float

FAMILIES = {"DejaVu Sans": "DejaVuSans", "serif (DejaVu, STIX)": ("DejaVuSerif", "STIX"), "Computer Modern": "cm"}


@contextmanager
def drawn_in(fonts: Sequence[str]) -> Iterator[None]:
    """Draw digits in `fonts` only."""
    streetdigits._atlas.cache_clear()
    with patch.object(streetdigits, "FONTS", tuple(fonts)):
        yield
    streetdigits._atlas.cache_clear()


def measure(params: Params, family: str, place: Machine) -> list[str]:
    """Return a table row: for known and new fonts, the accuracy and recognised share of the judge, and of pixels."""
    new = [font for font in streetdigits.FONTS if font.startswith(FAMILIES[family])]
    with drawn_in([font for font in streetdigits.FONTS if font not in new]):
        known = without_test_images(params.data.generative, params.seed)
    with drawn_in(new):
        images, labels = streetdigits.draw(HELD_OUT, params.seed, "new fonts", params.data.generative, place.threads)
    unknown = replace(known, test=replace(known.test, images=images, labels=labels))
    judge, row = judge_of(params, known, place), [family]
    for dataset in (known, unknown):
        judged = judge(dataset.test.images)
        right = float((judged.classes() == dataset.test.labels).mean())
        recognised = float(judged.recognised(params.evaluation.recognition_threshold).mean())
        row += [f"{right:.1%}", f"{recognised:.1%}", f"{pixels(params, dataset):.1%}"]
    return row


def pixels(params: Params, dataset: Dataset) -> float:
    """Return the accuracy of the nearest neighbours of pixels."""
    bank, queries = (
        to_float(torch.from_numpy(np.array(split.images))).flatten(1) for split in (dataset.train, dataset.test)
    )
    return float(knn_correct(bank, queries, dataset, params.evaluation.ssl.knn).mean())


def main() -> None:
    params = check()
    with machine(params.runtime) as place:
        tasks = [partial(measure, params, family, place) for family in FAMILIES]
        rows = dict(side_by_side(tasks, place.at_once(len(tasks))))
    heading = ["fonts left out of training"]
    heading += [
        f"{what}, {fonts}" for fonts in ("known fonts", "new fonts") for what in ("judge", "recognised", "pixels")
    ]
    print(table([heading, *(rows[index] for index in range(len(tasks)))]))


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with one_line_errors():
        main()
