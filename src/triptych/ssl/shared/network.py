"""Encoder, projector and predictor of the methods that compare two views of an image."""

import copy
import math

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from triptych.nn.backbones import build_backbone
from triptych.nn.fast.batch_norm import normed
from triptych.training import processes as collectives
from triptych.training.objective import Objective


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


def negative_cosine(p: Tensor, z: Tensor) -> Tensor:
    """D(p, z) = -(p / |p|) · (z / |z|), the mean over (B, dim) rows: -1 where all agree.

    Equation 1 of SimSiam (Chen & He 2021, arXiv:2011.10566).
    """
    return -functional.cosine_similarity(p, z, dim=1).mean()


@torch.no_grad()
def spread(z: Tensor) -> Tensor:
    """Mean over channels of the deviation of z / |z|, times sqrt(dim), of (B, dim): 1 healthy, 0 collapsed.

    Section 4.1 of SimSiam (Chen & He 2021, arXiv:2011.10566).
    """
    return functional.normalize(z, dim=1).std(dim=0, correction=0).mean() * z.shape[1] ** 0.5


def gathered(rows: Tensor) -> Tensor:
    """(B, ...) rows of this process -> (processes * B, ...) in the order of the global batch, with gradients.

    One process gets back the very tensor. Of several, each computes the loss of the global batch from what this
    returns; the gradients of those equal losses are added up on the way back and averaged over the processes by
    DistributedDataParallel, so that a parameter's gradient is that of one process with the whole batch.

    Args:
        rows: equally many on every process.
    """
    alone = not dist.is_initialized() or dist.get_world_size() == 1
    return rows if alone else collectives.gathered(rows)


class MomentumEncoder(nn.Module):
    """Target network: backbone and projector whose weights ξ are a moving average of the online weights θ.

    Section 3.1 of BYOL (Grill et al. 2020, arXiv:2006.07733), after MoCo (He et al. 2020, arXiv:1911.05722). ξ starts
    as a copy of θ, which draws no random numbers; the authors' code draws both and finds no difference. Batch norm
    takes the statistics of the batch that the target sees, as theirs does, and keeps running ones of its own.

    Args:
        network: the online network; its predictor has no part here.
    """

    def __init__(self, network: SiameseNetwork) -> None:
        super().__init__()
        self.backbone, self.projector = copy.deepcopy(network.backbone), copy.deepcopy(network.projector)
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, *views: Tensor) -> tuple[Tensor, ...]:
        """z of each view, (B, C, H, W) in [-1, 1] -> (B, dim), as if it passed alone; without a gradient."""
        count = len(views)
        return self.projector(self.backbone(torch.cat(views), count), count).chunk(count)

    @torch.no_grad()
    def update(self, network: SiameseNetwork, momentum: float) -> None:
        """ξ <- τ ξ + (1 - τ) θ (equation 1 of BYOL), with τ the momentum in [0, 1]."""
        online = [*network.backbone.parameters(), *network.projector.parameters()]
        torch._foreach_lerp_(list(self.parameters()), online, 1 - momentum)


def momentum_at(start: float, end: float, progress: float) -> float:
    """τ after a share of the run in [0, 1]: half a cosine from `start` to `end`.

    τ = 1 - (1 - τ_base) (cos(π k / K) + 1) / 2 of BYOL, section 3.3, where `end` is 1.
    """
    return end - (end - start) * (math.cos(math.pi * progress) + 1) / 2


def constant_for_predictor(objective: Objective) -> list[dict]:
    """Optimiser groups: all that is trained, with the learning rate's schedule, and the predictor without it.

    The predictor should adapt to the latest projections (SimSiam, Chen & He 2021, section 4.2). A predictor without
    trained parameters makes no group.
    """
    predictor = [p for p in objective.network.predictor.parameters() if p.requires_grad]
    apart = {id(p) for p in predictor}
    encoder = [p for p in objective.parameters() if p.requires_grad and id(p) not in apart]
    groups = [{"params": encoder, "constant_rate": False}]
    return groups + ([{"params": predictor, "constant_rate": True}] if predictor else [])
