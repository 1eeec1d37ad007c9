"""VICReg (Bardes et al. 2022, arXiv:2105.04906): a loss with invariance, variance and covariance terms."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from triptych.core.schema import Positive
from triptych.machine.randomness import Draw
from triptych.ssl.shared.network import SiameseNetwork, spread
from triptych.ssl.shared.params import SSLRecipe
from triptych.ssl.shared.views import Views
from triptych.training.objective import Batch, Objective
from triptych.training.processes import gathered

# ε of equation 2, as in the authors' code: keeps the gradient finite for a dimension without variance.
EPSILON = 1e-4

Weight = Annotated[float, Field(ge=0)]


class Recipe(SSLRecipe):
    """Settings of VICReg. A weight of 0 removes the corresponding term from the loss."""

    invariance_weight: Weight  # λ, 25 in the paper
    variance_weight: Weight  # μ, 25
    covariance_weight: Weight  # ν, 1
    gamma: Positive  # γ, the standard deviation that each dimension should reach; 1 in the paper


class VICReg(Objective):
    """Loss of VICReg: L = λ s(Z, Z') + μ v(Z, Z') + ν c(Z, Z') (equation 6).

    Z and Z' are the projections of two views, of shape (N, d), in the global batch. s is `invariance`, v is the mean of
    `variance` over Z and Z', and c is the sum of `covariance` over both. λ, μ and ν are weights in `recipe`. The terms
    are those of the authors' code. In the paper, s sums over d dimensions, and v sums over Z and Z'. The network has no
    predictor, and its projector ends without batch norm. Batch norm normalises each batch of views separately.
    """

    def __init__(self, network: SiameseNetwork, views: Views, recipe: Recipe) -> None:
        super().__init__()
        self.network, self.views, self.recipe = network, views, recipe

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and a dict of values to log: the three unweighted terms and the embedding std."""
        x1, x2 = self.views(batch.images, draw), self.views(batch.images, draw)
        z1, z2 = (gathered(z.float()) for z, _ in self.network.each(x1, x2))
        s = invariance(z1, z2)
        v = (variance(z1, self.recipe.gamma) + variance(z2, self.recipe.gamma)) / 2
        c = covariance(z1) + covariance(z2)
        loss = self.recipe.invariance_weight * s + self.recipe.variance_weight * v + self.recipe.covariance_weight * c
        terms = {"invariance": s.detach(), "variance": v.detach(), "covariance": c.detach()}
        return loss, terms | {"embedding_std": spread(z1)}


def invariance(z1: Tensor, z2: Tensor) -> Tensor:
    """Return the mean squared difference of z1 and z2, both of shape (N, d): equation 5 divided by d."""
    return (z1 - z2).square().mean()


def variance(z: Tensor, gamma: float) -> Tensor:
    """Return the mean of max(0, gamma - sqrt(Var + 1e-4)) over the columns of z of shape (N, d) (equations 1 and 2)."""
    return functional.relu(gamma - (z.var(dim=0) + EPSILON).sqrt()).mean()


def covariance(z: Tensor) -> Tensor:
    """Return Σ_i Σ_{j≠i} C_ij² / d, where C is the unbiased covariance of z of shape (N, d) (equations 3 and 4).

    Autocast is disabled to keep the precision of z.
    """
    centred = z - z.mean(dim=0)
    with torch.autocast(z.device.type, enabled=False):
        C = centred.T @ centred / (len(z) - 1)
    return (C - C.diagonal().diag()).square().sum() / z.shape[1]


def build(recipe: Recipe, in_channels: int) -> tuple[VICReg, dict]:
    sizes = recipe.network_sizes(in_channels, last_norm=False)
    return VICReg(SiameseNetwork(**sizes), Views(recipe.views), recipe), sizes
