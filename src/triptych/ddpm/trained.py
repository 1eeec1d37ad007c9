"""A trained diffusion model from its files."""

from pathlib import Path

import torch

from triptych.core.schema import validate
from triptych.ddpm.denoising import DenoisingObjective
from triptych.ddpm.method import diffusion_method
from triptych.ddpm.model import denoising_network
from triptych.ddpm.params import Process
from triptych.nn.weights import load_model


def load_trained(folder: Path, device: torch.device) -> DenoisingObjective:
    """The network in `folder` under the process that it was trained for, in eval mode on the device.

    Raises:
        InputError: a file is missing, damaged, of another architecture, or does not say what the network predicts.
    """
    network, config = load_model(folder, denoising_network, device)
    process = validate(Process, config.get("process"), "process", folder / "config.json")
    return diffusion_method(network, process).to(device).eval()
