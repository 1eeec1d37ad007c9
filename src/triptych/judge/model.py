"""The judge's network: a small ResNet with a linear head."""

from torch import Tensor, nn

from triptych.nn.backbones import SmallResNet


class Classifier(nn.Module):
    """Logits from the features that the evaluations use.

    Args:
        in_channels: channels of the images.
        classes: number of classes.
        width, blocks, stem_stride: see SmallResNet.
    """

    def __init__(self, in_channels: int, classes: int, width: int, blocks: list[int], stem_stride: int) -> None:
        super().__init__()
        self.backbone = SmallResNet(in_channels, width, blocks, stem_stride)
        self.head = nn.Linear(self.backbone.feature_size, classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> logits (B, classes)."""
        return self.head(self.backbone(images))
