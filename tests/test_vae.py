"""The VAE's loss and its likelihoods equal what the definitions say, computed another way."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.special import log_ndtr, logsumexp
from torch import Tensor, distributions, nn

from triptych.core.objective import Batch
from triptych.core.randomness import Draw
from triptych.measures.discretised import LEVEL_WIDTH, bits_per_dimension, discretised_gaussian_log_mass
from triptych.measures.likelihood import (
    LogLikelihood,
    calibrated_sigma,
    gaussian_log_density,
    importance_weights,
    iwae_bound,
)
from triptych.vae.network import LOG_VARIANCE_RANGE, VAE
from triptych.vae.objective import VAEObjective, gaussian_nll, kl_to_standard_normal, reparameterise

pytestmark = pytest.mark.usefixtures("one_thread")

LEVELS = torch.arange(256, dtype=torch.float64) / 127.5 - 1


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# --- The loss ---


def test_the_kl_is_that_of_torch():
    mu, log_var = numbers(5, 7), numbers(5, 7, seed=1)
    posterior = distributions.Normal(mu, (0.5 * log_var).exp())
    expected = distributions.kl_divergence(posterior, distributions.Normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(kl_to_standard_normal(mu, log_var), expected)
    assert kl_to_standard_normal(torch.zeros(1, 7), torch.zeros(1, 7)).item() == 0


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 2.0])
def test_the_nll_is_that_of_torch(sigma):
    x, mean = numbers(4, 3, 5, 6), numbers(4, 3, 5, 6, seed=1)
    expected = -distributions.Normal(mean, sigma).log_prob(x).flatten(1).sum(dim=1)
    torch.testing.assert_close(gaussian_nll(x, mean, sigma), expected)
    torch.testing.assert_close(-gaussian_log_density(x, mean, sigma).flatten(1).sum(dim=1), expected)


def test_the_loss_is_the_negative_elbo_of_one_sample():
    torch.manual_seed(0)
    objective = VAEObjective(VAE((3, 8, 8), [4, 8], 5), sigma=0.5).eval()
    images = numbers(6, 3, 8, 8).clamp(-1, 1)
    batch = Batch(images, torch.zeros(6, dtype=torch.int64))
    loss, terms = objective(batch, Draw("cpu", (0, "step", 0)))

    mu, log_var = objective.network.encode(images)
    z = mu + (0.5 * log_var).exp() * Draw("cpu", (0, "step", 0)).normal((6, 5))
    nll = -distributions.Normal(objective.network.decode(z), 0.5).log_prob(images).sum(dim=(1, 2, 3)).mean()
    kl = distributions.kl_divergence(
        distributions.Normal(mu, (0.5 * log_var).exp()), distributions.Normal(0.0, 1.0)
    ).sum(dim=1)
    torch.testing.assert_close(loss, nll + kl.mean())
    torch.testing.assert_close(terms["nll"], nll)
    torch.testing.assert_close(terms["kl"], kl.mean())
    assert not terms["nll"].requires_grad and not terms["kl"].requires_grad


def test_the_noise_of_z_follows_the_step():
    torch.manual_seed(0)
    objective = VAEObjective(VAE((1, 4, 4), [4], 2), sigma=1.0).eval()
    batch = Batch(numbers(3, 1, 4, 4), torch.zeros(3, dtype=torch.int64))
    losses = [objective(batch, Draw("cpu", (0, "step", step)))[0].item() for step in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


# --- The network ---


def test_the_report_s_network_has_its_parameters():
    """Counted by hand: 1.18 million, as the report says."""
    channels, latents = [32, 64, 128, 256], 32
    conv = sum(i * o * 16 + o + 2 * o for i, o in zip([3, *channels], channels, strict=False))  # 4x4, bias, batch norm
    heads = 2 * (256 * 2 * 2 * latents + latents)
    expand = latents * 256 * 2 * 2 + 256 * 2 * 2
    pairs = [(256, 128), (128, 64), (64, 32), (32, 3)]
    decoder = sum(i * o * 9 + o for i, o in pairs)
    count = sum(p.numel() for p in VAE((3, 32, 32), channels, latents).parameters())
    assert count == conv + heads + expand + decoder == 1_178_659


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 16, 16), (3, 48, 48)])
def test_shapes_of_codes_and_images(shape):
    network = VAE(shape, [4, 8], 6).eval()
    mu, log_var = network.encode(numbers(2, *shape))
    assert mu.shape == log_var.shape == (2, 6) and network.decode(mu).shape == (2, *shape)


def test_sizes_that_cannot_be_halved_are_refused():
    with pytest.raises(ValueError, match="divisible by 16"):
        VAE((3, 28, 28), [4, 8, 16, 32], 8)


def test_the_log_variance_is_bounded_and_the_kl_stays_finite():
    network = VAE((1, 4, 4), [4], 2).eval()
    for images in (1e6 * numbers(3, 1, 4, 4), -1e6 * numbers(3, 1, 4, 4)):
        mu, log_var = network.encode(images)
        assert LOG_VARIANCE_RANGE[0] <= log_var.min() and log_var.max() <= LOG_VARIANCE_RANGE[1]
        assert torch.isfinite(kl_to_standard_normal(mu, log_var)).all()


# --- Bounds, on a model whose likelihood is known ---


class LinearGaussian(nn.Module):
    """x = z W^T + sigma * noise, with orthogonal columns in W: the posterior is diagonal and p(x) is a Gaussian.

    `offset` moves the encoder's mean away from the true posterior, and `widen` its spread.
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
    # Each weight alone is p(x) already. The ELBO takes the KL in closed form, so its few samples leave it noise.
    torch.testing.assert_close(weights, exact[:, None].expand_as(weights), rtol=1e-4, atol=1e-3)
    assert (elbo - exact).mean().abs() < 0.3


def test_with_a_wrong_posterior_the_bounds_lie_below_and_rise_to_the_likelihood():
    network = LinearGaussian(sigma=0.5, offset=0.15, widen=1.3)
    x = network.draw(60)
    exact = network.log_likelihood(x).double()
    elbo, weights = bounds(network, x, samples=4096)

    def bound(k: int) -> float:
        """The mean over images and over all groups of k weights, so that Jensen's inequality holds exactly."""
        return iwae_bound(weights.reshape(-1, k)).mean().item()

    rising = [bound(k) for k in (1, 2, 8, 64, 512, 4096)]
    assert rising == sorted(rising) and rising[0] < rising[-1] - 0.3
    assert elbo.mean().item() == pytest.approx(rising[0], abs=0.02)
    assert rising[-1] == pytest.approx(exact.mean().item(), abs=0.02)


def test_the_elbo_of_a_real_network_lies_below_its_iwae_bound():
    torch.manual_seed(0)
    network = VAE((3, 8, 8), [4, 8], 4).eval()
    x = 0.2 * numbers(20, 3, 8, 8)  # away from black and white, whose levels hold the tails
    likelihoods = [density(0.5), partial(discretised_gaussian_log_mass, sigma=0.5)]
    measured = importance_weights(network, x, Draw("cpu", (0,)), 64, likelihoods, rows=100)
    bits = []
    for elbo, weights in measured:
        assert elbo.mean() < iwae_bound(weights).mean()
        bits.append(bits_per_dimension(elbo, 192, density=elbo is measured[0][0]))
    # Two likelihoods of the same samples of z: at this width a level's mass is its density times its width.
    torch.testing.assert_close(bits[0], bits[1], rtol=0, atol=0.01)


def test_the_block_size_only_bounds_the_memory():
    network = LinearGaussian(sigma=0.5)
    x = network.draw(10)
    shapes = [
        importance_weights(network, x, Draw("cpu", (0,)), 8, [density(0.5)], rows=rows)[0][1].shape
        for rows in (1, 8, 30, 1000)
    ]
    assert set(shapes) == {(10, 8)}


def test_the_iwae_bound_is_the_log_of_the_mean_weight():
    weights = 300 * numbers(5, 11).double()
    expected = logsumexp(weights.numpy(), axis=1) - math.log(11)
    np.testing.assert_allclose(iwae_bound(weights).numpy(), expected)


# --- The discretised likelihood and bits per dimension ---


def reference_log_mass(mean: float, sigma: float) -> np.ndarray:
    """(256,) by scipy in float64: differences of the distribution function, on the side that keeps their digits."""
    levels = LEVELS.numpy()
    above, below = (levels + LEVEL_WIDTH / 2 - mean) / sigma, (levels - LEVEL_WIDTH / 2 - mean) / sigma
    above[-1], below[0] = np.inf, -np.inf
    swap = below > 0  # the upper tail is the lower one of the mirrored distribution
    above, below = np.where(swap, -below, above), np.where(swap, -above, below)
    top = log_ndtr(above)
    return top + np.log1p(-np.exp(log_ndtr(below) - top))


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("mean", [-1.5, -1.0, -0.2, 0.0, 0.371, 1.0, 1.3])
def test_the_masses_of_the_256_levels_are_scipy_s_and_sum_to_one(mean, sigma):
    wide = discretised_gaussian_log_mass(LEVELS, torch.tensor(mean, dtype=torch.float64), sigma)
    np.testing.assert_allclose(wide.numpy(), reference_log_mass(mean, sigma), rtol=1e-8, atol=1e-8)
    assert wide.exp().sum().item() == pytest.approx(1, abs=1e-9)
    # In float32, as images are.
    narrow = discretised_gaussian_log_mass(LEVELS.float(), torch.tensor(mean), sigma)
    np.testing.assert_allclose(narrow.numpy(), reference_log_mass(mean, sigma), rtol=2e-3, atol=2e-3)
    assert narrow.exp().sum().item() == pytest.approx(1, abs=1e-3)


def test_the_mass_of_a_level_is_its_density_times_its_width_where_the_density_is_flat():
    x, mean = LEVELS[60:200].float(), torch.tensor(0.1)
    mass = discretised_gaussian_log_mass(x, mean, 0.5)
    torch.testing.assert_close(mass, gaussian_log_density(x, mean, 0.5) + math.log(LEVEL_WIDTH), rtol=0, atol=1e-3)


def test_unit_variance_costs_8_32_bits_even_when_every_pixel_is_right():
    """log2 of (255/2) levels times sqrt(2 pi): the floor that the report's likelihood cannot go below."""
    x = numbers(2, 3, 4, 4)
    bits = bits_per_dimension(-gaussian_nll(x, x, 1.0), 48, density=True)
    assert bits.tolist() == pytest.approx([math.log2(255 / 2 * math.sqrt(2 * math.pi))] * 2)
    assert bits[0].item() == pytest.approx(8.32, abs=0.005)


def test_bits_of_mass_need_no_level_width():
    assert bits_per_dimension(torch.tensor([-10 * math.log(256)]), 10, density=False).item() == pytest.approx(8)


# --- The calibrated sigma ---


class Constant(nn.Module):
    """Decodes everything to grey."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros(len(x), 2), torch.zeros(len(x), 2)

    def decode(self, z: Tensor) -> Tensor:
        return torch.zeros(len(z), 1, 8, 8)


def test_the_calibrated_sigma_is_the_root_of_the_mean_squared_error():
    x = 0.3 * numbers(50, 1, 8, 8)
    sigma = calibrated_sigma(Constant(), x, Draw("cpu", (0,)), batch_size=7)
    assert sigma == pytest.approx(x.double().square().mean().sqrt().item())


def test_no_other_sigma_explains_the_images_better():
    network = LinearGaussian(sigma=0.5)
    x = network.draw(200)
    best = calibrated_sigma(network, x, Draw("cpu", (0,)), batch_size=50)

    def nll(sigma: float) -> float:
        mu, log_var = network.encode(x)
        mean = network.decode(reparameterise(mu, log_var, Draw("cpu", (0,)).normal(tuple(mu.shape))))
        return gaussian_nll(x, mean, sigma).mean().item()

    assert nll(best) < min(nll(0.9 * best), nll(1.1 * best))
