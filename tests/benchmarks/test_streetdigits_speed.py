"""Measure the digits drawn per second; no time is asserted."""

from pathlib import Path

import pytest

from triptych.core.schema import read
from triptych.data.sources.params import DataParams, StreetDigits
from triptych.data.sources.streetdigits import draw

IMAGES = 5000
PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.mark.benchmark(group="data generator")
def test_drawing_street_digits(benchmark):
    knobs = read(PARAMS, data=DataParams).data.generative
    if not isinstance(knobs, StreetDigits):
        pytest.skip("the profile in use draws no digits")
    draw(1, 0, "train", knobs)  # the fonts are traced once a process
    images, _ = benchmark.pedantic(draw, (IMAGES, 0, "train", knobs), rounds=5, warmup_rounds=1)
    if benchmark.enabled:
        benchmark.extra_info["images_per_second"] = IMAGES / benchmark.stats["mean"]
    assert len(images) == IMAGES
