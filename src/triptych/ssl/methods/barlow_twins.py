"""Barlow Twins (Zbontar et al. 2021, arXiv:2103.03230): dimensions that agree between two views and repeat no other."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from triptych.machine.randomness import Draw
from triptych.ssl.shared.network import SiameseNetwork, gathered, spread
from triptych.ssl.shared.params import SSLRecipe
from triptych.ssl.shared.views import Views
from triptych.training.objective import Batch, Objective

# Added to each variance, as by the batch norm with which the authors' code standardises.
EPSILON = 1e-5


class Recipe(SSLRecipe):
    """What Barlow Twins is made of.

    Attributes:
        projector_hidden, projector_dim: sizes of the projector, whose last layer is plain.
        off_diagonal: λ, the weight of the redundancy term; the paper has 0.005 for 8192 dimensions.
    """

    off_diagonal: Annotated[float, Field(ge=0)]


class BarlowTwins(Objective):
    """L = Σ_i (1 - C_ii)² + λ Σ_i Σ_{j≠i} C_ij² (equation 1), C the cross-correlation of two views' projections.

    C is that of the global batch. The sum is taken as it is; the authors' code multiplies it by a further constant,
    which acts on the learning rate. Batch norm takes its statistics per view.

    Args:
        network: without a predictor; its projector ends without a norm.
        views: the augmentation. The paper blurs and solarises its two views differently; here both are drawn alike.
        off_diagonal: λ.
    """

    def __init__(self, network: SiameseNetwork, views: Views, off_diagonal: float) -> None:
        super().__init__()
        self.network, self.views, self.off_diagonal = network, views, off_diagonal

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, at least 0.

        Terms: `invariance` and `redundancy`, the two sums of the loss, the second before λ; `embedding_std`, 1 where
        the projections fill their space and 0 in collapse.
        """
        x1, x2 = self.views(batch.images, draw), self.views(batch.images, draw)
        z1, z2 = (gathered(z.float()) for z, _ in self.network.each(x1, x2))
        C = cross_correlation(z1, z2)
        on, off = invariance(C), redundancy(C)
        loss = on + self.off_diagonal * off
        return loss, {"invariance": on.detach(), "redundancy": off.detach(), "embedding_std": spread(z1)}


def cross_correlation(z1: Tensor, z2: Tensor) -> Tensor:
    """C_ij, the correlation of dimension i of one view with dimension j of the other: 2 x (N, d) -> (d, d).

    Equation 2, in the precision of its arguments, under autocast too.
    """
    with torch.autocast(z1.device.type, enabled=False):
        return standardised(z1).T @ standardised(z2) / len(z1)


def standardised(z: Tensor) -> Tensor:
    """(N, d), each dimension with mean 0 and variance 1 (divided by N) over the batch."""
    variance, mean = torch.var_mean(z, dim=0, correction=0)
    return (z - mean) / (variance + EPSILON).sqrt()


def invariance(C: Tensor) -> Tensor:
    """Σ_i (1 - C_ii)²: 0 where each dimension is the same for both views."""
    return (1 - C.diagonal()).square().sum()


def redundancy(C: Tensor) -> Tensor:
    """Σ_i Σ_{j≠i} C_ij²: 0 where no two dimensions are correlated."""
    return (C - C.diagonal().diag()).square().sum()


def build(recipe: Recipe, in_channels: int) -> tuple[BarlowTwins, dict]:
    """The objective of a recipe, and the keyword arguments that rebuild its network."""
    sizes = recipe.network_sizes(in_channels, last_norm=False)
    return BarlowTwins(SiameseNetwork(**sizes), Views(recipe.views), off_diagonal=recipe.off_diagonal), sizes
