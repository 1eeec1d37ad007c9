"""Samplers on Gaussian data, whose perfect denoiser is known in closed form."""

import itertools
import math

import pytest
import torch
from ideal_denoiser import PROCESSES, STEPS, Ideal, pure_noise
from torch import Tensor
from toy_diffusion import COSINE, LINEAR, Constant, process

from triptych.core.errors import InputError
from triptych.ddpm.objective import DiffusionObjective, posterior
from triptych.ddpm.samplers import SAMPLERS, checked, draw_images, evaluations, reverse, second_order
from triptych.machine.randomness import generator

MEAN, SPREAD = 0.2, 0.25


gaussian_denoiser = Ideal(MEAN, SPREAD).denoise


def flow(x: Tensor, level: float, following: float = 1.0) -> Tensor:
    """Return x after the probability-flow ODE, which maps each Gaussian marginal monotonically to the next."""
    here, there = ((a * SPREAD**2 + 1 - a) ** 0.5 for a in (level, following))
    return following**0.5 * MEAN + there * (x - level**0.5 * MEAN) / here


def levels(steps: int) -> list[float]:
    return DiffusionObjective(Constant(), process(schedule=COSINE)).levels(steps)


def inner_levels(steps: int) -> list[float]:
    """Return levels from t = 900 to t = 100, without the ends, where steps are of first order by design."""
    diffusion = DiffusionObjective(Constant(), process(schedule=COSINE))
    return [diffusion.alpha_bar_at(time) for time in torch.linspace(900, 100, steps + 1).tolist()]


def start(count: int = 256) -> Tensor:
    return torch.randn((count, 1, 4, 4), generator=generator("cpu", "start"), dtype=torch.float64)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_denoiser_that_knows_the_image_is_followed(name: str) -> None:
    image = torch.linspace(-0.9, 0.9, 16, dtype=torch.float64).view(1, 1, 4, 4)
    result = SAMPLERS[name](lambda x, level: image.expand_as(x), start(3), levels(7), pure_noise("known", 3).normal)
    torch.testing.assert_close(result, image.expand(3, 1, 4, 4))


@pytest.mark.parametrize(("name", "order"), [("ddim", 1), ("dpm_solver", 2), ("heun", 2)])
def test_deterministic_samplers_converge_to_the_ode_at_their_order(name: str, order: int) -> None:
    """Twice the steps reduce the error by 2**order."""
    errors = []
    for steps in (160, 320, 640):
        path = inner_levels(steps)
        exact = flow(start(), path[0], path[-1])
        errors.append(float((SAMPLERS[name](gaussian_denoiser, start(), path) - exact).abs().mean()))
    assert errors[-1] < 1e-2
    for coarse, fine in itertools.pairwise(errors):
        assert coarse / fine > 0.85 * 2**order


def test_second_order_beats_first_at_equal_cost() -> None:
    def error(name: str) -> float:
        result = SAMPLERS[name](gaussian_denoiser, start(), levels(20))
        return float((result - flow(start(), levels(20)[0])).abs().mean())

    assert error("dpm_solver") < 0.5 * error("ddim")


@pytest.mark.parametrize("path", PROCESSES)
@pytest.mark.parametrize("name", SAMPLERS)
def test_samples_of_a_perfect_denoiser_have_the_distribution_of_the_data(name: str, path: str) -> None:
    """Samples have mean and spread of N(0.2, 0.3²) on the noise levels of each process."""
    ideal, noise = Ideal(0.2, 0.3, path), pure_noise().normal
    result = SAMPLERS[name](ideal.denoise, noise().double(), ideal.levels(STEPS[name]), noise)
    assert float(result.mean()) == pytest.approx(0.2, abs=4 * 0.3 / math.sqrt(result.numel()) + 0.001)
    assert float(result.std()) == pytest.approx(0.3, rel=0.03)


def test_heun_starts_with_euler_where_sigma_falls_far_and_as_published_on_edm_levels() -> None:
    cosine = PROCESSES["cosine"].levels(20)
    assert second_order(cosine) == [False, *[True] * 18, False]
    result = SAMPLERS["heun"](Ideal(0.2, 0.3).denoise, pure_noise().normal().double(), cosine)
    assert float(result.std()) == pytest.approx(0.3, rel=0.05)  # Heun's first step would make it 0.41
    assert second_order(PROCESSES["edm"].levels(18)) == [*[True] * 17, False]  # as Karras et al. 2022
    assert second_order([0.001, 1.0]) == [False]


@pytest.mark.parametrize("fall", [1.1, 1.9, 2.1, 5.0, 1000.0])
def test_the_more_accurate_method_is_used_for_the_first_step(fall: float) -> None:
    """Compare the errors of Euler's and Heun's first step at large sigma with the exact flow."""
    last = 10.0
    first = fall * last

    def slope(x: float, sigma: float) -> float:
        return x * sigma / (sigma**2 + SPREAD**2)

    start, exact = math.hypot(first, SPREAD), math.hypot(last, SPREAD)
    step = last - first
    euler = start + step * slope(start, first)
    corrected = start + step * (slope(start, first) + slope(euler, last)) / 2
    better_is_heun = abs(corrected - exact) < abs(euler - exact)
    alpha_bars = [1 / (1 + sigma**2) for sigma in (first, last, 1.0)]
    assert second_order(alpha_bars)[0] == better_is_heun


def test_a_stochastic_solver_corrects_an_error_of_its_start_and_a_deterministic_one_keeps_it() -> None:
    """With initial noise of twice the size, only the stochastic solver ends with the spread of the data."""
    noise = pure_noise("chain", 2000).normal
    result = {
        name: float(SAMPLERS[name](gaussian_denoiser, 2 * start(2000), levels(60), noise).std())
        for name in ("sde_dpm_solver", "dpm_solver")
    }
    assert result["sde_dpm_solver"] == pytest.approx(SPREAD, rel=0.03)
    assert result["dpm_solver"] == pytest.approx(2 * SPREAD, rel=0.1)


def single_numbers() -> Tensor:
    """Return noise for 200,000 images of one pixel."""
    return torch.randn((200_000, 1, 1, 1), generator=generator("cpu", "step"), dtype=torch.float64)


def test_sde_step_is_the_exact_solution_for_a_constant_denoiser() -> None:
    """For fixed x0, x' | x of the reverse SDE is the posterior of the forward process for any step."""
    here, there = levels(9)[3:5]
    x = torch.full((200_000, 1, 1, 1), 0.5, dtype=torch.float64)
    result = SAMPLERS["sde_dpm_solver"](lambda x, level: torch.full_like(x, 0.3), x, [here, there], single_numbers)
    mean, variance = posterior(torch.tensor(0.3, dtype=torch.float64), x[0, 0, 0, 0], here, there)
    assert float(result.var()) == pytest.approx(variance, rel=0.02)
    assert float(result.mean()) == pytest.approx(float(mean), abs=5 * math.sqrt(variance / 200_000))


def test_ancestral_step_is_the_posterior_with_beta_tilde() -> None:
    """Compare mean and variance of one step from t = 120 over many draws with equations 6 and 7."""
    alpha_bars = DiffusionObjective(Constant(), process()).alpha_bars
    pair = [float(alpha_bars[120]), float(alpha_bars[119])]
    x = torch.full((200_000, 1, 1, 1), 0.5, dtype=torch.float64)
    result = SAMPLERS["ancestral"](lambda x, level: torch.full_like(x, 0.3), x, pair, single_numbers)
    mean, variance = posterior(torch.tensor(0.3), torch.tensor(0.5), *pair)
    assert float(result.var()) == pytest.approx(variance, rel=0.02)
    assert float(result.mean()) == pytest.approx(float(mean), abs=5 * math.sqrt(variance / 200_000))


class Textured(DiffusionObjective):
    """A denoiser without weights whose prediction depends on its input and is never of one colour."""

    def denoise(self, x: Tensor, alpha_bar: object) -> Tensor:
        return 0.5 * torch.sin(3 * x)


def method() -> Textured:
    return Textured(Constant(), process(schedule=COSINE))


@pytest.mark.parametrize("name", SAMPLERS)
def test_samples_are_reproducible_to_the_bit_and_independent_of_their_number(name: str) -> None:
    def draw(count: int) -> Tensor:
        return draw_images(method(), (3, 8, 8), count, name, 6, seed=3, batch_size=16, device=torch.device("cpu"))

    twenty = draw(20)
    assert torch.equal(twenty, draw(20))
    assert checked(twenty).dtype == torch.uint8
    assert torch.equal(twenty[:5], draw(5))


def test_another_seed_gives_other_samples() -> None:
    first, second = (
        draw_images(method(), (3, 8, 8), 4, "ddim", 4, seed=seed, batch_size=4, device=torch.device("cpu"))
        for seed in (0, 1)
    )
    assert not torch.equal(first, second)


def test_reverse_clips_the_prediction() -> None:
    class Shouting(Textured):
        def denoise(self, x: Tensor, alpha_bar: object) -> Tensor:
            return torch.full_like(x, 7.0)

    shouting = Shouting(Constant(), process())
    result = reverse(shouting, torch.zeros(1, 3, 4, 4), None, "ddim", 5, pure_noise("clip", 1).normal)
    torch.testing.assert_close(result, torch.ones_like(result))


def test_network_calls_are_counted() -> None:
    calls = []

    def counting(x: Tensor, level: float) -> Tensor:
        calls.append(level)
        return gaussian_denoiser(x, level)

    for name in SAMPLERS:
        for path in PROCESSES.values():
            calls.clear()
            SAMPLERS[name](counting, start(1), path.levels(9), pure_noise("calls", 1).normal)
            assert len(calls) == evaluations(name, path.levels(9))


def test_a_schedule_that_ends_before_pure_noise_is_refused_in_one_line_for_samples_from_noise() -> None:
    short = Textured(Constant(), process(schedule=LINEAR | {"steps": 100}))
    with pytest.raises(InputError, match=r"^ddpm\.process: .* keeps 36\.4% .*at most 1% is allowed.*schedule$"):
        draw_images(short, (3, 8, 8), 4, "ddim", 4, seed=0, batch_size=4, device=torch.device("cpu"))
    x = torch.zeros(1, 3, 8, 8)
    assert reverse(short, x, 0.5, "ddim", 4, pure_noise("start", 1).normal).shape == x.shape  # not from pure noise
    for name in PROCESSES:  # the report's process among them
        reverse(Ideal(MEAN, SPREAD, name), x, None, "ddim", 1, pure_noise("start", 1).normal)
