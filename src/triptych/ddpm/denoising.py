"""What every diffusion method looks like to samplers and evaluations: noise levels, and a denoiser of them.

An image at noise level alpha_bar in (0, 1] is x = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) epsilon: variance
preserving, whatever the method trains on. The level 1 is the image itself. Where a level is asked for, it is one number
for the whole batch or an array of one for each image, float64.
"""

import numpy as np
import torch
from torch import Tensor

from triptych.training.objective import Objective

Level = float | np.ndarray


def column(values: Level, like: Tensor) -> Tensor:
    """One number for each image of (B, C, H, W), shaped to multiply it: (B, 1, 1, 1)."""
    wide = np.broadcast_to(np.asarray(values, dtype=np.float64), (len(like),))
    return torch.tensor(wide, dtype=like.dtype, device=like.device).view(-1, 1, 1, 1)


def add_noise(x0: Tensor, alpha_bar: Level, epsilon: Tensor) -> Tensor:
    """x = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) epsilon (Ho et al. 2020, equation 4)."""
    level = np.asarray(alpha_bar)
    return column(level**0.5, x0) * x0 + column((1 - level) ** 0.5, x0) * epsilon


class DenoisingObjective(Objective):
    """A method that learns E[x0 | x] at every noise level."""

    def denoise(self, x: Tensor, alpha_bar: Level) -> Tensor:
        """The prediction of x0, (B, C, H, W) float32, from noisy images."""
        raise NotImplementedError

    def levels(self, steps: int, start: float | None = None) -> list[float]:
        """The `steps` + 1 noise levels of a reverse run: from `start` (None: the noisiest) up to 1."""
        raise NotImplementedError
