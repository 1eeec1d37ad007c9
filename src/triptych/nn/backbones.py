"""A small pre-softmax ResNet (He et al. 2016, arXiv:1512.03385) for 32-pixel images."""

import torch
from torch import Tensor, nn

from triptych.nn.fast.batch_norm import norm_relu, normed
from triptych.nn.fast.standardise import standardisable, standardise


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, and a shortcut that is projected where the shape changes."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(after)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(after)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor, views: int = 1) -> Tensor:
        """(B, before, H, W) -> (B, after, H/stride, W/stride); norms take their statistics view by view."""
        hidden = norm_relu(self.first_norm, self.first(x), parts=views)
        return norm_relu(self.second_norm, self.second(hidden), self._shortcut(x, views), views)

    def _shortcut(self, x: Tensor, views: int) -> Tensor:
        if isinstance(self.shortcut, nn.Identity):
            return x
        projection, norm = self.shortcut
        return normed(norm, projection(x), views)


# In the square of [-1, 1]: a channel whose deviation is about one level of 8 bits counts as flat, and stays small.
FLAT = 1e-4


def standardised(images: Tensor) -> Tensor:
    """Each channel of each image, (B, C, H, W), shifted to mean 0 and scaled to variance 1.

    Brightness, contrast and cast are gone, and with them what two views share without showing the same thing.
    """
    if standardisable(images):
        return standardise(images, FLAT)
    # A quarter of the time of torch.var_mean, which is slow on a CPU in channels last.
    centred = images - images.mean(dim=(2, 3), keepdim=True)
    variance = centred.square().mean(dim=(2, 3), keepdim=True)
    return centred * (variance + FLAT).rsqrt()


class SmallResNet(nn.Module):
    """A stem, then levels of basic blocks whose width doubles and whose resolution halves, then global mean pooling.

    Args:
        in_channels: channels of the images.
        width: channels of the first level.
        blocks: number of blocks in each level.
        stem_stride: 2 halves the resolution at once (fast), 1 keeps it.
        standardise: whether each channel of each image is first standardised, see `standardised`.
    """

    def __init__(
        self, in_channels: int, width: int, blocks: list[int], stem_stride: int, standardise: bool = False
    ) -> None:
        super().__init__()
        self.standardise = standardise
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, stride=stem_stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        levels: list[nn.Module] = []
        channels = width
        for level, count in enumerate(blocks):
            for block in range(count):
                after = width * 2**level
                levels.append(BasicBlock(channels, after, stride=2 if level and not block else 1))
                channels = after
        self.levels = nn.Sequential(*levels)
        self.feature_size = channels

    def forward(self, images: Tensor, views: int = 1) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> features (B, feature_size).

        Args:
            images: `views` equal batches, one after another.
            views: in training each is normalised by its own statistics, as if it passed the network alone.
        """
        if self.standardise:
            images = standardised(images)
        convolution, norm, _ = self.stem
        x = norm_relu(norm, convolution(images), parts=views)
        for block in self.levels:
            x = block(x, views)
        return x.mean(dim=(2, 3))


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
