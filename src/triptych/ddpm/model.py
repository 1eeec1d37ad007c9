"""The diffusion networks by name."""

from torch import nn

from triptych.ddpm.patch_unet import PatchUNet
from triptych.ddpm.unet import UNet

NETWORKS: dict[str, type[nn.Module]] = {"unet": UNet, "patch_unet": PatchUNet}


def denoising_network(name: str, **sizes: object) -> nn.Module:
    """The network called `name` in params.yaml; `sizes` are its own arguments and `image_shape`."""
    return NETWORKS[name](**sizes)
