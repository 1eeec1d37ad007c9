"""Barlow Twins (Zbontar et al. 2021, arXiv:2103.03230): make the cross-correlation of two views the identity."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from triptych.machine.randomness import Draw
from triptych.ssl.shared.network import SiameseNetwork, spread
from triptych.ssl.shared.params import SSLRecipe
from triptych.ssl.shared.views import Views
from triptych.training.objective import Batch, Objective
from triptych.training.processes import gathered

# Added to each variance, as in the batch norm of the authors' code.
EPSILON = 1e-5


class Recipe(SSLRecipe):
    off_diagonal: Annotated[float, Field(ge=0)]  # λ; 0.005 in the paper, for 8192 dimensions


class BarlowTwins(Objective):
    """Loss of Barlow Twins: L = Σ_i (1 - C_ii)² + λ Σ_i Σ_{j≠i} C_ij² (equation 1).

    C is the cross-correlation matrix of the projections of two views in the global batch, and λ is `off_diagonal`. The
    network has no predictor, and its projector ends without batch norm. Batch norm normalises each batch of views
    separately. The authors' code also multiplies the loss by a constant. The paper blurs and solarizes the two views
    with different probabilities; here, both views have the same distribution.
    """

    def __init__(self, network: SiameseNetwork, views: Views, off_diagonal: float) -> None:
        super().__init__()
        self.network, self.views, self.off_diagonal = network, views, off_diagonal

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        x1, x2 = self.views(batch.images, draw), self.views(batch.images, draw)
        z1, z2 = (gathered(z.float()) for z, _ in self.network.each(x1, x2))
        C = cross_correlation(z1, z2)
        on, off = invariance(C), redundancy(C)
        loss = on + self.off_diagonal * off
        return loss, {"invariance": on.detach(), "redundancy": off.detach(), "embedding_std": spread(z1)}


def cross_correlation(z1: Tensor, z2: Tensor) -> Tensor:
    """Return the cross-correlation matrix, of shape (d, d), of z1 and z2, both of shape (N, d) (equation 2).

    Autocast is disabled to keep the precision of the arguments.
    """
    with torch.autocast(z1.device.type, enabled=False):
        return standardised(z1).T @ standardised(z2) / len(z1)


def standardised(z: Tensor) -> Tensor:
    variance, mean = torch.var_mean(z, dim=0, correction=0)
    return (z - mean) / (variance + EPSILON).sqrt()


def invariance(C: Tensor) -> Tensor:
    """Return Σ_i (1 - C_ii)² for a cross-correlation matrix C of shape (d, d)."""
    return (1 - C.diagonal()).square().sum()


def redundancy(C: Tensor) -> Tensor:
    """Return Σ_i Σ_{j≠i} C_ij² for a cross-correlation matrix C of shape (d, d)."""
    return (C - C.diagonal().diag()).square().sum()


def build(recipe: Recipe, in_channels: int) -> tuple[BarlowTwins, dict]:
    sizes = recipe.network_sizes(in_channels, last_norm=False)
    return BarlowTwins(SiameseNetwork(**sizes), Views(recipe.views), recipe.off_diagonal), sizes
