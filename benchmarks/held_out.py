"""Training images that no weight has seen, by which benchmarks choose: test images are for the report alone."""

import numpy as np

from triptych.making.sources import build
from triptych.params import Params

HELD_OUT = 2000


def held_out(params: Params) -> np.ndarray:
    """Further training images of `data.generative` besides those that train, uint8 (HELD_OUT, C, H, W)."""
    source = params.data.generative
    drawn = build(source.model_copy(update={"train": source.train + HELD_OUT}), params.seed)
    return np.asarray(drawn.train.images[source.train :])
