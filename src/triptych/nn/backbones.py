"""Encoders for 32x32 images: a small ResNet (He et al. 2016, arXiv:1512.03385) and ResNet-18."""

from torch import Tensor, nn

from triptych.nn.fast.norm import BatchNorm, group_by_group, standardised


class BasicBlock(nn.Module):
    """Residual block from `before` to `after` channels. If the shape changes, the shortcut is a 1x1 convolution."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.first_norm = BatchNorm(after, relu=True)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.second_norm = BatchNorm(after, relu=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), BatchNorm(after))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.second(self.first_norm(self.first(x)))
        return self.second_norm(hidden, self.shortcut(x))


class SmallResNet(nn.Module):
    """ResNet: a convolution of stride `stem_stride`, groups of residual blocks, and global mean pooling.

    `blocks` lists the number of blocks per group. The first group has `width` channels. In each later group,
    the number of channels doubles and the resolution halves. If `standardise` is True, images are standardised first.
    """

    def __init__(
        self, in_channels: int, width: int, blocks: list[int], stem_stride: int, standardise: bool = False
    ) -> None:
        super().__init__()
        self.standardise = standardise
        convolution = nn.Conv2d(in_channels, width, 3, stride=stem_stride, padding=1, bias=False)
        self.stem = nn.Sequential(convolution, BatchNorm(width, relu=True))
        levels: list[nn.Module] = []
        channels = width
        for level, count in enumerate(blocks):
            for block in range(count):
                after = width * 2**level
                levels.append(BasicBlock(channels, after, stride=2 if level and not block else 1))
                channels = after
        self.levels = nn.Sequential(*levels)
        self.feature_size = channels

    def forward(self, images: Tensor) -> Tensor:
        """Return features of shape (B, feature_size) for images of shape (B, C, H, W) with values in [-1, 1]."""
        images = standardised(images) if self.standardise else images
        return self.levels(self.stem(images)).mean(dim=(2, 3))


class ResNet18(nn.Module):
    """ResNet-18 with a 3x3 first convolution of stride 1 and without max-pooling (Chen & He 2021, appendix D)."""

    feature_size = 512

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        # Importing torchvision takes as long as importing torch, so only this network imports it.
        from torchvision.models import resnet18

        # Residual branches train faster if they start at zero (Goyal et al. 2017, arXiv:1706.02677, section 5.1).
        self.layers = resnet18(zero_init_residual=True)
        self.layers.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(self.layers.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.layers.maxpool = nn.Identity()
        self.layers.fc = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return group_by_group(self.layers, images)


def build_backbone(name: str, in_channels: int, **sizes: object) -> nn.Module:
    """Build the encoder `name` ("small_resnet" or "resnet18"). `sizes` are the other arguments of its class."""
    return {"small_resnet": SmallResNet, "resnet18": ResNet18}[name](in_channels, **sizes)
