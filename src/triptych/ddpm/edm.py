"""Elucidated diffusion (Karras et al. 2022, arXiv:2206.00364): preconditioning, loss and noise levels."""

import numpy as np
import torch
from torch import Tensor, nn

from triptych.ddpm.denoising import DenoisingObjective, Level, column
from triptych.ddpm.params import EDMProcess
from triptych.machine.randomness import Draw
from triptych.training.objective import Batch

# The networks' sinusoids count in thousandths; c_noise is of the order of 1.
TIME_UNIT = 1000.0


def sigma_of(alpha_bar: Level) -> Level:
    """The noise level sigma, noise over signal, of a variance-preserving alpha_bar."""
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
