"""Training objective of the VAE: the negative evidence lower bound (Kingma & Welling 2014, arXiv:1312.6114)."""

import math

from torch import Tensor

from triptych.machine.randomness import Draw
from triptych.training.objective import Batch, Objective
from triptych.vae.model import VAE


def kl_to_standard_normal(mu: Tensor, log_var: Tensor) -> Tensor:
    """Return KL(N(mu, exp(log_var)) || N(0, I)) in nats for each row of `mu` and `log_var` (B, latents)."""
    return 0.5 * (mu.square() + log_var.exp() - 1 - log_var).sum(dim=1)


def gaussian_nll(x: Tensor, mean: Tensor, sigma: float) -> Tensor:
    """Return -log N(x; mean, sigma² I) in nats for each of B images. `x` and `mean` have the shape (B, C, H, W)."""
    dimensions = x[0].numel()
    squared_error = (x - mean).square().flatten(1).sum(dim=1)
    return 0.5 * squared_error / sigma**2 + dimensions * (math.log(sigma) + 0.5 * math.log(2 * math.pi))


def reparameterise(mu: Tensor, log_var: Tensor, epsilon: Tensor) -> Tensor:
    """Return z = mu + exp(log_var / 2) * epsilon. If epsilon ~ N(0, I), then z ~ N(mu, exp(log_var))."""
    return mu + (0.5 * log_var).exp() * epsilon


class VAEObjective(Objective):
    """Negative ELBO, E_q[-log p(x|z)] + KL(q(z|x) || p(z)), for p(x|z) = N(decoder(z), sigma² I), p(z) = N(0, I)."""

    def __init__(self, network: VAE, sigma: float) -> None:
        super().__init__()
        self.network, self.sigma = network, sigma

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean loss per image in nats, and a dict of its terms `nll` (negative log-likelihood) and `kl`."""
        mu, log_var = self.network.encode(batch.images)
        z = reparameterise(mu, log_var, draw.normal(tuple(mu.shape)))
        nll = gaussian_nll(batch.images, self.network.decode(z).float(), self.sigma).mean()
        kl = kl_to_standard_normal(mu, log_var).mean()
        return nll + kl, {"nll": nll.detach(), "kl": kl.detach()}
