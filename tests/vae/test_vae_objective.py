"""The loss of the VAE equals an independent computation of its definition."""

import pytest
import torch
from torch import Tensor, distributions

from triptych.machine.randomness import Draw
from triptych.training.objective import Batch
from triptych.vae.model import VAE
from triptych.vae.objective import VAEObjective, gaussian_nll, kl_to_standard_normal

pytestmark = pytest.mark.usefixtures("one_thread")


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_kl_is_that_of_torch():
    mu, log_var = numbers(5, 7), numbers(5, 7, seed=1)
    posterior = distributions.Normal(mu, (0.5 * log_var).exp())
    expected = distributions.kl_divergence(posterior, distributions.Normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(kl_to_standard_normal(mu, log_var), expected)
    assert kl_to_standard_normal(torch.zeros(1, 7), torch.zeros(1, 7)).item() == 0


def test_the_nll_is_that_of_torch():
    x, mean = numbers(4, 3, 5, 6), numbers(4, 3, 5, 6, seed=1)
    for sigma in (0.1, 0.5, 1.0, 2.0):
        expected = -distributions.Normal(mean, sigma).log_prob(x).flatten(1).sum(dim=1)
        torch.testing.assert_close(gaussian_nll(x, mean, sigma), expected)


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


def test_the_noise_of_z_depends_on_the_step():
    torch.manual_seed(0)
    objective = VAEObjective(VAE((1, 4, 4), [4], 2), sigma=1.0).eval()
    batch = Batch(numbers(3, 1, 4, 4), torch.zeros(3, dtype=torch.int64))
    losses = [objective(batch, Draw("cpu", (0, "step", step)))[0].item() for step in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]
