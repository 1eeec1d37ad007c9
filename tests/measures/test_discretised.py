"""The probabilities of the discretised Gaussian equal those of scipy and sum to one. Bits per dimension are correct."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy.special import log_ndtr
from torch import Tensor

from triptych.measures.discretised import LEVEL_WIDTH, bits_per_dimension, discretised_gaussian_log_mass
from triptych.vae.measure import gaussian_log_density
from triptych.vae.objective import gaussian_nll

pytestmark = pytest.mark.usefixtures("one_thread")

LEVELS = torch.arange(256, dtype=torch.float64) / 127.5 - 1


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def reference_log_mass(mean: float, sigma: float) -> np.ndarray:
    """Return log-probabilities (256,) computed with scipy in float64, from the tail that keeps precision."""
    levels = LEVELS.numpy()
    above, below = (levels + LEVEL_WIDTH / 2 - mean) / sigma, (levels - LEVEL_WIDTH / 2 - mean) / sigma
    above[-1], below[0] = np.inf, -np.inf
    swap = below > 0  # the upper tail is the lower one of the mirrored distribution
    above, below = np.where(swap, -below, above), np.where(swap, -above, below)
    top = log_ndtr(above)
    return top + np.log1p(-np.exp(log_ndtr(below) - top))


def test_the_masses_of_the_256_levels_are_scipy_s_and_sum_to_one():
    """In float64 to the last digits, even if the Gaussian is narrower than a level; in float32 less precisely."""
    for mean, sigma in [*product((-1.5, -1.0, -0.2, 0.0, 0.371, 1.0, 1.3), (0.02, 0.1, 0.5, 1.0, 3.0)), (0.1, 0.003)]:
        case, expected = f"mean {mean}, sigma {sigma}", reference_log_mass(mean, sigma)
        wide = discretised_gaussian_log_mass(LEVELS, torch.tensor(mean, dtype=torch.float64), sigma)
        np.testing.assert_allclose(wide.numpy(), expected, rtol=1e-8, atol=1e-8, err_msg=case)
        assert wide.exp().sum().item() == pytest.approx(1, abs=1e-9), case
        narrow = discretised_gaussian_log_mass(LEVELS.float(), torch.tensor(mean), sigma)
        np.testing.assert_allclose(narrow.numpy(), expected, rtol=2e-3, atol=2e-3, err_msg=case)
        assert narrow.exp().sum().item() == pytest.approx(1, abs=1e-3), case


def test_the_mass_of_a_level_is_its_density_times_its_width_where_the_density_is_flat():
    x, mean = LEVELS[60:200].float(), torch.tensor(0.1)
    mass = discretised_gaussian_log_mass(x, mean, 0.5)
    torch.testing.assert_close(mass, gaussian_log_density(x, mean, 0.5) + math.log(LEVEL_WIDTH), rtol=0, atol=1e-3)


def test_unit_variance_costs_8_32_bits_even_when_every_pixel_is_right():
    """With sigma = 1 the report's likelihood is at least log2(255 / 2 * sqrt(2 pi)) bits per dimension."""
    x = numbers(2, 3, 4, 4)
    bits = bits_per_dimension(-gaussian_nll(x, x, 1.0), 48, density=True)
    assert bits.tolist() == pytest.approx([math.log2(255 / 2 * math.sqrt(2 * math.pi))] * 2)
    assert bits[0].item() == pytest.approx(8.32, abs=0.005)


def test_bits_of_mass_need_no_level_width():
    assert bits_per_dimension(torch.tensor([-10 * math.log(256)]), 10, density=False).item() == pytest.approx(8)
