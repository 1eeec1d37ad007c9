"""The terms of the variational bound are KL divergences of Gaussians, and random terms estimate it without bias."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from toy_diffusion import LINEAR, Constant, images, noise_like, process

from triptych.ddpm.measure import diffusion_term, prior_term, strata, variational_bound
from triptych.ddpm.objective import DiffusionObjective, posterior


def test_prior_term_is_the_kl_of_two_gaussians() -> None:
    x0, alpha_bar = images().double(), 0.3
    kl = kl_divergence(Normal(alpha_bar**0.5 * x0, (1 - alpha_bar) ** 0.5), Normal(0.0, 1.0)).flatten(1).sum(dim=1)
    torch.testing.assert_close(prior_term(x0, alpha_bar), kl)


@pytest.mark.parametrize("t", [2, 100, 1000])
def test_diffusion_term_is_the_kl_of_the_two_posteriors(t: int) -> None:
    alpha_bars = DiffusionObjective(Constant(), process()).alpha_bars
    x0, guess, x_t = images().double(), images().double().flip(0), noise_like(images()).double()
    pair = alpha_bars[t], alpha_bars[t - 1]
    (q_mean, variance), (p_mean, _) = posterior(x0, x_t, *pair), posterior(guess, x_t, *pair)
    sigma = variance**0.5
    kl = kl_divergence(Normal(q_mean, sigma), Normal(p_mean, sigma)).flatten(1).sum(dim=1)
    levels = np.full(8, alpha_bars[t]), np.full(8, alpha_bars[t - 1])
    torch.testing.assert_close(diffusion_term(x0, guess, *levels), kl)


@pytest.mark.parametrize(("last", "count"), [(1000, 40), (1000, 999), (1000, 5), (10, 40)])
def test_strata_contain_each_time_once(last: int, count: int) -> None:
    runs = strata(2, last, count)
    assert [t for low, high in runs for t in range(low, high)] == list(range(2, last + 1))
    assert len(runs) <= count


class Oracle(DiffusionObjective):
    """A denoiser that always predicts the same image."""

    answer: Tensor

    def denoise(self, x: Tensor, alpha_bar: object) -> Tensor:
        return self.answer.expand_as(x)


def test_bound_of_a_perfect_denoiser_is_prior_and_decoder_alone() -> None:
    method = Oracle(Constant(), process())
    method.answer = (images(1) * 127.5).round() / 127.5
    parts = variational_bound(method, method.answer.repeat(4, 1, 1, 1), 1000, 20, seed=0, batch_size=3)
    assert np.abs(parts["diffusion"]).max() == 0
    # The decoder's Gaussian is about as wide as a grey level, which costs about one bit for any image.
    assert 0 < parts["decoder"].mean() < 2
    assert 0 < parts["prior"].mean() < 1e-4


def test_the_bound_of_an_image_does_not_depend_on_batch_size_or_number_of_images() -> None:
    method = Oracle(Constant(), process())
    method.answer = torch.zeros(1, 3, 8, 8)
    x0 = images(10)
    whole, batched, fewer = (
        variational_bound(method, x0[:count], 1000, 20, seed=0, batch_size=size)
        for count, size in ((10, 10), (10, 3), (4, 4))
    )
    assert whole["diffusion"].std() > 0
    for part, bits in whole.items():
        np.testing.assert_array_equal(batched[part], bits)
        np.testing.assert_array_equal(fewer[part], bits[:4])


def test_drawn_terms_of_the_bound_are_unbiased() -> None:
    method = Oracle(Constant(), process(schedule=LINEAR | {"steps": 100}))
    method.answer = torch.zeros(1, 3, 8, 8)
    x0 = images(1).repeat(2000, 1, 1, 1)
    whole = variational_bound(method, x0[:1], 100, 99, seed=0, batch_size=1)["diffusion"]
    drawn = variational_bound(method, x0, 100, 6, seed=0, batch_size=500)["diffusion"]
    assert abs(drawn.mean() - whole[0]) < 4 * drawn.std() / math.sqrt(2000)
