"""The diffusion method that params.yaml asks for."""

from torch import nn

from triptych.ddpm.denoising import DenoisingObjective
from triptych.ddpm.edm import EDMObjective
from triptych.ddpm.params import DDPMProcess, EDMProcess
from triptych.ddpm.process import DiffusionObjective


def diffusion_method(network: nn.Module, process: DDPMProcess | EDMProcess) -> DenoisingObjective:
    """The objective of a network under a process."""
    return EDMObjective(network, process) if isinstance(process, EDMProcess) else DiffusionObjective(network, process)
