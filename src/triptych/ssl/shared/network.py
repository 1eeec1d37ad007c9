"""Encoder, projector, predictor, and loss terms that several self-supervised methods share."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.nn.backbones import build_backbone
from triptych.nn.fast.norm import BatchNorm, grouped
from triptych.training.objective import Objective


class Projector(nn.Sequential):
    """Linear layers with batch norm and ReLU after each layer except the last.

    If `last_norm` is True, the last layer has no bias and is followed by batch norm without scale and shift parameters.
    """

    def __init__(self, features: int, hidden: list[int], dim: int, last_norm: bool = True) -> None:
        layers: list[nn.Module] = []
        for size in hidden:
            layers += [nn.Linear(features, size, bias=False), BatchNorm(size), nn.ReLU()]
            features = size
        layers.append(nn.Linear(features, dim, bias=not last_norm))
        super().__init__(*layers, *([BatchNorm(dim, affine=False)] if last_norm else []))


class Predictor(nn.Sequential):
    """Two linear layers with batch norm and ReLU between them (Chen & He 2021, section 3)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__(nn.Linear(dim, hidden, bias=False), BatchNorm(hidden), nn.ReLU(), nn.Linear(hidden, dim))


class SiameseNetwork(nn.Module):
    """Network of backbone, projector and predictor. With `predictor=None`, the predictor is the identity."""

    def __init__(self, in_channels: int, backbone: dict, projector: dict, predictor: dict | None) -> None:
        super().__init__()
        self.backbone = build_backbone(in_channels=in_channels, **backbone)
        self.projector = Projector(self.backbone.feature_size, **projector)
        self.predictor = Predictor(projector["dim"], **predictor) if predictor else nn.Sequential()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return projections and predictions, both of shape (B, dim), of images of shape (B, C, H, W) in [-1, 1]."""
        z = self.projector(self.backbone(images))
        return z, self.predictor(z)

    def each(self, *images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return projections and predictions of each batch of images. Batch norm uses separate statistics per batch."""
        with grouped(len(images)):
            z, p = self(torch.cat(images))
        return list(zip(z.chunk(len(images)), p.chunk(len(images)), strict=True))


def negative_cosine(p: Tensor, z: Tensor) -> Tensor:
    """Return the mean of -cos(p, z) over the rows of p and z, both of shape (B, dim) (SimSiam, equation 1)."""
    return -functional.cosine_similarity(p, z, dim=1).mean()


@torch.no_grad()
def spread(z: Tensor) -> Tensor:
    """Return sqrt(dim) times the mean standard deviation of the columns of z / ‖z‖, where z has shape (B, dim).

    The result is 1 if the rows are spread evenly over the sphere, and 0 if they are equal (SimSiam, section 4.1).
    """
    return functional.normalize(z, dim=1).std(dim=0, correction=0).mean() * z.shape[1] ** 0.5


class MomentumEncoder(nn.Module):
    """Target network whose weights are a moving average of the online network's weights (BYOL, section 3.1).

    As in the authors' code, batch norm uses statistics of the target network and not of the online network.
    """

    def __init__(self, online: SiameseNetwork) -> None:
        super().__init__()
        self.backbone, self.projector = copy.deepcopy(online.backbone), copy.deepcopy(online.projector)
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, *views: Tensor) -> tuple[Tensor, ...]:
        with grouped(len(views)):
            return self.projector(self.backbone(torch.cat(views))).chunk(len(views))

    @torch.no_grad()
    def update(self, online: SiameseNetwork, momentum: float) -> None:
        """Set each weight to `momentum` * weight + (1 - `momentum`) * online weight (BYOL, equation 1)."""
        theta = [*online.backbone.parameters(), *online.projector.parameters()]
        torch._foreach_lerp_(list(self.parameters()), theta, 1 - momentum)


def constant_for_predictor(objective: Objective) -> list[dict]:
    """Return optimizer parameter groups in which the predictor has a constant learning rate (SimSiam, section 4.2)."""
    predictor = [p for p in objective.network.predictor.parameters() if p.requires_grad]
    in_predictor = {id(p) for p in predictor}
    encoder = [p for p in objective.parameters() if p.requires_grad and id(p) not in in_predictor]
    groups = [{"params": encoder, "constant_rate": False}]
    return groups + ([{"params": predictor, "constant_rate": True}] if predictor else [])
