"""Diffusion processes and a network for tests: as small as can be."""

import torch
from torch import Tensor, nn

from triptych.core.schema import validate
from triptych.ddpm.params import DDPMProcess

LINEAR = {"name": "linear", "steps": 1000, "first_beta": 0.0001, "last_beta": 0.02}

COSINE = {"name": "cosine", "steps": 1000, "offset": 0.008}
EDM = {
    "name": "edm",
    "log_sigma_mean": -1.2,
    "log_sigma_std": 1.2,
    "sigma_data": 0.5,
    "sigma_min": 0.002,
    "sigma_max": 80.0,
    "rho": 7.0,
}


def process(**changes: object) -> DDPMProcess:
    plain = {
        "name": "ddpm",
        "schedule": LINEAR,
        "parameterisation": "epsilon",
        "loss": {"name": "mse"},
        "weighting": {"name": "uniform"},
        "times": "independent",
    }
    return validate(DDPMProcess, plain | changes, "process", "test")


class Constant(nn.Module):
    """A network that always says the same."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, images: Tensor, times: Tensor) -> Tensor:
        return self.value.expand_as(images)


def images(count: int = 8, size: int = 8) -> Tensor:
    return torch.rand((count, 3, size, size), generator=torch.Generator().manual_seed(1)) * 2 - 1


def noise_like(x: Tensor, seed: int = 2) -> Tensor:
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
