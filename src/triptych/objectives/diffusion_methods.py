"""The diffusion method that params.yaml asks for."""

from torch import nn

from triptych.objectives.denoising import DenoisingObjective
from triptych.objectives.diffusion import DiffusionObjective
from triptych.objectives.edm import EDMObjective
from triptych.params.ddpm import DDPMProcess, EDMProcess


def diffusion_method(network: nn.Module, process: DDPMProcess | EDMProcess) -> DenoisingObjective:
    """The objective of a network under a process."""
    return EDMObjective(network, process) if isinstance(process, EDMProcess) else DiffusionObjective(network, process)
