"""Measure the views made per second: SimSiam's, the same rotated, and heavy; no time is asserted."""

import pytest
import torch
from torch import Tensor

from triptych.core.schema import validate
from triptych.machine.randomness import Draw
from triptych.ssl.shared.params import ViewParams
from triptych.ssl.shared.views import Views

BATCH, SHAPE = 256, (3, 32, 32)
SIMSIAM = {
    "crop_scale": [0.2, 1.0], "crop_ratio": [0.75, 1.3333], "flip": 0.5, "jitter": 0.8, "brightness": 0.4,
    "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "grey": 0.2, "blur": 0.5, "blur_sigma": [0.1, 2.0],
    "solarize": 0.0, "invert": 0.0, "rotation": 0.0, "heavy": {"operations": 0, "magnitude": 9.0},
}  # fmt: skip
CHANGES = {
    "simsiam": {},
    "rotated": {"rotation": 20.0},
    "heavy": {"heavy": {"operations": 2, "magnitude": 9.0}},
}


@pytest.mark.benchmark(group="views")
@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES.keys())
def test_making_views(benchmark, place, changes):
    views = Views(validate(ViewParams, SIMSIAM | changes, "views", "params.yaml"))
    images = torch.rand(BATCH, *SHAPE, device=place.device).mul_(2).sub_(1)
    images = images.contiguous(memory_format=torch.channels_last)
    draw = Draw(place.device, (0, "speed"))

    def view() -> Tensor:
        made = views(images, draw)
        place.synchronise()
        return made

    made = benchmark.pedantic(view, rounds=30, warmup_rounds=3)
    assert made.shape == images.shape
    if benchmark.enabled:
        benchmark.extra_info["images_per_second"] = BATCH / benchmark.stats["min"]
        benchmark.extra_info |= place.describe()
