"""Schedules, targets, losses and the variational bound, against closed forms and independent references."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from triptych.core.errors import InputError
from triptych.core.objective import Batch
from triptych.core.randomness import Draw
from triptych.core.schema import validate
from triptych.ddpm.denoising import add_noise
from triptych.ddpm.edm import EDMObjective, alpha_bar_of, sigma_of
from triptych.ddpm.params import DDPMProcess, EDMProcess
from triptych.ddpm.process import (
    Diffusion,
    DiffusionObjective,
    cosine_betas,
    linear_betas,
)
from triptych.measures.bound import diffusion_term, prior_term, strata, variational_bound
from triptych.measures.discretised import LEVEL_WIDTH, discretised_gaussian_log_mass
from triptych.sampling.degeneracy import refuse_degenerate

LINEAR = {"name": "linear", "steps": 1000, "first_beta": 0.0001, "last_beta": 0.02}
COSINE = {"name": "cosine", "steps": 1000, "offset": 0.008}
EDM = {
    "name": "edm",
    "log_sigma_mean": -1.2,
    "log_sigma_std": 1.2,
    "sigma_data": 0.5,
    "sigma_min": 0.002,
    "sigma_max": 80.0,
    "rho": 7.0,
}


def process(**changes: object) -> DDPMProcess:
    plain = {
        "name": "ddpm",
        "schedule": LINEAR,
        "parameterisation": "epsilon",
        "loss": {"name": "mse"},
        "weighting": {"name": "uniform"},
        "times": "independent",
    }
    return validate(DDPMProcess, plain | changes, "process", "test")


class Constant(nn.Module):
    """A network that always says the same."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, images: Tensor, times: Tensor) -> Tensor:
        return self.value.expand_as(images)


def images(count: int = 8, size: int = 8) -> Tensor:
    return torch.rand((count, 3, size, size), generator=torch.Generator().manual_seed(1)) * 2 - 1


def noise_like(x: Tensor, seed: int = 2) -> Tensor:
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))


# Schedules ------------------------------------------------------------------------------------------------------------


def test_linear_schedule_has_the_reports_noise_levels() -> None:
    diffusion = Diffusion(linear_betas(1000, 1e-4, 0.02))
    assert diffusion.betas[1] == 1e-4
    assert diffusion.betas[1000] == 0.02
    np.testing.assert_allclose(diffusion.alpha_bars[1:], np.cumprod(1 - diffusion.betas[1:]), rtol=1e-12)
    for t, signal, sigma in ((30, 0.994, 0.108), (120, 0.926, 0.378)):
        assert float(diffusion.signal[t]) == pytest.approx(signal, abs=5e-4)
        assert float(diffusion.noise[t]) == pytest.approx(sigma, abs=5e-4)


def test_cosine_schedule_follows_the_squared_cosine_until_betas_are_capped() -> None:
    diffusion = Diffusion(cosine_betas(1000, 0.008))
    f = [math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(1000)]
    np.testing.assert_allclose(diffusion.alpha_bars[:1000], np.array(f) / f[0], rtol=1e-9)
    assert diffusion.betas.max() == 0.999


@pytest.mark.parametrize("betas", [linear_betas(1000, 1e-4, 0.02), cosine_betas(1000, 0.008)])
def test_time_and_level_are_inverse_and_whole_times_are_the_chain(betas: np.ndarray) -> None:
    diffusion = Diffusion(betas)
    for time in (0.0, 0.25, 1.0, 29.5, 30.0, 500.75, 1000.0):
        assert float(diffusion.time_at(diffusion.alpha_bar_at(time))) == pytest.approx(time, abs=1e-6)
    assert diffusion.alpha_bar_at(30) == pytest.approx(diffusion.alpha_bars[30], rel=1e-12)


def test_levels_of_a_full_run_are_the_chain_itself() -> None:
    objective = DiffusionObjective(Constant(), process())
    np.testing.assert_allclose(objective.levels(1000), objective.diffusion.alpha_bars[::-1], rtol=1e-10)
    half = objective.levels(10, start=float(objective.diffusion.alpha_bars[120]))
    assert half[0] == pytest.approx(objective.diffusion.alpha_bars[120])
    assert half[-1] == 1.0
    assert half == sorted(half)


# The forward process and its posterior --------------------------------------------------------------------------------


def test_q_sample_equals_noising_step_by_step_in_distribution() -> None:
    """Mean and variance of x_t by running q(x_t | x_{t-1}) on moments."""
    diffusion = Diffusion(linear_betas(50, 1e-3, 0.1))
    mean, variance = 0.7, 0.0
    for t in range(1, 51):
        beta = diffusion.betas[t]
        mean, variance = math.sqrt(1 - beta) * mean, (1 - beta) * variance + beta
        x = torch.full((1, 1, 1, 1), 0.7)
        time = torch.tensor([t])
        assert float(diffusion.q_sample(x, time, torch.zeros_like(x))) == pytest.approx(mean, rel=1e-5)
        spread = diffusion.q_sample(x, time, torch.ones_like(x)) - diffusion.q_sample(x, time, torch.zeros_like(x))
        assert float(spread) ** 2 == pytest.approx(variance, rel=1e-4)


@pytest.mark.parametrize("t", [2, 17, 500, 1000])
def test_posterior_is_bayes_rule(t: int) -> None:
    """q(x_{t-1} | x_t, x_0) as the product of two Gaussians in x_{t-1}, by their precisions."""
    diffusion = Diffusion(linear_betas(1000, 1e-4, 0.02))
    x0, x_t = images(2).double(), noise_like(images(2)).double()
    beta, before = diffusion.betas[t], diffusion.alpha_bars[t - 1]
    precision = (1 - beta) / beta + 1 / (1 - before)
    expected = (math.sqrt(1 - beta) / beta * x_t + math.sqrt(before) / (1 - before) * x0) / precision
    mean, variance = diffusion.posterior(x0, x_t, t)
    torch.testing.assert_close(mean, expected)
    assert variance == pytest.approx(1 / precision, rel=1e-9)


def test_last_posterior_is_the_image_itself() -> None:
    diffusion = Diffusion(linear_betas(1000, 1e-4, 0.02))
    mean, variance = diffusion.posterior(images(), noise_like(images()), 1)
    torch.testing.assert_close(mean, images())
    assert variance == 0


# Targets and losses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [LINEAR, COSINE])
@pytest.mark.parametrize("parameterisation", ["epsilon", "x0", "v"])
def test_x0_comes_back_from_a_perfect_prediction(parameterisation: str, schedule: dict) -> None:
    diffusion = DiffusionObjective(
        Constant(), process(parameterisation=parameterisation, schedule=schedule)
    ).diffusion.double()
    x0, epsilon = images().double(), noise_like(images()).double()
    t = torch.tensor([1, 2, 30, 120, 400, 600, 800, 900])
    x_t = diffusion.q_sample(x0, t, epsilon)
    output = diffusion.target(x0, t, epsilon)
    found = diffusion.predict_x0(x_t, output, diffusion.alpha_bars[t.numpy()])
    torch.testing.assert_close(found, x0, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("parameterisation", ["epsilon", "x0", "v"])
def test_min_snr_weighs_the_error_of_x0_by_the_clipped_ratio(parameterisation: str) -> None:
    diffusion = Diffusion(cosine_betas(1000, 0.008), parameterisation).double()
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
    """With a network that says 0, L_simple is the mean square of the noise; Huber is torch's on the same."""
    batch, shape = Batch(images(), torch.zeros(8)), (8, 3, 8, 8)
    replay = Draw("cpu", ("loss",))
    replay.integers(1, 1001, (8,))
    epsilon = replay.normal(shape)
    loss, _ = DiffusionObjective(Constant(), process())(batch, Draw("cpu", ("loss",)))
    assert float(loss.detach()) == pytest.approx(float(epsilon.square().mean()), rel=1e-5)
    reports = DiffusionObjective(Constant(), process(loss={"name": "huber", "delta": 1.0}))
    huber, _ = reports(batch, Draw("cpu", ("loss",)))
    expected = nn.functional.huber_loss(torch.zeros(shape), epsilon, delta=1.0)
    assert float(huber.detach()) == pytest.approx(float(expected), rel=1e-5)


def test_stratified_times_visit_each_part_once_and_do_not_depend_on_the_processes() -> None:
    objective = DiffusionObjective(Constant(), process(times="stratified"))
    whole = objective._times(50, Draw("cpu", ("times",)))
    assert ((whole - 1) // 20).tolist() == list(range(50))
    assert int(whole.min()) >= 1
    assert int(whole.max()) <= 1000
    parts = [objective._times(25, Draw("cpu", ("times",), row=row, rows=50)) for row in (0, 25)]
    assert torch.equal(torch.cat(parts), whole)


def test_independent_times_cover_1_to_T() -> None:
    times = DiffusionObjective(Constant(), process())._times(20_000, Draw("cpu", ("cover",)))
    assert int(times.min()) == 1
    assert int(times.max()) == 1000


# EDM ------------------------------------------------------------------------------------------------------------------


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
    """Section 5 of the paper: what the preconditioning is for, on data of standard deviation sigma_data."""
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


def test_edm_loss_of_the_bare_skip_is_about_one() -> None:
    """lambda = 1/c_out², so an untrained network that says 0 has the variance of its target as loss."""
    y = 0.5 * noise_like(torch.zeros(256, 3, 8, 8), 7)
    loss, _ = edm()(Batch(y, torch.zeros(256)), Draw("cpu", ("edm",)))
    assert float(loss.detach()) == pytest.approx(1, abs=0.03)


def test_edm_denoiser_is_the_preconditioned_one_in_other_coordinates() -> None:
    objective, x0, sigma = edm(0.3), images(), 0.7
    epsilon = noise_like(x0)
    with torch.no_grad():
        expected = objective.precondition(x0 + sigma * epsilon, torch.full((8, 1, 1, 1), sigma))
        found = objective.denoise(add_noise(x0, alpha_bar_of(sigma), epsilon), alpha_bar_of(sigma))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


# The variational bound ------------------------------------------------------------------------------------------------


def test_prior_term_is_the_kl_of_two_gaussians() -> None:
    x0, alpha_bar = images().double(), 0.3
    kl = kl_divergence(Normal(alpha_bar**0.5 * x0, (1 - alpha_bar) ** 0.5), Normal(0.0, 1.0)).flatten(1).sum(dim=1)
    torch.testing.assert_close(prior_term(x0, alpha_bar), kl)


@pytest.mark.parametrize("t", [2, 100, 1000])
def test_diffusion_term_is_the_kl_of_the_two_posteriors(t: int) -> None:
    diffusion = Diffusion(linear_betas(1000, 1e-4, 0.02))
    x0, guess, x_t = images().double(), images().double().flip(0), noise_like(images()).double()
    (q_mean, variance), (p_mean, _) = diffusion.posterior(x0, x_t, t), diffusion.posterior(guess, x_t, t)
    sigma = variance**0.5
    kl = kl_divergence(Normal(q_mean, sigma), Normal(p_mean, sigma)).flatten(1).sum(dim=1)
    levels = np.full(8, diffusion.alpha_bars[t]), np.full(8, diffusion.alpha_bars[t - 1])
    torch.testing.assert_close(diffusion_term(x0, guess, *levels), kl)


@pytest.mark.parametrize(("last", "count"), [(1000, 40), (1000, 999), (1000, 5), (10, 40)])
def test_strata_hold_each_time_once(last: int, count: int) -> None:
    runs = strata(2, last, count)
    assert [t for low, high in runs for t in range(low, high)] == list(range(2, last + 1))
    assert len(runs) <= count


class Oracle(DiffusionObjective):
    """Knows one image, and says it whatever it sees."""

    answer: Tensor

    def denoise(self, x: Tensor, alpha_bar: object) -> Tensor:
        return self.answer.expand_as(x)


def test_bound_of_an_oracle_is_its_prior_and_decoder_alone() -> None:
    method = Oracle(Constant(), process())
    method.answer = (images(1) * 127.5).round() / 127.5
    parts = variational_bound(method, method.answer.repeat(4, 1, 1, 1), 1000, 20, seed=0, batch_size=3)
    assert np.abs(parts["diffusion"]).max() == 0
    # The decoder's Gaussian is about as wide as a grey level: about a bit, whatever the image.
    assert 0 < parts["decoder"].mean() < 2
    assert 0 < parts["prior"].mean() < 1e-4


def test_drawn_terms_of_the_bound_are_unbiased() -> None:
    method = Oracle(Constant(), process(schedule=LINEAR | {"steps": 100}))
    method.answer = torch.zeros(1, 3, 8, 8)
    x0 = images(1).repeat(2000, 1, 1, 1)
    whole = variational_bound(method, x0[:1], 100, 99, seed=0, batch_size=1)["diffusion"]
    drawn = variational_bound(method, x0, 100, 6, seed=0, batch_size=500)["diffusion"]
    assert abs(drawn.mean() - whole[0]) < 4 * drawn.std() / math.sqrt(2000)


def test_masses_of_the_256_levels_sum_to_one() -> None:
    levels = torch.linspace(-1, 1, 256, dtype=torch.float64)
    for mean, sigma in ((0.1, 0.003), (-0.99, 0.01), (0.5, 0.4), (1.2, 0.05)):
        mass = discretised_gaussian_log_mass(levels, torch.full_like(levels, mean), sigma).exp()
        assert float(mass.sum()) == pytest.approx(1, abs=1e-9)
        low, high = ((levels + sign * LEVEL_WIDTH / 2 - mean) / sigma for sign in (-1, 1))
        inner = torch.special.ndtr(high) - torch.special.ndtr(low)
        torch.testing.assert_close(mass[1:-1], inner[1:-1], atol=1e-12, rtol=1e-6)


# Samples that are no images -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        (torch.full((4, 3, 8, 8), float("nan")), "not finite"),
        (torch.full((4, 3, 8, 8), -1.0), "clipped"),
        (torch.zeros((4, 3, 8, 8)), "one colour"),
        (torch.tensor([0.9, -0.2, 0.1]).view(1, 3, 1, 1).repeat(4, 1, 8, 8), "one colour"),
        (noise_like(torch.zeros(4, 3, 8, 8)) * 1e4, "clipped"),
    ],
)
def test_black_nan_flat_and_clipped_samples_are_refused(bad: Tensor, word: str) -> None:
    with pytest.raises(InputError, match=word):
        refuse_degenerate(bad)


def test_images_pass_as_samples() -> None:
    refuse_degenerate(images())
