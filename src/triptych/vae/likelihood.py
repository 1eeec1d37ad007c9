"""Likelihood of images under a VAE, in bits per dimension, with the likelihood named each time."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from triptych.machine.randomness import Draw
from triptych.vae.model import VAE
from triptych.vae.objective import kl_to_standard_normal, reparameterise

# Elementwise log-probability of images given the decoder's mean.
LogLikelihood = Callable[[Tensor, Tensor], Tensor]


def log_normal(x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """log N(x; mean, exp(log_var)) summed over the last dimension."""
    return -0.5 * ((x - mean).square() / log_var.exp() + log_var + math.log(2 * math.pi)).sum(dim=-1)


def gaussian_log_density(x: Tensor, mean: Tensor, sigma: float) -> Tensor:
    """Elementwise log-density of N(mean, sigma²) on images scaled to [-1, 1]."""
    return -0.5 * ((x - mean) / sigma).square() - math.log(sigma) - 0.5 * math.log(2 * math.pi)


@torch.inference_mode()
def calibrated_sigma(network: VAE, images: Tensor, draw: Draw, batch_size: int) -> float:
    """The sigma that maximises E_q[log N(x; decoder(z), sigma² I)] on images (N, C, H, W) in [-1, 1], in closed form.

    It is the root of the mean squared error with z drawn from q (Rybkin et al. 2021, arXiv:2006.13202, equation 6).
    """
    mu, log_var = _posteriors(network, images, batch_size)
    # At once for all images, so that the noise of an image does not depend on the batch.
    z = reparameterise(mu, log_var, draw.normal(tuple(mu.shape)))
    errors = [
        (block - network.decode(code)).square().flatten(1).mean(dim=1)
        for block, code in zip(images.split(batch_size), z.split(batch_size), strict=True)
    ]
    return float(torch.cat(errors).double().mean().sqrt())


@torch.inference_mode()
def importance_weights(
    network: VAE, images: Tensor, draw: Draw, samples: int, likelihoods: Sequence[LogLikelihood], rows: int
) -> list[tuple[Tensor, Tensor]]:
    """The evidence lower bound and log importance weights of each image, under each likelihood for the same z.

    Args:
        images: (N, C, H, W) in [-1, 1].
        samples: K, samples of z per image.
        likelihoods: elementwise log p(x|z) from (x, mean), e.g. of `gaussian_log_density`.
        rows: how many decoded images to hold at once.

    Returns:
        For each likelihood the ELBO (N,), with the exact KL and the mean nll over the K samples, and
        log w = log p(x|z) + log p(z) - log q(z|x), (N, K); both in nats.
    """
    elbos: list[list[Tensor]] = [[] for _ in likelihoods]
    weights: list[list[Tensor]] = [[] for _ in likelihoods]
    every_mu, every_log_var = _posteriors(network, images, rows)
    # At once for all images, so that the noise of an image does not depend on the batch.
    epsilon = draw.normal((len(images), samples, every_mu.shape[1]))
    parts = (tensor.split(max(1, rows // samples)) for tensor in (images, every_mu, every_log_var, epsilon))
    for block, mu, log_var, noise in zip(*parts, strict=True):
        many_mu, many_log_var = (t.repeat_interleave(samples, dim=0) for t in (mu, log_var))
        z = reparameterise(many_mu, many_log_var, noise.flatten(0, 1))
        targets, mean = block.repeat_interleave(samples, dim=0), network.decode(z)
        prior = log_normal(z, torch.zeros_like(z), torch.zeros_like(z)).view(-1, samples)
        posterior = log_normal(z, many_mu, many_log_var).view(-1, samples)
        kl = kl_to_standard_normal(mu, log_var)
        for number, log_likelihood in enumerate(likelihoods):
            log_x = log_likelihood(targets, mean).flatten(1).sum(dim=1).view(-1, samples)
            elbos[number].append(log_x.mean(dim=1) - kl)
            weights[number].append(log_x + prior - posterior)
    return [(torch.cat(elbo), torch.cat(weight)) for elbo, weight in zip(elbos, weights, strict=True)]


def _posteriors(network: VAE, images: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Mean and log-variance of q(z|x), (N, latents) each, with so many images at once."""
    means, log_vars = zip(*(network.encode(block) for block in images.split(rows)), strict=True)
    return torch.cat(means), torch.cat(log_vars)


def iwae_bound(log_weights: Tensor) -> Tensor:
    """log (1/K) sum_k w_k of (N, K) log weights: the importance-weighted bound (Burda et al. 2016, equation 8)."""
    return log_weights.double().logsumexp(dim=1) - math.log(log_weights.shape[1])
