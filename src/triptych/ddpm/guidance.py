"""Autoguidance: a denoiser steered away from the mistakes of a worse version of itself.

Karras et al. 2024 (arXiv:2406.02507), "Guiding a Diffusion Model with a Bad Version of Itself". The guide is the same
network after fewer epochs: it errs where the trained one errs, and more so, hence their difference points to the data.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from triptych.core.errors import InputError
from triptych.ddpm.denoising import DenoisingObjective
from triptych.ddpm.samplers import Denoising
from triptych.ddpm.trained import load_trained
from triptych.nn.weights import load_weights


@dataclass(frozen=True)
class Autoguidance:
    """D_w = D_guide + w (D - D_guide) (equation 1), to be sampled as any other denoiser.

    Attributes:
        method: the trained one, D.
        guide: the worse one, of the same noise levels, D_guide.
        weight: w; 1 is `method` alone, and above it goes beyond.
    """

    method: Denoising
    guide: Denoising
    weight: float

    def denoise(self, x: Tensor, alpha_bar: float) -> Tensor:
        """The guided prediction of x0, (B, C, H, W) float32; two calls of a network."""
        guide = self.guide.denoise(x, alpha_bar)
        return guide + self.weight * (self.method.denoise(x, alpha_bar) - guide)

    def levels(self, steps: int, start: float | None = None) -> list[float]:
        """Those of the trained one."""
        return self.method.levels(steps, start)


def load_guide(model: Path, epoch: int, snapshots: dict[int, Path], device: torch.device) -> DenoisingObjective:
    """The model in a folder with the weights that were kept after an epoch.

    Raises:
        InputError: none were kept after that epoch, or a file is missing or damaged.
    """
    if epoch not in snapshots:
        kept = ", ".join(map(str, snapshots))
        raise InputError(
            f"sampling.ddpm.guidance: no weights were kept after epoch {epoch}; a guide is one of "
            f"ddpm.training.snapshot_epochs: {kept}"
        )
    guide = load_trained(model, device)
    load_weights(snapshots[epoch], guide.network)
    return guide
