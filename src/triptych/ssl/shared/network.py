"""Encoder, projector and predictor of the methods that compare two views of an image."""

import torch
from torch import Tensor, nn

from triptych.backbones.build import build_backbone
from triptych.kernels.batch_norm import normed


class Layers(nn.Sequential):
    """Linear layers, batch norms and ReLUs in turn; of none, the identity."""

    def forward(self, x: Tensor, views: int = 1) -> Tensor:
        """(B, before) -> (B, after); norms take their statistics view by view."""
        for layer in self:
            x = normed(layer, x, views) if isinstance(layer, nn.BatchNorm1d) else layer(x)
        return x


class Projector(Layers):
    """Linear layers; batch norm and ReLU after each but the last, which ends in one of two ways.

    With a batch norm without affine map: the projection MLP of SimSiam (Chen & He 2021, section 3 and Appendix D).
    Plain, with a bias and no norm: those of SimCLR, BYOL, Barlow Twins and VICReg.

    Args:
        before: size of the features.
        hidden: sizes of the hidden layers.
        dim: size of the output.
        last_norm: whether the output is normalised.
    """

    def __init__(self, before: int, hidden: list[int], dim: int, last_norm: bool = True) -> None:
        layers: list[nn.Module] = []
        for size in hidden:
            layers += [nn.Linear(before, size, bias=False), nn.BatchNorm1d(size), nn.ReLU()]
            before = size
        layers.append(nn.Linear(before, dim, bias=not last_norm))
        if last_norm:
            layers.append(nn.BatchNorm1d(dim, affine=False))
        super().__init__(*layers)


class Predictor(Layers):
    """A bottleneck of two layers, batch norm and ReLU on the hidden one only (Chen & He 2021, section 3)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__(nn.Linear(dim, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, dim))


class SiameseNetwork(nn.Module):
    """Encoder f = projector after backbone, and predictor h.

    Args:
        in_channels: channels of the images.
        backbone: name and sizes of the encoder, see `build_backbone`.
        projector: `hidden`, `dim` and, where it is false, `last_norm`, see Projector.
        predictor: `hidden`, see Predictor; None for the identity.
    """

    def __init__(self, in_channels: int, backbone: dict, projector: dict, predictor: dict | None) -> None:
        super().__init__()
        self.backbone = build_backbone(in_channels=in_channels, **backbone)
        self.projector = Projector(self.backbone.feature_size, **projector)
        self.predictor = Predictor(projector["dim"], **predictor) if predictor else Layers()

    def forward(self, images: Tensor, views: int = 1) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) in [-1, 1] -> projection z = f(x) and prediction p = h(z), both (B, dim).

        Args:
            images: `views` equal batches, one after another.
            views: norms take the statistics of each.
        """
        z = self.projector(self.backbone(images, views), views)
        return z, self.predictor(z, views)

    def each(self, *images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """z and p of each of several views, all (B, C, H, W): as if they passed one by one, in fewer operations."""
        z, p = self(torch.cat(images), len(images))
        return list(zip(z.chunk(len(images)), p.chunk(len(images)), strict=True))
