"""Reverse runs from noise to images, given a denoiser of variance-preserving images and the levels to visit.

Levels are alpha_bar, from the noisiest up to 1 (the image itself), as `DenoisingObjective.levels` returns them.
"""

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from triptych.core.errors import InputError
from triptych.ddpm.objective import posterior, sigma_of
from triptych.machine.randomness import ImageNoise
from triptych.measures.degeneracy import refuse_degenerate
from triptych.training.objective import to_uint8

Denoiser = Callable[[Tensor, float], Tensor]
# Returns new standard normal numbers for the images at hand at each call, as `ImageNoise.normal` does.
Noise = Callable[[], Tensor]
# Largest alpha_bar of the noisiest level that may be replaced by pure noise. At 0.01 its images keep 1% of the data's
# variance and a tenth of its mean; with more, samples would start from images that the network never saw.
MOST_SIGNAL = 0.01
# Largest factor by which sigma may fall in Heun's first step. Where sigma is large against the data's spread c, a step
# to sigma' costs Euler's method an error of c² (sigma - sigma')² / (2 sigma² sigma'), and Heun's method
# (sigma - sigma') / sigma' times as much.
LARGEST_FALL = 2.0


class Denoising(Protocol):
    """The interface that a reverse run needs; see `DenoisingObjective`."""

    def denoise(self, x: Tensor, alpha_bar: float) -> Tensor:
        """E[x0 | x], (B, C, H, W) float32."""

    def levels(self, steps: int, start: float | None = None) -> list[float]:
        """Return the `steps` + 1 noise levels of a reverse run."""


def ancestral(denoise: Denoiser, x: Tensor, levels: list[float], noise: Noise) -> Tensor:
    """x' ~ q(x' | x, x0 = denoise(x)) with the posterior variance beta-tilde (Ho et al. 2020, algorithm 2)."""
    for level, following in zip(levels, levels[1:], strict=False):
        mean, variance = posterior(denoise(x, level), x, level, following)
        x = mean
        if variance > 0:
            x = x + variance**0.5 * noise()
    return x


def ddim(denoise: Denoiser, x: Tensor, levels: list[float], noise: Noise | None = None) -> Tensor:
    """The deterministic sampler (Song et al. 2021, arXiv:2010.02502, equation 12 with sigma = 0)."""
    for level, following in zip(levels, levels[1:], strict=False):
        x0 = denoise(x, level)
        epsilon = (x - level**0.5 * x0) / (1 - level) ** 0.5
        x = following**0.5 * x0 + (1 - following) ** 0.5 * epsilon
    return x


def dpm_solver(denoise: Denoiser, x: Tensor, levels: list[float], noise: Noise | None = None) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095, algorithm 2): second order at one evaluation per step.

    The first step and the last, which ends at zero noise, are of first order (DDIM's).
    """
    return _multistep(denoise, x, levels, None)


def sde_dpm_solver(denoise: Denoiser, x: Tensor, levels: list[float], noise: Noise) -> Tensor:
    """SDE-DPM-Solver++(2M) (Lu et al. 2022): the same for the reverse SDE, whose fresh noise removes earlier errors."""
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
            x = x + ((1 - following) * (1 - kept**2)) ** 0.5 * noise()
        earlier, earlier_h = x0, h
    return x


def heun(denoise: Denoiser, x: Tensor, levels: list[float], noise: Noise | None = None) -> Tensor:
    """Heun's second-order method on dx/dsigma = (x - D(x)) / sigma (Karras et al. 2022, algorithm 1).

    It works on x / sqrt(alpha_bar), the image plus noise of standard deviation sigma. Steps that are not
    `second_order` are Euler's.
    """

    def slope(image: Tensor, level: float) -> Tensor:
        return (image - denoise(level**0.5 * image, level)) / sigma_of(level)

    image = x / levels[0] ** 0.5
    for level, following, corrected in zip(levels, levels[1:], second_order(levels), strict=False):
        step = sigma_of(following) - sigma_of(level)
        before = slope(image, level)
        moved = image + step * before
        if corrected:
            moved = image + step * (before + slope(moved, following)) / 2
        image = moved
    return levels[-1] ** 0.5 * image


def second_order(levels: list[float]) -> list[bool]:
    """Return for each of Heun's steps whether it is of second order.

    Two are not: a step that ends at zero noise, where the slope has no value, and a first step in which sigma falls by
    more than LARGEST_FALL. A chain whose alpha_bar ends near 0 begins at a sigma of thousands, where Euler's step is
    the more accurate one.
    """
    inner = [following < 1 for following in levels[1:]]
    return [inner[0] and sigma_of(levels[0]) <= LARGEST_FALL * sigma_of(levels[1]), *inner[1:]]


SAMPLERS = {
    "ancestral": ancestral,
    "ddim": ddim,
    "dpm_solver": dpm_solver,
    "sde_dpm_solver": sde_dpm_solver,
    "heun": heun,
}


def evaluations(name: str, levels: list[float]) -> int:
    """Number of network calls of a sampler for one image."""
    return len(levels) - 1 + (sum(second_order(levels)) if name == "heun" else 0)


@torch.inference_mode()
def reverse(method: Denoising, x: Tensor, start: float | None, name: str, steps: int, noise: Noise) -> Tensor:
    """Denoise variance-preserving images x at the level `start`, or from pure noise if `start` is None.

    Args:
        method: in eval mode on the device of x.
        x: (B, C, H, W) float.
        start: alpha_bar of x.
        name: one of SAMPLERS.
        steps: number of steps.
        noise: used by the stochastic samplers.

    Raises:
        InputError: x is pure noise, but the method's noisiest level is not; see `refuse_signal`.
    """
    levels = method.levels(steps, start)
    if start is None:
        refuse_signal(levels[0])

    def clipped(images: Tensor, level: float) -> Tensor:
        # Images lie in [-1, 1]; without the clip, errors at high noise grow along the chain (Ho et al. 2020).
        return method.denoise(images, level).clamp(-1, 1)

    return SAMPLERS[name](clipped, x.contiguous(memory_format=torch.channels_last), levels, noise)


def refuse_signal(noisiest: float) -> None:
    """Raise InputError if a method's noisiest level keeps more than MOST_SIGNAL of the images' variance."""
    if noisiest > MOST_SIGNAL:
        raise InputError(
            f"ddpm.process: the noisiest level keeps {noisiest:.1%} of the images' variance, so samples cannot start "
            f"from pure noise; at most {MOST_SIGNAL:.0%} is allowed: use more steps, a larger last_beta or sigma_max, "
            "or a cosine schedule"
        )


def draw_images(
    method: Denoising,
    shape: tuple[int, int, int],
    count: int,
    name: str,
    steps: int,
    seed: int,
    batch_size: int,
    device: torch.device,
) -> Tensor:
    """Sample (count, C, H, W) float images, returned on the CPU.

    Image i starts from the same noise whatever the weights, sampler and count.
    """
    batches = []
    for start in range(0, count, batch_size):
        rows = range(start, min(start + batch_size, count))
        noise = ImageNoise(seed, "samples", rows, shape, device).normal
        batches.append(reverse(method, noise(), None, name, steps, noise).cpu())
    return torch.cat(batches)


def checked(images: Tensor) -> Tensor:
    """Convert float samples to uint8; raise InputError if they are no images, see `refuse_degenerate`."""
    refuse_degenerate(images)
    return to_uint8(images)
