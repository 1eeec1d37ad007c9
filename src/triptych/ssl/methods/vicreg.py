"""VICReg (Bardes et al. 2022, arXiv:2105.04906): views agree, every dimension varies, and no two vary together."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from triptych.core.schema import Positive
from triptych.machine.randomness import Draw
from triptych.ssl.shared.network import SiameseNetwork, gathered, spread
from triptych.ssl.shared.params import SSLRecipe
from triptych.ssl.shared.views import Views
from triptych.training.objective import Batch, Objective

# ε of equation 2 as in the authors' code; it keeps the gradient of a dimension without variance finite.
EPSILON = 1e-4

Weight = Annotated[float, Field(ge=0)]


class Recipe(SSLRecipe):
    """What VICReg and its ablations are made of; a weight of 0 drops its term from the loss.

    Attributes:
        projector_hidden, projector_dim: sizes of the projector, whose last layer is plain.
        invariance_weight, variance_weight, covariance_weight: λ, μ and ν; 25, 25 and 1 in the paper.
        gamma: γ, the standard deviation below which a dimension counts as collapsing; 1 in the paper.
    """

    invariance_weight: Weight
    variance_weight: Weight
    covariance_weight: Weight
    gamma: Positive


class VICReg(Objective):
    """L = λ s(Z, Z') + μ v(Z, Z') + ν c(Z, Z') (equation 6), over the projections of the global batch.

    Published forms differ by constants; these are the ones of the authors' code, to which the weights 25, 25 and 1
    belong: s is the mean over images and dimensions, where equation 5 sums over dimensions; v is the mean of the two
    branches, where equation 6 has their sum; c is the sum of the two branches. Batch norm takes its statistics per
    view.

    Args:
        network: without a predictor; its projector ends without a norm.
        views: the augmentation.
        invariance_weight, variance_weight, covariance_weight: λ, μ and ν.
        gamma: γ.
    """

    def __init__(
        self,
        network: SiameseNetwork,
        views: Views,
        invariance_weight: float,
        variance_weight: float,
        covariance_weight: float,
        gamma: float,
    ) -> None:
        super().__init__()
        self.network, self.views, self.gamma = network, views, gamma
        self.weights = {"invariance": invariance_weight, "variance": variance_weight, "covariance": covariance_weight}

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, at least 0.

        Terms: `invariance`, `variance` and `covariance`, s, v and c before their weights, also where the weight is 0;
        `embedding_std`, 1 where the projections fill their space and 0 in collapse.
        """
        x1, x2 = self.views(batch.images, draw), self.views(batch.images, draw)
        z1, z2 = (gathered(z.float()) for z, _ in self.network.each(x1, x2))
        terms = {
            "invariance": invariance(z1, z2),
            "variance": (variance(z1, self.gamma) + variance(z2, self.gamma)) / 2,
            "covariance": covariance(z1) + covariance(z2),
        }
        loss = sum(self.weights[name] * term for name, term in terms.items())
        return loss, {name: term.detach() for name, term in terms.items()} | {"embedding_std": spread(z1)}


def invariance(z1: Tensor, z2: Tensor) -> Tensor:
    """s = Σ_b ‖z_b - z'_b‖² / (N d) of two (N, d): 0 where the views agree."""
    return (z1 - z2).square().mean()


def variance(z: Tensor, gamma: float) -> Tensor:
    """v = Σ_j max(0, γ - sqrt(Var(z_j) + ε)) / d of (N, d), with Var divided by N - 1 (equations 1 and 2).

    0 where every dimension has at least the standard deviation γ; close to γ where all images are one point.
    """
    return functional.relu(gamma - (z.var(dim=0) + EPSILON).sqrt()).mean()


def covariance(z: Tensor) -> Tensor:
    """c = Σ_i Σ_{j≠i} C_ij² / d of (N, d), C their covariance divided by N - 1 (equations 3 and 4).

    In the precision of its argument, under autocast too.
    """
    centred = z - z.mean(dim=0)
    with torch.autocast(z.device.type, enabled=False):
        C = centred.T @ centred / (len(z) - 1)
    return (C - C.diagonal().diag()).square().sum() / z.shape[1]


def build(recipe: Recipe, in_channels: int) -> tuple[VICReg, dict]:
    """The objective of a recipe, and the keyword arguments that rebuild its network."""
    sizes = recipe.network_sizes(in_channels, last_norm=False)
    objective = VICReg(
        SiameseNetwork(**sizes),
        Views(recipe.views),
        invariance_weight=recipe.invariance_weight,
        variance_weight=recipe.variance_weight,
        covariance_weight=recipe.covariance_weight,
        gamma=recipe.gamma,
    )
    return objective, sizes
