"""Reverse runs from noise to images. Each takes a denoiser of variance-preserving images and the levels to visit.

Levels are alpha_bar, from the noisiest up to 1 (the image itself); `DenoisingObjective.levels` gives them.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from triptych.core.randomness import generator
from triptych.data.batches import to_uint8
from triptych.ddpm.denoising import DenoisingObjective
from triptych.ddpm.edm import sigma_of
from triptych.ddpm.process import posterior
from triptych.sampling.degeneracy import refuse_degenerate

Denoiser = Callable[[Tensor, float], Tensor]
# Standard normal numbers for the images at hand, new ones at each call.
Noise = Callable[[Tensor], Tensor]


def noise_from(stream: torch.Generator) -> Noise:
    """The noise of a stream, drawn for the images at hand."""
    return lambda x: torch.randn(x.shape, generator=stream, device=x.device)


def ancestral(denoise: Denoiser, x: Tensor, levels: list[float], noise: Noise) -> Tensor:
    """x' ~ q(x' | x, x0 = denoise(x)) with the posterior variance beta-tilde (Ho et al. 2020, algorithm 2)."""
    for level, following in zip(levels, levels[1:], strict=False):
        mean, variance = posterior(denoise(x, level), x, level, following)
        x = mean
        if variance > 0:
            x = x + variance**0.5 * noise(x)
    return x


def ddim(denoise: Denoiser, x: Tensor, levels: list[float], noise: Noise | None = None) -> Tensor:
    """The deterministic sampler (Song et al. 2021, arXiv:2010.02502, equation 12 with sigma = 0)."""
    for level, following in zip(levels, levels[1:], strict=False):
        x0 = denoise(x, level)
        epsilon = (x - level**0.5 * x0) / (1 - level) ** 0.5
        x = following**0.5 * x0 + (1 - following) ** 0.5 * epsilon
    return x


def dpm_solver(denoise: Denoiser, x: Tensor, levels: list[float], noise: Noise | None = None) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095, algorithm 2): second order at one evaluation a step.

    The first step and the last, which ends at zero noise, are of first order (DDIM's).
    """
    return _multistep(denoise, x, levels, None)


def sde_dpm_solver(denoise: Denoiser, x: Tensor, levels: list[float], noise: Noise) -> Tensor:
    """SDE-DPM-Solver++(2M) (Lu et al. 2022): the same for the reverse SDE, whose noise forgets earlier errors."""
    return _multistep(denoise, x, levels, noise)


def _multistep(denoise: Denoiser, x: Tensor, levels: list[float], noise: Noise | None) -> Tensor:
    earlier: Tensor | None = None
    earlier_h = 0.0
    for level, following in zip(levels, levels[1:], strict=False):
        x0 = denoise(x, level)
        if following >= 1:
            return x0
        # The step in lambda = log(alpha / sigma).
        h = math.log(sigma_of(level) / sigma_of(following))
        mixed = x0 if earlier is None else x0 + (x0 - earlier) * (h / (2 * earlier_h))
        # Along the SDE x shrinks by another exp(-h), and fresh noise takes its place.
        kept = math.exp(-h) if noise else 1.0
        noise_ratio = ((1 - following) / (1 - level)) ** 0.5
        x = noise_ratio * kept * x + following**0.5 * (1 - math.exp(-h) * kept) * mixed
        if noise:
            x = x + ((1 - following) * (1 - kept**2)) ** 0.5 * noise(x)
        earlier, earlier_h = x0, h
    return x


def heun(denoise: Denoiser, x: Tensor, levels: list[float], noise: Noise | None = None) -> Tensor:
    """Heun's second-order method on dx/dsigma = (x - D(x)) / sigma (Karras et al. 2022, algorithm 1).

    It works on x / sqrt(alpha_bar), the image plus noise of standard deviation sigma.
    """

    def slope(image: Tensor, level: float) -> Tensor:
        return (image - denoise(level**0.5 * image, level)) / sigma_of(level)

    image = x / levels[0] ** 0.5
    for level, following in zip(levels, levels[1:], strict=False):
        step = sigma_of(following) - sigma_of(level)
        before = slope(image, level)
        moved = image + step * before
        if following < 1:
            moved = image + step * (before + slope(moved, following)) / 2
        image = moved
    return levels[-1] ** 0.5 * image


SAMPLERS = {
    "ancestral": ancestral,
    "ddim": ddim,
    "dpm_solver": dpm_solver,
    "sde_dpm_solver": sde_dpm_solver,
    "heun": heun,
}


def evaluations(name: str, steps: int) -> int:
    """How often a sampler calls the network for one image."""
    return 2 * steps - 1 if name == "heun" else steps


@torch.inference_mode()
def reverse(
    method: DenoisingObjective,
    x: Tensor,
    start: float | None,
    name: str,
    steps: int,
    noise: Noise,
) -> Tensor:
    """Images (B, C, H, W) float from noisy ones.

    Args:
        method: the trained method, in eval mode on the device of x.
        x: variance-preserving images at the level `start`.
        start: their alpha_bar; None for pure noise.
        name: one of SAMPLERS.
        steps: of the reverse run.
        noise: for samplers that add any.
    """

    def clipped(images: Tensor, level: float) -> Tensor:
        # Images lie in [-1, 1]; without the clip, errors at high noise grow along the chain (Ho et al. 2020).
        return method.denoise(images, level).clamp(-1, 1)

    return SAMPLERS[name](clipped, x.contiguous(memory_format=torch.channels_last), method.levels(steps, start), noise)


def draw_images(
    method: DenoisingObjective,
    shape: tuple[int, int, int],
    count: int,
    name: str,
    steps: int,
    seed: int,
    batch_size: int,
    device: torch.device,
) -> Tensor:
    """(count, C, H, W) float on the CPU; image i starts from the same noise whatever the weights, sampler and count."""
    parts = []
    for start in range(0, count, batch_size):
        rows = min(batch_size, count - start)
        # The whole batch is drawn even when fewer are wanted, so that an image does not depend on `count`.
        stream = generator(device, seed, "samples", start)

        def noise(_: Tensor | None = None, stream: torch.Generator = stream, rows: int = rows) -> Tensor:
            return torch.randn((batch_size, *shape), generator=stream, device=device)[:rows]

        parts.append(reverse(method, noise(), None, name, steps, noise).cpu())
    return torch.cat(parts)


def checked(images: Tensor) -> Tensor:
    """uint8 samples from float ones.

    Raises:
        InputError: the samples are not finite, of one colour, or clipped all over.
    """
    refuse_degenerate(images)
    return to_uint8(images)
