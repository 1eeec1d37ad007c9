"""Measure the speed of the DDPM's training and sampling with params.yaml; no time is asserted."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from triptych.core.schema import read
from triptych.ddpm.model import denoising_network
from triptych.ddpm.objective import DenoisingObjective, diffusion_method
from triptych.ddpm.params import DDPMParams
from triptych.ddpm.samplers import reverse
from triptych.measures.images import ImageNoise

PARAMS = Path(__file__).parents[2] / "params.yaml"
SHAPE = (3, 32, 32)
SAMPLES = 250


@pytest.fixture
def study() -> DDPMParams:
    return read(PARAMS, ddpm=DDPMParams).ddpm


@pytest.fixture
def method(study: DDPMParams) -> DenoisingObjective:
    torch.manual_seed(0)
    network = denoising_network(image_shape=SHAPE, **study.network.model_dump())
    return diffusion_method(network, study.process)


@pytest.mark.benchmark(group="train step")
def test_ddpm_train_step(time_steps, method: DenoisingObjective, study: DDPMParams):
    time_steps(method, study.training, SHAPE)


@pytest.mark.benchmark(group="sampling step")
def test_ddpm_sampling_step(benchmark, method: DenoisingObjective, place, request):
    """One call of the network for each of some images, and the arithmetic around it."""
    method = method.to(place.device, memory_format=torch.channels_last).eval()
    noise = ImageNoise(0, "speed", range(SAMPLES), SHAPE, place.device).normal
    x = noise()

    def step() -> Tensor:
        found = reverse(method, x, None, "ddim", 1, noise)
        place.synchronise()
        return found

    with FlopCounterMode(display=False) as counter:
        step()
    found = benchmark.pedantic(step, rounds=10, warmup_rounds=2)
    assert bool(torch.isfinite(found).all())
    if benchmark.enabled:
        flop_per_second = counter.get_total_flops() / benchmark.stats["min"]
        benchmark.extra_info["images_per_second"] = SAMPLES / benchmark.stats["min"]
        benchmark.extra_info["gflops"] = flop_per_second / 1e9
        benchmark.extra_info["share_of_peak"] = flop_per_second / request.getfixturevalue("peak")
        benchmark.extra_info |= place.describe()
