"""The noise of an image depends on neither batch size, number of images nor process."""

import itertools
import math

import pytest
import torch
from tiny_generative import PATCH_UNET
from torch import Tensor, nn
from toy_diffusion import COSINE, process

from triptych.ddpm.model import denoising_network
from triptych.ddpm.objective import DiffusionObjective
from triptych.ddpm.samplers import draw_images, reverse
from triptych.measures.images import ImageNoise, to_uint8

CPU, SHAPE, CALLS = torch.device("cpu"), (3, 4, 4), 3


def drawn(rows: range, seed: int = 0, purpose: str = "test", shape: tuple[int, ...] = SHAPE) -> Tensor:
    """Return the numbers of several calls, (CALLS, rows, *shape)."""
    noise = ImageNoise(seed, purpose, rows, shape, CPU)
    return torch.stack([noise.normal() for _ in range(CALLS)])


@pytest.mark.parametrize("size", [1, 3, 7, 64, 100])
@pytest.mark.parametrize("shape", [SHAPE, (5,), ()])
def test_batches_of_any_size_see_the_same_noise_bit_for_bit(size: int, shape: tuple[int, ...]) -> None:
    whole = drawn(range(150), shape=shape)
    batches = [drawn(range(start, min(start + size, 150)), shape=shape) for start in range(0, 150, size)]
    assert torch.equal(torch.cat(batches, dim=1), whole)


def test_more_images_do_not_change_the_first_ones() -> None:
    assert torch.equal(drawn(range(1000))[:, :70], drawn(range(70)))
    whole, part = (ImageNoise(0, "times", rows, (), CPU) for rows in (range(200), range(90, 140)))
    for low, high in ((0, 10), (5, 900)):
        draws = whole.integers(low, high)
        assert torch.equal(draws[90:140], part.integers(low, high))
        assert low <= draws.min() and draws.max() < high


def test_images_calls_seeds_and_purposes_are_independent() -> None:
    """Check standard normal numbers whose correlations are within chance."""
    one = drawn(range(200)).flatten(2)
    assert abs(one.mean()) < 4 / math.sqrt(one.numel()) and one.std() == pytest.approx(1, abs=0.02)
    others = [drawn(range(200), seed=1).flatten(2), drawn(range(200), purpose="other").flatten(2)]
    pairs = [(one[0], one[1]), *((one[0], other[0]) for other in others), (one[0][:64], one[0][64:128])]
    for first, second in pairs:
        assert abs((first * second).mean()) < 4 / math.sqrt(first.numel())


@pytest.fixture(scope="module")
def method() -> DiffusionObjective:
    torch.manual_seed(0)
    network = denoising_network(**PATCH_UNET)
    nn.init.normal_(network.head.weight, std=0.2)
    return DiffusionObjective(network, process(schedule=COSINE, parameterisation="x0")).eval()


def images(method: DiffusionObjective, count: int, batch_size: int) -> Tensor:
    return draw_images(method, (3, 32, 32), count, "sde_dpm_solver", 3, seed=0, batch_size=batch_size, device=CPU)


def grey_levels_apart(one: Tensor, other: Tensor) -> int:
    return int((to_uint8(one).int() - to_uint8(other).int()).abs().max())


def test_batch_size_and_number_of_images_do_not_change_images(method, one_thread) -> None:
    """Allow one grey level, because a network may sum in another order in another batch size."""
    found = {size: images(method, 70, size) for size in (3, 7, 64)}
    for one, other in itertools.combinations(found.values(), 2):
        assert grey_levels_apart(one, other) <= 1
    assert torch.equal(images(method, 5, 7)[:5], found[7][:5])
    noise = ImageNoise(0, "samples", range(35, 70), (3, 32, 32), CPU).normal
    second_half = reverse(method, noise(), None, "sde_dpm_solver", 3, noise)
    assert grey_levels_apart(second_half, found[64][35:]) <= 1
    assert grey_levels_apart(found[64][:35], found[64][35:]) > 20  # images differ by more
