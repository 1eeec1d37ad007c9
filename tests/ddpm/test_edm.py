"""EDM: preconditioning, loss and noise levels have the properties that the paper states."""

import math

import pytest
import torch
from torch import Tensor, nn
from toy_diffusion import EDM, Constant, images, noise_like

from triptych.core.schema import validate
from triptych.ddpm.objective import EDMObjective, add_noise, alpha_bar_of, sigma_of
from triptych.ddpm.params import EDMProcess
from triptych.machine.randomness import Draw
from triptych.training.objective import Batch


def edm(value: float = 0.0) -> EDMObjective:
    return EDMObjective(Constant(value), validate(EDMProcess, EDM, "process", "test"))


def test_edm_levels_and_sigma_are_inverse() -> None:
    for sigma in (0.002, 0.5, 80.0):
        assert sigma_of(alpha_bar_of(sigma)) == pytest.approx(sigma, rel=1e-9)
    levels = edm().levels(18)
    assert sigma_of(levels[0]) == pytest.approx(80, rel=1e-9)
    assert sigma_of(levels[-2]) == pytest.approx(0.002, rel=1e-6)
    assert levels[-1] == 1.0


def test_edm_network_sees_unit_variance_and_learns_a_unit_variance_target() -> None:
    """The purpose of the preconditioning (section 5) for data of standard deviation sigma_data."""
    seen = {}

    class Spy(nn.Module):
        def forward(self, x: Tensor, times: Tensor) -> Tensor:
            seen["input"] = x
            return torch.zeros_like(x)

    objective = EDMObjective(Spy(), edm().process)
    y = 0.5 * noise_like(torch.zeros(64, 3, 16, 16), 5)
    for sigma in (0.02, 0.5, 20.0):
        level = torch.full((64, 1, 1, 1), sigma)
        noisy = y + sigma * noise_like(y, 6)
        skipped = objective.precondition(noisy, level)
        assert float(seen["input"].std()) == pytest.approx(1, abs=0.02)
        c_out = sigma * 0.5 / math.sqrt(sigma**2 + 0.25)
        assert float(((y - skipped) / c_out).std()) == pytest.approx(1, abs=0.02)


def test_edm_loss_of_a_zero_network_is_about_one() -> None:
    """Since lambda = 1/c_out², the loss of a network with output 0 is the variance of its target."""
    y = 0.5 * noise_like(torch.zeros(256, 3, 8, 8), 7)
    loss, _ = edm()(Batch(y, torch.zeros(256)), Draw("cpu", ("edm",)))
    assert float(loss.detach()) == pytest.approx(1, abs=0.03)


def test_edm_denoises_variance_preserving_images() -> None:
    objective, x0, sigma = edm(0.3), images(), 0.7
    epsilon = noise_like(x0)
    with torch.no_grad():
        expected = objective.precondition(x0 + sigma * epsilon, torch.full((8, 1, 1, 1), sigma))
        result = objective.denoise(add_noise(x0, alpha_bar_of(sigma), epsilon), alpha_bar_of(sigma))
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)
