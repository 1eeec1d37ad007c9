"""The variational bound of a diffusion model on 8-bit images (Ho et al. 2020, equation 5), in bits per dimension."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from triptych.ddpm.denoising import DenoisingObjective, add_noise
from triptych.ddpm.process import posterior_variance
from triptych.machine.randomness import ImageNoise
from triptych.measures.discretised import bits_per_dimension, discretised_gaussian_log_mass

PARTS = ("prior", "diffusion", "decoder")


def prior_term(x0: Tensor, alpha_bar: float) -> Tensor:
    """L_T = KL(q(x_T | x0) || N(0, I)) of each image, in nats."""
    variance = 1 - alpha_bar
    squares = alpha_bar * x0.double().square().flatten(1).sum(dim=1)
    return 0.5 * (squares + x0[0].numel() * (variance - 1 - np.log(variance)))


def diffusion_term(x0: Tensor, predicted: Tensor, alpha_bar: np.ndarray, next_alpha_bar: np.ndarray) -> Tensor:
    """KL(q(x' | x, x0) || p(x' | x)) of each image, in nats, where p is q with x0 replaced by its prediction.

    Both are Gaussians of variance beta-tilde, and the KL is half the gain in signal-to-noise times the squared error
    of x0 (Kingma et al. 2021, arXiv:2107.00630, equation 13).
    """
    gain = next_alpha_bar / (1 - next_alpha_bar) - alpha_bar / (1 - alpha_bar)
    errors = (x0 - predicted).double().square().flatten(1).sum(dim=1)
    return 0.5 * torch.as_tensor(gain, device=errors.device) * errors


def strata(first: int, last: int, count: int) -> list[tuple[int, int]]:
    """The whole numbers from `first` to `last` in at most `count` runs [low, high), whose lengths grow geometrically.

    The terms of the bound are largest, and differ most, at small t.
    """
    bounds = np.geomspace(first, last + 1, count + 1).round().astype(int)
    # Where a geometric run would hold no number at all, it gets one.
    bounds = np.maximum(bounds, first + np.arange(count + 1)).clip(max=last + 1)
    return [(low, high) for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True) if low < high]


@torch.inference_mode()
def variational_bound(
    method: DenoisingObjective, images: Tensor, steps: int, times: int, seed: int, batch_size: int
) -> dict[str, np.ndarray]:
    """Upper bound on -log p(x0) for each image, split into its parts; their sum is the bound.

    The sum over t = 2 to T is estimated without bias: t is drawn once from each of `times` runs of the chain. The
    reverse variance is beta-tilde, and the decoder at t = 1 takes beta-tilde of t = 2, as its own is zero.

    Args:
        method: the trained method, in eval mode on the device of the images.
        images: (N, C, H, W) float in [-1, 1].
        steps: T, the length of the chain.
        times: how many terms are drawn for each image.
        seed: of the noise and the times.
        batch_size: images at once.

    Returns:
        prior, diffusion and decoder: (N,) bits per dimension each.
    """
    # Index t of the chain, t = 0 being the image itself.
    chain = np.array(method.levels(steps)[::-1])
    variance = posterior_variance(chain[2], chain[1])
    nats: dict[str, list[Tensor]] = {part: [] for part in PARTS}
    for start in range(0, len(images), batch_size):
        x0 = images[start : start + batch_size]
        rows = range(start, start + len(x0))
        noise = ImageNoise(seed, "bound", rows, tuple(x0.shape[1:]), x0.device).normal
        nats["prior"].append(prior_term(x0, chain[-1]))
        terms = [
            (high - low) * _diffusion_at(method, x0, chain, t, noise())
            for (low, high), t in _drawn_times(steps, times, rows, seed)
        ]
        nats["diffusion"].append(torch.stack(terms).sum(dim=0))
        mean = method.denoise(add_noise(x0, chain[1], noise()), chain[1]).clamp(-1, 1)
        nats["decoder"].append(-discretised_gaussian_log_mass(x0, mean, variance**0.5).double().flatten(1).sum(dim=1))
    dimensions = images[0].numel()
    return {part: bits_per_dimension(-torch.cat(nats[part]), dimensions, False).cpu().numpy() for part in PARTS}


def _drawn_times(steps: int, times: int, rows: range, seed: int) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
    """Each run of t in 2 to T, with a t from it for each of the images `rows`."""
    draw = ImageNoise(seed, "bound times", rows, (), "cpu")
    for low, high in strata(2, steps, times):
        yield (low, high), draw.integers(low, high).numpy()


def _diffusion_at(method: DenoisingObjective, x0: Tensor, chain: np.ndarray, t: np.ndarray, epsilon: Tensor) -> Tensor:
    x_t = add_noise(x0, chain[t], epsilon)
    return diffusion_term(x0, method.denoise(x_t, chain[t]).clamp(-1, 1), chain[t], chain[t - 1])
