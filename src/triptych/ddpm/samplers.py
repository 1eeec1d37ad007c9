"""Samplers: functions that turn noise into images step by step, given a denoiser and a list of noise levels.

Noise levels are values of alpha_bar. They increase to 1, which means no noise; see `triptych.ddpm.objective`.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from triptych.core.errors import InputError
from triptych.ddpm.objective import Denoising, posterior, sigma_of
from triptych.measures.degeneracy import refuse_degenerate
from triptych.measures.images import ImageNoise, to_uint8

Denoiser = Callable[[Tensor, float], Tensor]
# Returns new standard normal numbers for a batch of images at each call, as `ImageNoise.normal` does.
Noise = Callable[[], Tensor]
# Largest alpha_bar of the noisiest level that pure noise may replace. Images at 0.01 keep 1% of the data's variance and
# a tenth of its mean. At larger levels, samples would start from inputs that the network was not trained on.
MOST_SIGNAL = 0.01
# Largest factor by which sigma may fall in a second-order Heun step. For sigma far above the data's spread c, a step to
# sigma' has an error of c² (sigma - sigma')² / (2 sigma² sigma') with Euler's method, and (sigma - sigma') / sigma'
# times this error with Heun's.
LARGEST_FALL = 2.0


def ancestral(denoise: Denoiser, x: Tensor, levels: list[float], noise: Noise) -> Tensor:
    """Return samples. Each step draws a less noisy x' from q(x' | x, x0), with x0 from `denoise` (Ho et al. 2020)."""
    for level, following in zip(levels, levels[1:], strict=False):
        mean, variance = posterior(denoise(x, level), x, level, following)
        x = mean
        if variance > 0:
            x = x + variance**0.5 * noise()
    return x


def ddim(denoise: Denoiser, x: Tensor, levels: list[float], noise: Noise | None = None) -> Tensor:
    """Return samples drawn by deterministic DDIM (Song et al. 2021, arXiv:2010.02502, eq. 12). `noise` is ignored."""
    for level, following in zip(levels, levels[1:], strict=False):
        x0 = denoise(x, level)
        epsilon = (x - level**0.5 * x0) / (1 - level) ** 0.5
        x = following**0.5 * x0 + (1 - following) ** 0.5 * epsilon
    return x


def dpm_solver(denoise: Denoiser, x: Tensor, levels: list[float], noise: Noise | None = None) -> Tensor:
    """Return samples drawn by DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095, algorithm 2).

    The solver is of second order and needs one network call per step. The first step and the last step (to zero noise)
    are first-order steps, as in DDIM. `noise` is ignored.
    """
    return sde_dpm_solver(denoise, x, levels, None)


def sde_dpm_solver(denoise: Denoiser, x: Tensor, levels: list[float], noise: Noise | None) -> Tensor:
    """Return samples drawn by SDE-DPM-Solver++(2M) (Lu et al. 2022). This is DPM-Solver++(2M) for the reverse SDE.

    Each step except the last adds new noise. If `noise` is None, no noise is added, as in `dpm_solver`.
    """
    earlier: Tensor | None = None
    earlier_h = 0.0
    for level, following in zip(levels, levels[1:], strict=False):
        x0 = denoise(x, level)
        if following >= 1:
            return x0
        # The step in lambda = log(alpha / sigma).
        h = math.log(sigma_of(level) / sigma_of(following))
        mixed = x0 if earlier is None else x0 + (x0 - earlier) * (h / (2 * earlier_h))
        # In the SDE, x is also scaled by exp(-h), and new noise restores the variance.
        kept = math.exp(-h) if noise else 1.0
        noise_ratio = ((1 - following) / (1 - level)) ** 0.5
        x = noise_ratio * kept * x + following**0.5 * (1 - math.exp(-h) * kept) * mixed
        if noise:
            x = x + ((1 - following) * (1 - kept**2)) ** 0.5 * noise()
        earlier, earlier_h = x0, h
    return x


def heun(denoise: Denoiser, x: Tensor, levels: list[float], noise: Noise | None = None) -> Tensor:
    """Return samples drawn by Heun's second-order method for dy/dsigma = (y - D(y)) / sigma (Karras et al. 2022).

    D is the denoiser, and y = x / sqrt(alpha_bar) is an image plus noise of standard deviation sigma. `levels` are the
    values of alpha_bar. Some steps are Euler steps; see `second_order`. `noise` is ignored.
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
    """Return a mask that is True for the second-order steps of `heun`. Other steps are Euler steps.

    The step to zero noise is an Euler step, because the slope is undefined at zero noise. The first step is an Euler
    step if sigma falls by more than the factor LARGEST_FALL, because Euler's method is more accurate for such a step.
    """
    inner = [following < 1 for following in levels[1:]]
    return [inner[0] and sigma_of(levels[0]) <= LARGEST_FALL * sigma_of(levels[1]), *inner[1:]]


SAMPLERS = {sampler.__name__: sampler for sampler in (ancestral, ddim, dpm_solver, sde_dpm_solver, heun)}


def evaluations(name: str, levels: list[float]) -> int:
    """Return the number of network calls per image that the sampler `name` makes for the noise levels `levels`."""
    return len(levels) - 1 + (sum(second_order(levels)) if name == "heun" else 0)


def clipped(method: Denoising) -> Denoiser:
    """Return a denoiser whose predictions of x0 are those of `method.denoise`, clipped to [-1, 1] (Ho et al. 2020)."""
    return lambda x, level: method.denoise(x, level).clamp(-1, 1)


@torch.inference_mode()
def reverse(method: Denoising, x: Tensor, start: float | None, name: str, steps: int, noise: Noise) -> Tensor:
    """Run `steps` steps of the sampler SAMPLERS[name] on the noisy images x, and return the final images.

    `method` must be in eval mode on the device of x. `start` is the noise level alpha_bar of x, or None for pure noise.
    `noise` is a function that returns new standard normal noise at each call. Raises InputError if x is pure noise, but
    the noisiest level keeps more than the fraction MOST_SIGNAL of the images' variance.
    """
    levels = method.levels(steps, start)
    if start is None and levels[0] > MOST_SIGNAL:
        raise InputError(
            "ddpm.process: sampling starts from pure noise, but the noisiest level keeps "
            f"{levels[0]:.1%} of the images' variance (at most {MOST_SIGNAL:.0%} is allowed); use more steps, "
            "a larger last_beta or sigma_max, or a cosine schedule"
        )
    return SAMPLERS[name](clipped(method), x.contiguous(memory_format=torch.channels_last), levels, noise)


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
    """Return `count` images from `steps` steps of the sampler `name`, as a CPU tensor of shape (count, C, H, W).

    For a given seed, image i starts from the same noise for all networks, samplers and counts.
    """
    batches = []
    for start in range(0, count, batch_size):
        rows = range(start, min(start + batch_size, count))
        noise = ImageNoise(seed, "samples", rows, shape, device).normal
        batches.append(reverse(method, noise(), None, name, steps, noise).cpu())
    return torch.cat(batches)


def checked(images: Tensor) -> Tensor:
    """Convert float samples to uint8. Raises InputError if the samples are degenerate; see `refuse_degenerate`."""
    refuse_degenerate(images)
    return to_uint8(images)
