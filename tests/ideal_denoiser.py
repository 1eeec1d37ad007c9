"""The perfect denoiser of Gaussian data, in closed form, on the noise levels of each kind of process."""

from dataclasses import dataclass

import torch
from torch import Tensor
from toy_diffusion import COSINE, EDM, LINEAR, Constant, process

from triptych.core.schema import validate
from triptych.ddpm.objective import DenoisingObjective, DiffusionObjective, EDMObjective
from triptych.ddpm.params import EDMProcess
from triptych.measures.images import ImageNoise

PROCESSES: dict[str, DenoisingObjective] = {
    "cosine": DiffusionObjective(Constant(), process(schedule=COSINE)),
    "linear": DiffusionObjective(Constant(), process(schedule=LINEAR)),
    "edm": EDMObjective(Constant(), validate(EDMProcess, EDM, "process", "test")),
}


@dataclass(frozen=True)
class Ideal:
    """E[x0 | x] of pixels that are independent N(mean, spread²)."""

    mean: float
    spread: float
    process: str = "cosine"

    def denoise(self, x: Tensor, alpha_bar: float) -> Tensor:
        gain = self.spread**2 * alpha_bar**0.5 / (alpha_bar * self.spread**2 + 1 - alpha_bar)
        return self.mean + gain * (x - alpha_bar**0.5 * self.mean)

    def levels(self, steps: int, start: float | None = None) -> list[float]:
        return PROCESSES[self.process].levels(steps, start)


# Of each sampler, enough for its samples' spread to be within three hundredths of the data's.
STEPS = {"ancestral": 1000, "ddim": 600, "dpm_solver": 150, "sde_dpm_solver": 60, "heun": 150}


def pure_noise(purpose: str = "ideal", count: int = 1000) -> ImageNoise:
    """The noise of images of 16 pixels."""
    return ImageNoise(0, purpose, range(count), (1, 4, 4), torch.device("cpu"))
