"""Noise test images to a time t, run the reverse process back, and see what is left of them.

Times are those of the report's linear schedule, counted from 1. A method with another schedule starts its reverse run
where its own chain has the same signal-to-noise ratio; the noise level, not the name of the time, is what restores.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from triptych.ddpm.denoising import DenoisingObjective, add_noise
from triptych.ddpm.process import Diffusion, linear_betas
from triptych.ddpm.samplers import ancestral, reverse
from triptych.machine.randomness import ImageNoise
from triptych.measures.sampling_params import TimeSchedule
from triptych.training.objective import to_float, to_uint8


@dataclass(frozen=True)
class Restored:
    """Images at time t and after the reverse run, uint8 (N, C, H, W)."""

    noised: np.ndarray
    restored: np.ndarray


@dataclass(frozen=True)
class Strip:
    """One image on its way to time t and back, uint8 (states, C, H, W): image to noise, and noise to image."""

    forward: np.ndarray
    backward: np.ndarray


def alpha_bars(schedule: TimeSchedule) -> np.ndarray:
    """(T + 1,) alpha_bar of each time of the schedule; index 0 is the image itself."""
    return Diffusion(linear_betas(schedule.steps, schedule.first_beta, schedule.last_beta)).alpha_bars


def steps_for(time: int, steps: int) -> int:
    """Steps of the reverse run from a time: one for each of the chain's, and no more than `steps`."""
    return min(time, steps)


@torch.inference_mode()
def restore(
    method: DenoisingObjective,
    images: np.ndarray,
    alpha_bar: float,
    steps: int,
    seed: int,
    batch_size: int,
    device: torch.device,
) -> Restored:
    """Noises uint8 images (N, C, H, W) to alpha_bar and restores them by the ancestral sampler.

    The noise of image i depends on (seed, i) alone: across times it is the same direction, longer or shorter.
    """
    noised, restored = [], []
    for start in range(0, len(images), batch_size):
        x0 = to_float(torch.as_tensor(np.array(images[start : start + batch_size])).to(device))
        noise = ImageNoise(seed, "restoration", range(start, start + len(x0)), tuple(x0.shape[1:]), device).normal
        x_t = add_noise(x0, alpha_bar, noise())
        noised.append(to_uint8(x_t).cpu())
        restored.append(to_uint8(reverse(method, x_t, alpha_bar, "ancestral", steps, noise)).cpu())
    return Restored(torch.cat(noised).numpy(), torch.cat(restored).numpy())


@torch.inference_mode()
def restoration_strip(
    method: DenoisingObjective,
    image: np.ndarray,
    forward_levels: list[float],
    steps: int,
    states: int,
    seed: int,
    device: torch.device,
) -> Strip:
    """States of one uint8 image (C, H, W) along the noising to the last of `forward_levels`, and back.

    Args:
        forward_levels: alpha_bar of the states on the way there, falling, beginning with 1.
        steps: of the reverse run.
        states: how many states of the way back to keep, both ends included.
    """
    x0 = to_float(torch.as_tensor(np.array(image))[None].to(device))
    noise = ImageNoise(seed, "strip", range(1), tuple(x0.shape[1:]), device).normal
    epsilon = noise()
    forward = [add_noise(x0, level, epsilon) for level in forward_levels]
    levels = method.levels(steps, forward_levels[-1])
    stops = sorted({round(stop) for stop in np.linspace(0, steps, states)})
    backward, x = [forward[-1]], forward[-1]

    def denoise(x_t: Tensor, level: float) -> Tensor:
        return method.denoise(x_t, level).clamp(-1, 1)

    for first, last in zip(stops, stops[1:], strict=False):
        x = ancestral(denoise, x, levels[first : last + 1], noise)
        backward.append(x)
    return Strip(to_uint8(torch.cat(forward)).cpu().numpy(), to_uint8(torch.cat(backward)).cpu().numpy())


def report_levels(levels: np.ndarray, time: int, states: int) -> list[float]:
    """alpha_bar of `states` times from 0 to `time`, evenly spaced up to rounding, from those of all times."""
    return [float(levels[math.floor(t + 0.5)]) for t in np.linspace(0, time, states)]
