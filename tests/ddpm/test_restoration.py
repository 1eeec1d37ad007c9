"""Noising to a time of the report's schedule, and restoration."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from toy_diffusion import COSINE, LINEAR, Constant, process
from toy_images import pictures

from triptych.core.schema import validate
from triptych.ddpm.objective import DiffusionObjective
from triptych.ddpm.params import Restoration
from triptych.ddpm.sample import alpha_bars, restoration_strip, restore
from triptych.measures.similarity import psnr

CPU = torch.device("cpu")

RESTORATION = validate(
    Restoration,
    {"schedule": LINEAR, "times": [30, 120], "images": 2, "steps": 40, "strip_class": 0},
    "restoration",
    Path("test"),
)
REPORT = alpha_bars(RESTORATION.schedule)


class Knowing(DiffusionObjective):
    """A denoiser that always predicts the images it was given."""

    answer: Tensor

    def denoise(self, x: Tensor, alpha_bar: object) -> Tensor:
        return self.answer[: len(x)]


@pytest.mark.parametrize("schedule", [None, COSINE])
def test_noise_is_that_of_the_reports_time_whatever_the_models_schedule(schedule: dict | None) -> None:
    """The noise has the deviation of the report's time, and a model that knows the image restores it."""
    images = np.full((8, 3, 32, 32), 128, np.uint8)
    method = Knowing(Constant(), process(**({"schedule": schedule} if schedule else {})))
    method.answer = torch.zeros(8, 3, 32, 32) + 128 / 127.5 - 1
    noised, restored = restore(method, images, float(REPORT[30]), 30, seed=0, batch_size=8, device=CPU)
    # At mid-grey nothing is clipped: the noise's standard deviation is the report's 0.108, in 127.5 levels.
    assert np.std(noised / 127.5) == pytest.approx(0.108, rel=0.02)
    assert np.array_equal(restored, images)


def test_reverse_run_starts_at_the_time_of_equal_signal_to_noise() -> None:
    """Times 30 and 120 of the linear schedule map to times of the cosine schedule with sigma 0.108 and 0.378."""
    cosine = DiffusionObjective(Constant(), process(schedule=COSINE))
    for t, sigma in ((30, 0.108), (120, 0.378)):
        time = float(cosine.time_at(float(REPORT[t])))
        assert float(cosine.noise[round(time)]) == pytest.approx(sigma, abs=0.002)
    linear = DiffusionObjective(Constant(), process())
    assert float(linear.time_at(float(REPORT[120]))) == pytest.approx(120, abs=1e-6)


def test_restoration_is_bit_identical_in_every_run() -> None:
    torch.manual_seed(0)
    method = DiffusionObjective(Constant(0.1), process())
    first, second = (restore(method, pictures(4), float(REPORT[60]), 10, 5, 2, CPU) for _ in range(2))
    assert all(map(np.array_equal, first, second))


@pytest.mark.parametrize("batch_size", [3, 64])
def test_an_images_noise_and_restoration_do_not_depend_on_the_batch(batch_size: int) -> None:
    method = DiffusionObjective(Constant(0.1), process())
    first, second = (restore(method, pictures(10), float(REPORT[60]), 10, 5, size, CPU) for size in (batch_size, 10))
    assert all(map(np.array_equal, first, second))
    fewer, _ = restore(method, pictures(10)[:4], float(REPORT[60]), 10, 5, 4, CPU)
    assert np.array_equal(fewer, first[0][:4])


def test_strip_leads_from_the_image_to_noise_and_back() -> None:
    method = Knowing(Constant(), process())
    image = pictures(1)[0]
    method.answer = torch.from_numpy(image[None]).float() / 127.5 - 1
    forward, backward = restoration_strip(method, image, 120, RESTORATION, seed=0, device=CPU)
    assert forward.shape == backward.shape == (7, 3, 32, 32)
    assert np.array_equal(forward[0], image)
    assert np.array_equal(forward[-1], backward[0])
    assert np.array_equal(backward[-1], image)
    distances = [float(psnr(image[None], state[None])[0]) for state in forward]
    assert distances == sorted(distances, reverse=True)
