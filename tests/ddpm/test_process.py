"""Schedules, the forward process, targets and losses, compared with closed forms and independent references."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from toy_diffusion import COSINE, LINEAR, Constant, images, noise_like, process

from triptych.ddpm.objective import DiffusionObjective, posterior, schedule_betas
from triptych.machine.randomness import Draw
from triptych.training.objective import Batch


def objective_with(**changes: object) -> DiffusionObjective:
    return DiffusionObjective(Constant(), process(**changes))


def test_linear_schedule_has_the_reports_noise_levels() -> None:
    diffusion = objective_with()
    betas = schedule_betas(diffusion.process.schedule)
    assert betas[0] == 1e-4 and betas[999] == 0.02
    np.testing.assert_allclose(diffusion.alpha_bars[1:], np.cumprod(1 - betas), rtol=1e-12)
    for t, signal, sigma in ((30, 0.994, 0.108), (120, 0.926, 0.378)):
        assert float(diffusion.signal[t]) == pytest.approx(signal, abs=5e-4)
        assert float(diffusion.noise[t]) == pytest.approx(sigma, abs=5e-4)


def test_cosine_schedule_follows_the_squared_cosine_until_betas_are_capped() -> None:
    diffusion = objective_with(schedule=COSINE)
    f = [math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(1000)]
    np.testing.assert_allclose(diffusion.alpha_bars[:1000], np.array(f) / f[0], rtol=1e-9)
    assert schedule_betas(diffusion.process.schedule).max() == 0.999


@pytest.mark.parametrize("schedule", [LINEAR, COSINE])
def test_time_and_level_are_inverse_and_integer_times_have_the_levels_of_the_schedule(schedule: dict) -> None:
    diffusion = objective_with(schedule=schedule)
    for time in (0.0, 0.25, 1.0, 29.5, 30.0, 500.75, 1000.0):
        assert float(diffusion.time_at(diffusion.alpha_bar_at(time))) == pytest.approx(time, abs=1e-6)
    assert diffusion.alpha_bar_at(30) == pytest.approx(diffusion.alpha_bars[30], rel=1e-12)


def test_levels_of_a_run_with_all_steps_are_those_of_the_schedule() -> None:
    objective = objective_with()
    np.testing.assert_allclose(objective.levels(1000), objective.alpha_bars[::-1], rtol=1e-10)
    half = objective.levels(10, start=float(objective.alpha_bars[120]))
    assert half[0] == pytest.approx(objective.alpha_bars[120])
    assert half[-1] == 1.0
    assert half == sorted(half)


def test_q_sample_equals_noising_step_by_step_in_distribution() -> None:
    """Compute mean and variance of x_t by applying q(x_t | x_{t-1}) to the moments."""
    diffusion = objective_with(schedule=LINEAR | {"steps": 50, "first_beta": 1e-3, "last_beta": 0.1})
    betas = schedule_betas(diffusion.process.schedule)
    mean, variance = 0.7, 0.0
    for t in range(1, 51):
        beta = betas[t - 1]
        mean, variance = math.sqrt(1 - beta) * mean, (1 - beta) * variance + beta
        x = torch.full((1, 1, 1, 1), 0.7)
        time = torch.tensor([t])
        assert float(diffusion.q_sample(x, time, torch.zeros_like(x))) == pytest.approx(mean, rel=1e-5)
        spread = diffusion.q_sample(x, time, torch.ones_like(x)) - diffusion.q_sample(x, time, torch.zeros_like(x))
        assert float(spread) ** 2 == pytest.approx(variance, rel=1e-4)


@pytest.mark.parametrize("t", [2, 17, 500, 1000])
def test_posterior_is_bayes_rule(t: int) -> None:
    """q(x_{t-1} | x_t, x_0) is the product of two Gaussians in x_{t-1}: their precisions add."""
    diffusion = objective_with()
    x0, x_t = images(2).double(), noise_like(images(2)).double()
    beta, before = schedule_betas(diffusion.process.schedule)[t - 1], diffusion.alpha_bars[t - 1]
    precision = (1 - beta) / beta + 1 / (1 - before)
    expected = (math.sqrt(1 - beta) / beta * x_t + math.sqrt(before) / (1 - before) * x0) / precision
    mean, variance = posterior(x0, x_t, diffusion.alpha_bars[t], before)
    torch.testing.assert_close(mean, expected)
    assert variance == pytest.approx(1 / precision, rel=1e-9)


def test_last_posterior_is_the_image_itself() -> None:
    first = float(objective_with().alpha_bars[1])
    mean, variance = posterior(images(), noise_like(images()), first, 1.0)
    torch.testing.assert_close(mean, images())
    assert variance == 0


@pytest.mark.parametrize("schedule", [LINEAR, COSINE])
@pytest.mark.parametrize("parameterisation", ["epsilon", "x0", "v"])
def test_x0_is_recovered_from_a_perfect_prediction(parameterisation: str, schedule: dict) -> None:
    diffusion = objective_with(parameterisation=parameterisation, schedule=schedule).double()
    x0, epsilon = images().double(), noise_like(images()).double()
    t = torch.tensor([1, 2, 30, 120, 400, 600, 800, 900])
    x_t = diffusion.q_sample(x0, t, epsilon)
    output = diffusion.target(x0, t, epsilon)
    result = diffusion.predict_x0(x_t, output, diffusion.alpha_bars[t.numpy()])
    torch.testing.assert_close(result, x0, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("parameterisation", ["epsilon", "x0", "v"])
def test_min_snr_weighs_the_error_of_x0_by_the_clipped_ratio(parameterisation: str) -> None:
    diffusion = objective_with(parameterisation=parameterisation, schedule=COSINE).double()
    x0, epsilon = images().double(), noise_like(images()).double()
    t = torch.tensor([1, 30, 120, 300, 400, 600, 800, 900])
    output = noise_like(x0, 3).double()
    x_t = diffusion.q_sample(x0, t, epsilon)
    error = (output - diffusion.target(x0, t, epsilon)).square().flatten(1).mean(dim=1)
    alpha_bar = diffusion.alpha_bars[t.numpy()]
    x0_error = (diffusion.predict_x0(x_t, output, alpha_bar) - x0).square().flatten(1).mean(dim=1)
    weights = torch.tensor(np.minimum(alpha_bar / (1 - alpha_bar), 5.0))
    torch.testing.assert_close(diffusion.min_snr_weights(t, 5.0) * error, weights * x0_error, rtol=1e-4, atol=1e-6)


def test_plain_loss_is_the_papers_and_the_reports() -> None:
    """For a network with output 0, L_simple is the mean square of the noise, and Huber equals torch's loss."""
    batch, shape = Batch(images(), torch.zeros(8)), (8, 3, 8, 8)
    replay = Draw("cpu", ("loss",))
    replay.integers(1, 1001, (8,))
    epsilon = replay.normal(shape)
    loss, _ = objective_with()(batch, Draw("cpu", ("loss",)))
    assert float(loss.detach()) == pytest.approx(float(epsilon.square().mean()), rel=1e-5)
    reports = objective_with(loss={"name": "huber", "delta": 1.0})
    huber, _ = reports(batch, Draw("cpu", ("loss",)))
    expected = nn.functional.huber_loss(torch.zeros(shape), epsilon, delta=1.0)
    assert float(huber.detach()) == pytest.approx(float(expected), rel=1e-5)


def test_stratified_times_are_one_per_stratum_for_any_number_of_processes() -> None:
    objective = objective_with(times="stratified")
    whole = objective._times(50, Draw("cpu", ("times",)))
    assert ((whole - 1) // 20).tolist() == list(range(50))
    assert int(whole.min()) >= 1
    assert int(whole.max()) <= 1000
    parts = [objective._times(25, Draw("cpu", ("times",), row=row, rows=50)) for row in (0, 25)]
    assert torch.equal(torch.cat(parts), whole)


def test_independent_times_cover_1_to_T() -> None:
    times = objective_with()._times(20_000, Draw("cpu", ("cover",)))
    assert int(times.min()) == 1
    assert int(times.max()) == 1000
