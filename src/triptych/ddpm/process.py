"""Denoising diffusion (Ho et al. 2020, arXiv:2006.11239), in the paper's symbols. Times t run from 1 to T.

Time 0 is the image itself: alpha_bar_0 = 1.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.ddpm.denoising import DenoisingObjective, Level, column
from triptych.ddpm.params import CosineSchedule, DDPMProcess, LinearSchedule
from triptych.machine.randomness import Draw
from triptych.training.objective import Batch

# Nichol & Dhariwal 2021, section 3.2: the last steps of the cosine schedule would otherwise divide by zero.
LARGEST_BETA = 0.999


def linear_betas(steps: int, first: float, last: float) -> np.ndarray:
    """beta_1 to beta_T on a line (section 4)."""
    return np.linspace(first, last, steps)


def cosine_betas(steps: int, offset: float) -> np.ndarray:
    """beta_1 to beta_T such that alpha_bar_t is a squared cosine of t (Nichol & Dhariwal 2021, equation 17)."""
    angles = (np.arange(steps + 1) / steps + offset) / (1 + offset) * math.pi / 2
    alpha_bar = np.cos(angles) ** 2
    return np.minimum(1 - alpha_bar[1:] / alpha_bar[:-1], LARGEST_BETA)


def schedule_betas(schedule: LinearSchedule | CosineSchedule) -> np.ndarray:
    """The betas that params.yaml asks for."""
    if isinstance(schedule, LinearSchedule):
        return linear_betas(schedule.steps, schedule.first_beta, schedule.last_beta)
    return cosine_betas(schedule.steps, schedule.offset)


class Diffusion(nn.Module):
    """The forward process q, its posterior, and what the network's output says of x0.

    Args:
        betas: (T,) variances of the steps, float64.
        parameterisation: what the network predicts: `epsilon`, `x0`, or
            `v` = sqrt(alpha_bar) epsilon - sqrt(1 - alpha_bar) x0 (Salimans & Ho 2022, arXiv:2202.00512).
    """

    def __init__(self, betas: np.ndarray, parameterisation: str = "epsilon") -> None:
        super().__init__()
        self.parameterisation = parameterisation
        self.T = len(betas)
        self.betas = np.concatenate([[0.0], betas])
        # -log alpha_bar_t; between the steps it grows in proportion to time, as if each beta acted evenly.
        self.decay = np.concatenate([[0.0], np.cumsum(-np.log1p(-betas))])
        self.alpha_bars = np.exp(-self.decay)
        self.register_buffer("signal", torch.tensor(self.alpha_bars**0.5, dtype=torch.float32), persistent=False)
        noise = (-np.expm1(-self.decay)) ** 0.5
        self.register_buffer("noise", torch.tensor(noise, dtype=torch.float32), persistent=False)

    def alpha_bar_at(self, time: float) -> float:
        """alpha_bar at a time in [0, T], which need not be whole."""
        return math.exp(-float(np.interp(time, np.arange(self.T + 1), self.decay)))

    def time_at(self, alpha_bar: Level) -> np.ndarray:
        """The times, seldom whole, at which the noise level is alpha_bar: the inverse of `alpha_bar_at`."""
        return np.interp(-np.log(alpha_bar), self.decay, np.arange(self.T + 1))

    def q_sample(self, x0: Tensor, t: Tensor, epsilon: Tensor) -> Tensor:
        """x_t ~ q(x_t | x_0) for t (B,) in 1 to T (equation 4)."""
        return _column(self.signal[t]) * x0 + _column(self.noise[t]) * epsilon

    def posterior(self, x0: Tensor, x_t: Tensor, t: int) -> tuple[Tensor, float]:
        """Mean and variance of q(x_{t-1} | x_t, x_0) (equations 6 and 7)."""
        return posterior(x0, x_t, self.alpha_bars[t], self.alpha_bars[t - 1])

    def target(self, x0: Tensor, t: Tensor, epsilon: Tensor) -> Tensor:
        """What the network should say of q_sample(x0, t, epsilon)."""
        if self.parameterisation == "epsilon":
            return epsilon
        if self.parameterisation == "x0":
            return x0
        return _column(self.signal[t]) * epsilon - _column(self.noise[t]) * x0

    def predict_x0(self, x_t: Tensor, output: Tensor, alpha_bar: Level) -> Tensor:
        """x0 from x_t at noise level alpha_bar and the network's output."""
        level = np.asarray(alpha_bar)
        signal, noise = column(level**0.5, x_t), column((1 - level) ** 0.5, x_t)
        if self.parameterisation == "epsilon":
            return (x_t - noise * output) / signal
        if self.parameterisation == "x0":
            return output
        return signal * x_t - noise * output

    def min_snr_weights(self, t: Tensor, gamma: float) -> Tensor:
        """(B,) weights of the target's error that weigh the error of x0 by min(SNR, gamma).

        Hang et al. 2023 (arXiv:2303.09556), equation 5; SNR = alpha_bar / (1 - alpha_bar).
        """
        snr = (self.signal[t] / self.noise[t]).square()
        per_x0 = {"x0": torch.ones_like(snr), "epsilon": snr, "v": snr + 1}[self.parameterisation]
        return snr.clamp(max=gamma) / per_x0


def posterior_variance(alpha_bar: float, next_alpha_bar: float) -> float:
    """The variance beta-tilde of q(x' | x, x0), where x' is less noisy than x (equation 7, for any two levels)."""
    beta = 1 - alpha_bar / next_alpha_bar
    return float((1 - next_alpha_bar) / (1 - alpha_bar) * beta)


def posterior(x0: Tensor, x: Tensor, alpha_bar: float, next_alpha_bar: float) -> tuple[Tensor, float]:
    """Mean and variance of q(x' | x, x0), where x' is less noisy than x (equations 6 and 7, for any two levels)."""
    beta = 1 - alpha_bar / next_alpha_bar
    of_x0 = next_alpha_bar**0.5 * beta / (1 - alpha_bar)
    of_x = (1 - beta) ** 0.5 * (1 - next_alpha_bar) / (1 - alpha_bar)
    return of_x0 * x0 + of_x * x, posterior_variance(alpha_bar, next_alpha_bar)


def _column(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


class DiffusionObjective(DenoisingObjective):
    """L_simple (equation 14) and its variants: any target, squared or Huber error, any weighting of the times."""

    def __init__(self, network: nn.Module, process: DDPMProcess) -> None:
        super().__init__()
        self.network = network
        self.process = process
        self.diffusion = Diffusion(schedule_betas(process.schedule), process.parameterisation)

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean weighted error of the prediction; term `error` is the unweighted one."""
        x0 = batch.images
        t = self._times(len(x0), draw)
        epsilon = draw.normal(tuple(x0.shape)).contiguous(memory_format=torch.channels_last)
        output = self.network(self.diffusion.q_sample(x0, t, epsilon), t).float()
        errors = self._error(output, self.diffusion.target(x0, t, epsilon)).flatten(1).mean(dim=1)
        weighting = self.process.weighting
        weighted = errors
        if weighting.name == "min_snr":
            weighted = errors * self.diffusion.min_snr_weights(t, weighting.gamma)
        return weighted.mean(), {"error": errors.detach().mean()}

    def _times(self, count: int, draw: Draw) -> Tensor:
        """t ~ U{1, ..., T}. Stratified: one in each of B equal parts of the range, which steadies the loss.

        Kingma et al. 2021 (arXiv:2107.00630), appendix I.1.
        """
        T = self.diffusion.T
        if self.process.times == "independent":
            return draw.integers(1, T + 1, (count,))
        rows = torch.arange(draw.row, draw.row + count, device=draw.device)
        share = (rows + draw.uniform((count,))) / (draw.rows or count)
        return (share * T).long().clamp(max=T - 1) + 1

    def _error(self, output: Tensor, target: Tensor) -> Tensor:
        if self.process.loss.name == "huber":
            return functional.huber_loss(output, target, reduction="none", delta=self.process.loss.delta)
        return functional.mse_loss(output, target, reduction="none")

    def denoise(self, x: Tensor, alpha_bar: Level) -> Tensor:
        """The network's x0."""
        time = column(self.diffusion.time_at(alpha_bar), x).flatten()
        return self.diffusion.predict_x0(x, self.network(x, time).float(), alpha_bar)

    def levels(self, steps: int, start: float | None = None) -> list[float]:
        """Evenly spaced times of the chain, T = `steps` being the chain itself."""
        first = self.diffusion.T if start is None else float(self.diffusion.time_at(start))
        return [self.diffusion.alpha_bar_at(time) for time in np.linspace(first, 0, steps + 1)]
