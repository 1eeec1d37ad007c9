"""Bounds on the likelihood for a model of known likelihood, and the calibrated sigma."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from torch import Tensor, distributions, nn

from triptych.machine.randomness import Draw
from triptych.measures.discretised import bits_per_dimension, discretised_gaussian_log_mass
from triptych.vae.measure import (
    LogLikelihood,
    calibrated_sigma,
    gaussian_log_density,
    importance_weights,
    iwae_bound,
)
from triptych.vae.model import VAE
from triptych.vae.objective import gaussian_nll, reparameterise

pytestmark = pytest.mark.usefixtures("one_thread")


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_density_is_that_of_torch_and_of_the_training_loss():
    x, mean = numbers(4, 3, 5, 6), numbers(4, 3, 5, 6, seed=1)
    for sigma in (0.1, 0.5, 1.0, 2.0):
        density = gaussian_log_density(x, mean, sigma)
        torch.testing.assert_close(density, distributions.Normal(mean, sigma).log_prob(x))
        torch.testing.assert_close(-density.flatten(1).sum(dim=1), gaussian_nll(x, mean, sigma))


# --- Bounds for a model of known likelihood ---


class LinearGaussian(nn.Module):
    """x = z W^T + sigma * noise, with orthogonal columns in W: the posterior is diagonal and p(x) is a Gaussian.

    `offset` shifts the encoder's mean from the true posterior mean; `widen` scales its standard deviation.
    """

    def __init__(self, sigma: float, offset: float = 0.0, widen: float = 1.0) -> None:
        super().__init__()
        directions = torch.linalg.qr(numbers(16, 3)).Q
        self.weight = nn.Parameter(directions * torch.tensor([0.5, 1.0, 2.0]), requires_grad=False)
        self.sigma, self.offset, self.widen = sigma, offset, widen

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        precision = 1 + self.weight.square().sum(dim=0) / self.sigma**2
        mean = x.flatten(1) @ self.weight / self.sigma**2 / precision
        return mean + self.offset, (self.widen**2 / precision).log().expand_as(mean)

    def decode(self, z: Tensor) -> Tensor:
        return (z @ self.weight.T).view(-1, 1, 4, 4)

    def log_likelihood(self, x: Tensor) -> Tensor:
        covariance = self.weight @ self.weight.T + self.sigma**2 * torch.eye(16)
        return distributions.MultivariateNormal(torch.zeros(16), covariance).log_prob(x.flatten(1))

    def draw(self, count: int) -> Tensor:
        return self.decode(numbers(count, 3, seed=5)) + self.sigma * numbers(count, 1, 4, 4, seed=6)


def density(sigma: float) -> LogLikelihood:
    return partial(gaussian_log_density, sigma=sigma)


def bounds(network: LinearGaussian, x: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    draw = Draw("cpu", (0, "bounds"))
    [(elbo, weights)] = importance_weights(network, x, draw, samples, [density(network.sigma)], rows=400)
    assert weights.shape == (len(x), samples)
    return elbo.double(), weights.double()


def test_with_the_true_posterior_every_bound_is_the_likelihood():
    network = LinearGaussian(sigma=0.5)
    x = network.draw(50)
    elbo, weights = bounds(network, x, samples=4)
    exact = network.log_likelihood(x).double()
    torch.testing.assert_close(iwae_bound(weights), exact, rtol=1e-4, atol=1e-3)
    # Each weight equals p(x). The ELBO has the KL in closed form, so it is noisy with few samples.
    torch.testing.assert_close(weights, exact[:, None].expand_as(weights), rtol=1e-4, atol=1e-3)
    assert (elbo - exact).mean().abs() < 0.3


def test_with_a_wrong_posterior_the_bounds_lie_below_and_rise_to_the_likelihood():
    network = LinearGaussian(sigma=0.5, offset=0.15, widen=1.3)
    x = network.draw(60)
    exact = network.log_likelihood(x).double()
    elbo, weights = bounds(network, x, samples=4096)

    def bound(k: int) -> float:
        """Return the mean over images and groups of k weights, for which Jensen's inequality is exact."""
        return iwae_bound(weights.reshape(-1, k)).mean().item()

    rising = [bound(k) for k in (1, 2, 8, 64, 512, 4096)]
    assert rising == sorted(rising) and rising[0] < rising[-1] - 0.3
    assert elbo.mean().item() == pytest.approx(rising[0], abs=0.02)
    assert rising[-1] == pytest.approx(exact.mean().item(), abs=0.02)


def test_the_elbo_of_a_real_network_lies_below_its_iwae_bound():
    torch.manual_seed(0)
    network = VAE((3, 8, 8), [4, 8], 4).eval()
    x = 0.2 * numbers(20, 3, 8, 8)  # away from black and white, whose levels include the tails
    likelihoods = [density(0.5), partial(discretised_gaussian_log_mass, sigma=0.5)]
    measured = importance_weights(network, x, Draw("cpu", (0,)), 64, likelihoods, rows=100)
    bits = []
    for elbo, weights in measured:
        assert elbo.mean() < iwae_bound(weights).mean()
        bits.append(bits_per_dimension(elbo, 192, density=elbo is measured[0][0]))
    # Two likelihoods of the same samples of z: at this width a level's mass is its density times its width.
    torch.testing.assert_close(bits[0], bits[1], rtol=0, atol=0.01)


def test_the_block_size_only_bounds_the_memory():
    """The noise of an image does not depend on the block size; only the order of sums may change."""
    network = LinearGaussian(sigma=0.5, widen=1.3)
    x = network.draw(10)
    (elbo, weights), *others = [
        importance_weights(network, x, Draw("cpu", (0,)), 8, [density(0.5)], rows=rows)[0] for rows in (1, 8, 30, 1000)
    ]
    assert weights.shape == (10, 8)
    for other_elbo, other_weights in others:
        torch.testing.assert_close(other_elbo, elbo)
        torch.testing.assert_close(other_weights, weights)
    sigmas = [calibrated_sigma(network, x, Draw("cpu", (0,)), batch_size=size) for size in (3, 10)]
    assert sigmas[0] == pytest.approx(sigmas[1])


def test_the_iwae_bound_is_the_log_of_the_mean_weight():
    weights = 300 * numbers(5, 11).double()
    expected = logsumexp(weights.numpy(), axis=1) - math.log(11)
    np.testing.assert_allclose(iwae_bound(weights).numpy(), expected)


# --- The calibrated sigma ---


class Constant(nn.Module):
    """A model that decodes every z to grey."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros(len(x), 2), torch.zeros(len(x), 2)

    def decode(self, z: Tensor) -> Tensor:
        return torch.zeros(len(z), 1, 8, 8)


def test_the_calibrated_sigma_is_the_root_of_the_mean_squared_error():
    x = 0.3 * numbers(50, 1, 8, 8)
    sigma = calibrated_sigma(Constant(), x, Draw("cpu", (0,)), batch_size=7)
    assert sigma == pytest.approx(x.double().square().mean().sqrt().item())


def test_the_calibrated_sigma_minimises_the_nll():
    network = LinearGaussian(sigma=0.5)
    x = network.draw(200)
    best = calibrated_sigma(network, x, Draw("cpu", (0,)), batch_size=50)

    def nll(sigma: float) -> float:
        mu, log_var = network.encode(x)
        mean = network.decode(reparameterise(mu, log_var, Draw("cpu", (0,)).normal(tuple(mu.shape))))
        return gaussian_nll(x, mean, sigma).mean().item()

    assert nll(best) < min(nll(0.9 * best), nll(1.1 * best))
