"""A slow copy of an encoder that follows it step by step: the target of BYOL, and of SimSiam if it is to have one."""

import copy
import math

import torch
from torch import Tensor, nn

from triptych.ssl.shared.network import SiameseNetwork


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
