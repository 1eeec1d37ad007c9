"""Held-out training images, with which benchmarks choose settings. Test images are used only for the report."""

from dataclasses import replace

import numpy as np
import torch

from triptych.data.sources.build import build
from triptych.data.sources.params import Source, StreetDigits
from triptych.data.storage import Dataset, Split
from triptych.machine.randomness import generator
from triptych.params import Params

HELD_OUT = 2000


def without_test_images(source: Source, seed: int) -> Dataset:
    """Build a dataset whose test images are HELD_OUT training images.

    Drawn digits are drawn in addition to the training images; other sources lose as many training images.
    """
    if isinstance(source, StreetDigits):
        whole = build(source.model_copy(update={"train": source.train + HELD_OUT}), seed)
        order = np.arange(len(whole.train.images))
    else:
        whole = build(source, seed)
        count = len(whole.train.images)
        order = torch.randperm(count, generator=generator("cpu", seed, "held out")).numpy()
    train, test = (
        Split(whole.train.images[rows], whole.train.labels[rows]) for rows in (order[:-HELD_OUT], order[-HELD_OUT:])
    )
    return replace(whole, train=train, test=test)


def held_out(params: Params) -> np.ndarray:
    """Return held-out images of `data.generative`, uint8 (HELD_OUT, C, H, W)."""
    return np.asarray(without_test_images(params.data.generative, params.seed).test.images)
