"""Diffusion objectives: denoising diffusion (Ho et al. 2020, arXiv:2006.11239) and EDM (Karras et al. 2022).

Samplers and measures use a method's noise levels and its denoiser. An image at noise level alpha_bar in (0, 1] is
x = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) epsilon: variance preserving, whatever the method trains on. Level 1 is the
image itself. A level is one number for the whole batch or a float64 array with one number per image.

Times t of the chain run from 1 to T; time 0 is the image itself, alpha_bar_0 = 1.
"""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.core.schema import validate
from triptych.ddpm.model import denoising_network
from triptych.ddpm.params import CosineSchedule, DDPMProcess, EDMProcess, LinearSchedule, Process
from triptych.machine.randomness import Draw
from triptych.nn.weights import load_model
from triptych.training.objective import Batch, Objective

Level = float | np.ndarray
# Nichol & Dhariwal 2021, section 3.2: the last steps of the cosine schedule would otherwise divide by zero.
LARGEST_BETA = 0.999
# The networks' time embedding counts in thousandths; EDM's c_noise is of the order of 1.
TIME_UNIT = 1000.0


def column(values: Level, like: Tensor) -> Tensor:
    """Shape one number per image of (B, C, H, W) to multiply it: (B, 1, 1, 1)."""
    wide = np.broadcast_to(np.asarray(values, dtype=np.float64), (len(like),))
    return torch.tensor(wide, dtype=like.dtype, device=like.device).view(-1, 1, 1, 1)


def add_noise(x0: Tensor, alpha_bar: Level, epsilon: Tensor) -> Tensor:
    """x = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) epsilon (Ho et al. 2020, equation 4)."""
    level = np.asarray(alpha_bar)
    return column(level**0.5, x0) * x0 + column((1 - level) ** 0.5, x0) * epsilon


def posterior_variance(alpha_bar: float, next_alpha_bar: float) -> float:
    """Variance beta-tilde of q(x' | x, x0), where x' is less noisy than x (equation 7, for any two levels)."""
    beta = 1 - alpha_bar / next_alpha_bar
    return float((1 - next_alpha_bar) / (1 - alpha_bar) * beta)


def posterior(x0: Tensor, x: Tensor, alpha_bar: float, next_alpha_bar: float) -> tuple[Tensor, float]:
    """Mean and variance of q(x' | x, x0), where x' is less noisy than x (equations 6 and 7, for any two levels)."""
    beta = 1 - alpha_bar / next_alpha_bar
    of_x0 = next_alpha_bar**0.5 * beta / (1 - alpha_bar)
    of_x = (1 - beta) ** 0.5 * (1 - next_alpha_bar) / (1 - alpha_bar)
    return of_x0 * x0 + of_x * x, posterior_variance(alpha_bar, next_alpha_bar)


class DenoisingObjective(Objective):
    """A method that learns E[x0 | x] at every noise level."""

    def denoise(self, x: Tensor, alpha_bar: Level) -> Tensor:
        """Predict x0, (B, C, H, W) float32, from noisy images."""
        raise NotImplementedError

    def levels(self, steps: int, start: float | None = None) -> list[float]:
        """Return the `steps` + 1 noise levels of a reverse run, from `start` (None: the noisiest) up to 1."""
        raise NotImplementedError


# --- Denoising diffusion: a discrete chain ---


def linear_betas(steps: int, first: float, last: float) -> np.ndarray:
    """beta_1 to beta_T on a line (section 4)."""
    return np.linspace(first, last, steps)


def cosine_betas(steps: int, offset: float) -> np.ndarray:
    """beta_1 to beta_T such that alpha_bar_t is a squared cosine of t (Nichol & Dhariwal 2021, equation 17)."""
    angles = (np.arange(steps + 1) / steps + offset) / (1 + offset) * math.pi / 2
    alpha_bar = np.cos(angles) ** 2
    return np.minimum(1 - alpha_bar[1:] / alpha_bar[:-1], LARGEST_BETA)


def schedule_betas(schedule: LinearSchedule | CosineSchedule) -> np.ndarray:
    """Return the betas of a schedule in params.yaml."""
    if isinstance(schedule, LinearSchedule):
        return linear_betas(schedule.steps, schedule.first_beta, schedule.last_beta)
    return cosine_betas(schedule.steps, schedule.offset)


class Diffusion(nn.Module):
    """The forward process q and the meaning of the network's output.

    Args:
        betas: (T,) variances of the steps, float64.
        parameterisation: prediction target: `epsilon`, `x0`, or
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
        """Times, seldom whole, at which the noise level is alpha_bar: the inverse of `alpha_bar_at`."""
        return np.interp(-np.log(alpha_bar), self.decay, np.arange(self.T + 1))

    def q_sample(self, x0: Tensor, t: Tensor, epsilon: Tensor) -> Tensor:
        """x_t ~ q(x_t | x_0) for t (B,) in 1 to T (equation 4)."""
        return self.signal[t].view(-1, 1, 1, 1) * x0 + self.noise[t].view(-1, 1, 1, 1) * epsilon

    def target(self, x0: Tensor, t: Tensor, epsilon: Tensor) -> Tensor:
        """Prediction target for q_sample(x0, t, epsilon)."""
        if self.parameterisation == "epsilon":
            return epsilon
        if self.parameterisation == "x0":
            return x0
        return self.signal[t].view(-1, 1, 1, 1) * epsilon - self.noise[t].view(-1, 1, 1, 1) * x0

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
        """(B,) weights of the target's error that weight the error of x0 by min(SNR, gamma).

        Hang et al. 2023 (arXiv:2303.09556), equation 5; SNR = alpha_bar / (1 - alpha_bar).
        """
        snr = (self.signal[t] / self.noise[t]).square()
        per_x0 = {"x0": torch.ones_like(snr), "epsilon": snr, "v": snr + 1}[self.parameterisation]
        return snr.clamp(max=gamma) / per_x0


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
        """Evenly spaced times of the chain; `steps` = T is the chain itself."""
        first = self.diffusion.T if start is None else float(self.diffusion.time_at(start))
        return [self.diffusion.alpha_bar_at(time) for time in np.linspace(first, 0, steps + 1)]


# --- EDM (Karras et al. 2022, arXiv:2206.00364): continuous noise levels ---


def sigma_of(alpha_bar: Level) -> Level:
    """Noise level sigma, noise over signal, of a variance-preserving alpha_bar."""
    return ((1 - alpha_bar) / alpha_bar) ** 0.5


def alpha_bar_of(sigma: float) -> float:
    """The inverse of `sigma_of`."""
    return 1 / (1 + sigma**2)


class EDMObjective(DenoisingObjective):
    """The denoiser D(x; sigma) = c_skip x + c_out F(c_in x; c_noise), and its loss (equations 7 and 8, table 1)."""

    def __init__(self, network: nn.Module, process: EDMProcess) -> None:
        super().__init__()
        self.network = network
        self.process = process

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean of lambda(sigma) |D(y + n; sigma) - y|², ln sigma ~ N(P_mean, P_std²); term `error` is unweighted."""
        process, y = self.process, batch.images
        log_sigma = draw.normal((len(y),)) * process.log_sigma_std + process.log_sigma_mean
        sigma = log_sigma.exp().view(-1, 1, 1, 1)
        n = draw.normal(tuple(y.shape)).contiguous(memory_format=torch.channels_last) * sigma
        errors = (self.precondition(y + n, sigma) - y).square().flatten(1).mean(dim=1)
        weights = (sigma.square() + process.sigma_data**2) / (sigma * process.sigma_data).square()
        return (weights.flatten() * errors).mean(), {"error": errors.detach().mean()}

    def precondition(self, x: Tensor, sigma: Tensor) -> Tensor:
        """D(x; sigma) of x = y + sigma n, (B, C, H, W), for sigma (B, 1, 1, 1)."""
        data = self.process.sigma_data
        total = (sigma.square() + data**2).sqrt()
        c_skip, c_out, c_in = (data / total).square(), sigma * data / total, 1 / total
        c_noise = sigma.flatten().log() / 4
        return c_skip * x + c_out * self.network(c_in * x, TIME_UNIT * c_noise).float()

    def denoise(self, x: Tensor, alpha_bar: Level) -> Tensor:
        """The preconditioned denoiser on variance-preserving images."""
        return self.precondition(x / column(np.sqrt(alpha_bar), x), column(sigma_of(alpha_bar), x))

    def levels(self, steps: int, start: float | None = None) -> list[float]:
        """sigma falls as a power of a straight line, then to 0 (equation 5)."""
        process = self.process
        first = process.sigma_max if start is None else sigma_of(start)
        last = min(process.sigma_min, first)
        roots = np.linspace(first ** (1 / process.rho), last ** (1 / process.rho), steps)
        return [*(alpha_bar_of(float(root) ** process.rho) for root in roots), 1.0]


def diffusion_method(network: nn.Module, process: DDPMProcess | EDMProcess) -> DenoisingObjective:
    """Return the objective that trains a network under a process."""
    return EDMObjective(network, process) if isinstance(process, EDMProcess) else DiffusionObjective(network, process)


def load_trained(folder: Path, device: torch.device) -> DenoisingObjective:
    """Load the network in `folder` with the process that it was trained for, in eval mode.

    Raises:
        InputError: a file is missing, damaged or of another architecture, or config.json lacks the process.
    """
    network, config = load_model(folder, denoising_network, device)
    process = validate(Process, config.get("process"), "process", folder / "config.json")
    return diffusion_method(network, process).to(device).eval()
