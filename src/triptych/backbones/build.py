"""Encoders that turn an image into features: a small ResNet, and ResNet-18 with the stem of 32-pixel images."""

import torch
from torch import Tensor, nn

from triptych.backbones.small_resnet import SmallResNet


class ResNet18(nn.Module):
    """torchvision's ResNet-18 with a 3x3 stem of stride 1 and no max-pooling (Chen & He 2021, Appendix D).

    Args:
        in_channels: channels of the images.
    """

    feature_size = 512

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        # Importing torchvision takes as long as importing torch: only who wants this network pays for it.
        from torchvision.models import resnet18

        # Residual branches that start at zero train faster (Goyal et al. 2017, arXiv:1706.02677, section 5.1).
        self.layers = resnet18(zero_init_residual=True)
        self.layers.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(self.layers.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.layers.maxpool = nn.Identity()
        self.layers.fc = nn.Identity()

    def forward(self, images: Tensor, views: int = 1) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> features (B, 512); views as SmallResNet's."""
        if views == 1:
            return self.layers(images)
        return torch.cat([self.layers(view) for view in images.chunk(views)])


def build_backbone(name: str, in_channels: int, **sizes: object) -> nn.Module:
    """The encoder of a name in params.yaml; it has `feature_size`.

    Raises:
        KeyError: there is no encoder of that name.
    """
    return {"small_resnet": SmallResNet, "resnet18": ResNet18}[name](in_channels, **sizes)
