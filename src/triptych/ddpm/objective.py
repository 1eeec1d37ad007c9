"""Diffusion objectives: denoising diffusion (Ho et al. 2020, arXiv:2006.11239) and EDM (Karras et al. 2022).

An objective also provides the denoiser and the noise levels for samplers and measures. For both objectives, an image at
noise level alpha_bar in (0, 1] is x = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) epsilon with standard normal epsilon.
At level 1 there is no noise. A level is one number for the whole batch, or a float64 array with one number per image.

The times t of a discrete process run from 1 to T. At time 0 there is no noise: alpha_bar_0 = 1.
"""

import math
from pathlib import Path
from typing import Protocol

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
# Nichol & Dhariwal 2021, section 3.2. Without the limit, the last steps of the cosine schedule would divide by zero.
LARGEST_BETA = 0.999
# Factor from EDM's c_noise, of the order of 1, to the time unit of the networks' embedding, which expects 1 to 1000.
TIME_UNIT = 1000.0


def column(values: Level, like: Tensor) -> Tensor:
    """Return one number or B numbers as a tensor (B, 1, 1, 1). `like` sets B, the dtype and the device."""
    wide = np.broadcast_to(np.asarray(values, dtype=np.float64), (len(like),))
    return torch.tensor(wide, dtype=like.dtype, device=like.device).view(-1, 1, 1, 1)


def add_noise(x0: Tensor, alpha_bar: Level, epsilon: Tensor) -> Tensor:
    """Return noisy images x = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) epsilon (Ho et al. 2020, equation 4)."""
    level = np.asarray(alpha_bar)
    return column(level**0.5, x0) * x0 + column((1 - level) ** 0.5, x0) * epsilon


def posterior_variance(alpha_bar: float, next_alpha_bar: float) -> float:
    """Return the variance of q(x' | x, x0), given the noise levels of x and x' (Ho et al. 2020, eq. 7)."""
    beta = 1 - alpha_bar / next_alpha_bar
    return float((1 - next_alpha_bar) / (1 - alpha_bar) * beta)


def posterior(x0: Tensor, x: Tensor, alpha_bar: float, next_alpha_bar: float) -> tuple[Tensor, float]:
    """Return the mean and variance of q(x' | x, x0), given the noise levels of x and x' (Ho et al. 2020, eq. 7)."""
    beta = 1 - alpha_bar / next_alpha_bar
    of_x0 = next_alpha_bar**0.5 * beta / (1 - alpha_bar)
    of_x = (1 - beta) ** 0.5 * (1 - next_alpha_bar) / (1 - alpha_bar)
    return of_x0 * x0 + of_x * x, posterior_variance(alpha_bar, next_alpha_bar)


class Denoising(Protocol):
    """Protocol of a denoiser: the methods that samplers and measures call."""

    def denoise(self, x: Tensor, alpha_bar: Level) -> Tensor:
        """Return float32 predictions (B, C, H, W) of images x0 from noisy images x at the noise level `alpha_bar`."""

    def levels(self, steps: int, start: float | None = None) -> list[float]:
        """Return `steps` + 1 noise levels of the reverse process, from `start` (None: the noisiest) to 1 (no noise)."""


# --- Denoising diffusion: a discrete process ---


def schedule_betas(schedule: LinearSchedule | CosineSchedule) -> np.ndarray:
    """Return the noise variances beta_1 to beta_T of the T steps of a noise schedule.

    The betas of a linear schedule are evenly spaced (Ho et al. 2020, section 4). The betas of a cosine schedule
    make alpha_bar_t a squared cosine of t (Nichol & Dhariwal 2021, equation 17), but are at most LARGEST_BETA.
    """
    if isinstance(schedule, LinearSchedule):
        return np.linspace(schedule.first_beta, schedule.last_beta, schedule.steps)
    angles = (np.arange(schedule.steps + 1) / schedule.steps + schedule.offset) / (1 + schedule.offset) * math.pi / 2
    alpha_bar = np.cos(angles) ** 2
    return np.minimum(1 - alpha_bar[1:] / alpha_bar[:-1], LARGEST_BETA)


def decay(schedule: LinearSchedule | CosineSchedule) -> np.ndarray:
    """Return -log alpha_bar at the times 0 to T of a noise schedule, as a float64 array of shape (T + 1,)."""
    return np.concatenate([[0.0], np.cumsum(-np.log1p(-schedule_betas(schedule)))])


class DiffusionObjective(Objective):
    """DDPM loss L_simple (Ho et al. 2020, equation 14), with several choices of target, error, weighting and times.

    The network predicts the target that `process.parameterisation` names: `epsilon` (the noise), `x0` (the image), or
    `v` = sqrt(alpha_bar) epsilon - sqrt(1 - alpha_bar) x0 (Salimans & Ho 2022, arXiv:2202.00512).
    """

    def __init__(self, network: nn.Module, process: DDPMProcess) -> None:
        super().__init__()
        self.network, self.process = network, process
        self.T, self.decay = process.schedule.steps, decay(process.schedule)
        self.alpha_bars = np.exp(-self.decay)
        self.register_buffer("signal", torch.tensor(self.alpha_bars**0.5, dtype=torch.float32), persistent=False)
        noise = (-np.expm1(-self.decay)) ** 0.5
        self.register_buffer("noise", torch.tensor(noise, dtype=torch.float32), persistent=False)

    def alpha_bar_at(self, time: float) -> float:
        """Return alpha_bar at a time in [0, T]. Between integer times, log alpha_bar is interpolated linearly."""
        return math.exp(-float(np.interp(time, np.arange(self.T + 1), self.decay)))

    def time_at(self, alpha_bar: Level) -> np.ndarray:
        """Return the time of each noise level in `alpha_bar`. This function is the inverse of `alpha_bar_at`."""
        return np.interp(-np.log(alpha_bar), self.decay, np.arange(self.T + 1))

    def q_sample(self, x0: Tensor, t: Tensor, epsilon: Tensor) -> Tensor:
        """Add the noise `epsilon` to the images x0, at the integer times t of shape (B,); see `add_noise`."""
        return self.signal[t].view(-1, 1, 1, 1) * x0 + self.noise[t].view(-1, 1, 1, 1) * epsilon

    def target(self, x0: Tensor, t: Tensor, epsilon: Tensor) -> Tensor:
        """Return the target that the network should predict from the noisy images `q_sample(x0, t, epsilon)`."""
        if self.process.parameterisation == "epsilon":
            return epsilon
        if self.process.parameterisation == "x0":
            return x0
        return self.signal[t].view(-1, 1, 1, 1) * epsilon - self.noise[t].view(-1, 1, 1, 1) * x0

    def predict_x0(self, x_t: Tensor, output: Tensor, alpha_bar: Level) -> Tensor:
        """Convert the network's `output` for noisy images x_t at the noise level `alpha_bar` to a prediction of x0."""
        level = np.asarray(alpha_bar)
        signal, noise = column(level**0.5, x_t), column((1 - level) ** 0.5, x_t)
        if self.process.parameterisation == "epsilon":
            return (x_t - noise * output) / signal
        if self.process.parameterisation == "x0":
            return output
        return signal * x_t - noise * output

    def min_snr_weights(self, t: Tensor, gamma: float) -> Tensor:
        """Return weights for errors in the target that are equivalent to weights min(SNR, gamma) for errors in x0.

        SNR = alpha_bar / (1 - alpha_bar) is the signal-to-noise ratio at t (Hang et al. 2023, arXiv:2303.09556, eq. 5).
        The times t and the weights have the shape (B,).
        """
        snr = (self.signal[t] / self.noise[t]).square()
        per_x0 = {"x0": torch.ones_like(snr), "epsilon": snr, "v": snr + 1}[self.process.parameterisation]
        return snr.clamp(max=gamma) / per_x0

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted mean error, and a dict for logging with the unweighted mean error as `error`."""
        x0 = batch.images
        t = self._times(len(x0), draw)
        epsilon = draw.normal(tuple(x0.shape)).contiguous(memory_format=torch.channels_last)
        output = self.network(self.q_sample(x0, t, epsilon), t).float()
        errors = self._error(output, self.target(x0, t, epsilon)).flatten(1).mean(dim=1)
        weighting, weighted = self.process.weighting, errors
        if weighting.name == "min_snr":
            weighted = errors * self.min_snr_weights(t, weighting.gamma)
        return weighted.mean(), {"error": errors.detach().mean()}

    def _times(self, count: int, draw: Draw) -> Tensor:
        """Draw `count` integer times uniformly from 1 to T.

        If `process.times` is "stratified", the range from 1 to T is split into `count` intervals, and one time is drawn
        from each. This reduces the variance of the loss (Kingma et al. 2021, appendix I.1).
        """
        T = self.T
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
        time = column(self.time_at(alpha_bar), x).flatten()
        return self.predict_x0(x, self.network(x, time).float(), alpha_bar)

    def levels(self, steps: int, start: float | None = None) -> list[float]:
        """Return alpha_bar at `steps` + 1 evenly spaced times, from that of the level `start` (None: T) to 0."""
        first = self.T if start is None else float(self.time_at(start))
        return [self.alpha_bar_at(time) for time in np.linspace(first, 0, steps + 1)]


# --- EDM (Karras et al. 2022, arXiv:2206.00364): continuous noise levels ---


def sigma_of(alpha_bar: Level) -> Level:
    """Convert the noise level alpha_bar to the noise-to-signal ratio sigma = sqrt((1 - alpha_bar) / alpha_bar)."""
    return ((1 - alpha_bar) / alpha_bar) ** 0.5


def alpha_bar_of(sigma: float) -> float:
    """Convert the noise-to-signal ratio sigma to the noise level alpha_bar. This is the inverse of `sigma_of`."""
    return 1 / (1 + sigma**2)


class EDMObjective(Objective):
    """EDM loss of the denoiser D = c_skip x + c_out F(c_in x; c_noise), with network F (Karras et al. 2022, eq. 8)."""

    def __init__(self, network: nn.Module, process: EDMProcess) -> None:
        super().__init__()
        self.network, self.process = network, process

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean of lambda(sigma) (D(y + n; sigma) - y)², and a dict with the unweighted mean as `error`.

        D is the denoiser. The mean is over the pixels of images y. The noise n has the standard deviation sigma, where
        ln sigma ~ N(log_sigma_mean, log_sigma_std²). lambda(sigma) is the weight in equation 8 of Karras et al. 2022.
        """
        process, y = self.process, batch.images
        log_sigma = draw.normal((len(y),)) * process.log_sigma_std + process.log_sigma_mean
        sigma = log_sigma.exp().view(-1, 1, 1, 1)
        n = draw.normal(tuple(y.shape)).contiguous(memory_format=torch.channels_last) * sigma
        errors = (self.precondition(y + n, sigma) - y).square().flatten(1).mean(dim=1)
        weights = (sigma.square() + process.sigma_data**2) / (sigma * process.sigma_data).square()
        return (weights.flatten() * errors).mean(), {"error": errors.detach().mean()}

    def precondition(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return denoised images D(x; sigma). `sigma` (B, 1, 1, 1) is the standard deviation of the noise in x."""
        data = self.process.sigma_data
        total = (sigma.square() + data**2).sqrt()
        c_skip, c_out, c_in = (data / total).square(), sigma * data / total, 1 / total
        c_noise = sigma.flatten().log() / 4
        return c_skip * x + c_out * self.network(c_in * x, TIME_UNIT * c_noise).float()

    def denoise(self, x: Tensor, alpha_bar: Level) -> Tensor:
        return self.precondition(x / column(np.sqrt(alpha_bar), x), column(sigma_of(alpha_bar), x))

    def levels(self, steps: int, start: float | None = None) -> list[float]:
        """Return `steps` noise levels alpha_bar from `start` (None: the noisiest) on, followed by 1 (no noise).

        The `steps` levels are evenly spaced in sigma**(1 / rho), where sigma is `sigma_of(alpha_bar)`.
        """
        process = self.process
        first = process.sigma_max if start is None else sigma_of(start)
        last = min(process.sigma_min, first)
        roots = np.linspace(first ** (1 / process.rho), last ** (1 / process.rho), steps)
        return [*(alpha_bar_of(float(root) ** process.rho) for root in roots), 1.0]


DenoisingObjective = DiffusionObjective | EDMObjective


def diffusion_method(network: nn.Module, process: DDPMProcess | EDMProcess) -> DenoisingObjective:
    """Return the objective that trains `network` for the diffusion process `process`."""
    return EDMObjective(network, process) if isinstance(process, EDMProcess) else DiffusionObjective(network, process)


def load_trained(folder: Path, device: torch.device) -> DenoisingObjective:
    """Load the trained network in `folder`, and return its training objective in eval mode.

    Raises InputError if a file is missing, damaged or of another architecture, or if config.json does not describe a
    valid diffusion process.
    """
    network, config = load_model(folder, denoising_network, device)
    process = validate(Process, config.get("process"), "process", folder / "config.json")
    return diffusion_method(network, process).to(device).eval()
