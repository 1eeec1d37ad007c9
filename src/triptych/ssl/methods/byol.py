"""BYOL (Grill et al. 2020, arXiv:2006.07733): a network learns to predict the projections of its moving average."""

import math

from torch import Tensor

from triptych.core.schema import Count, Probability, Share
from triptych.machine.randomness import Draw
from triptych.ssl.shared.network import MomentumEncoder, SiameseNetwork, negative_cosine, spread
from triptych.ssl.shared.params import SSLRecipe
from triptych.ssl.shared.views import Views
from triptych.training.objective import Batch, Objective


class Recipe(SSLRecipe):
    projector_norm: bool  # False as in section 3.3; True as in SimSiam and MoCo v3 (arXiv:2104.02057, section 4)
    predictor_hidden: Count
    momentum: Share  # τ at the start; 0.996 in the paper, which trains for ten times as many steps
    momentum_end: Probability  # τ at the end; 1 in the paper


class BYOL(Objective):
    """Loss of BYOL: L(q(z1), z'2) + L(q(z2), z'1), where L is `regression` and q is the predictor (equation 2).

    z1 and z2 are the projections of two views by the trained network. z'1 and z'2 are the projections of the same views
    by the target network, a moving average of the trained network. As in the paper, all weights have the same learning
    rate. Batch norm normalises each batch of views separately. The paper blurs and solarizes its two views with
    different probabilities; here, both views have the same distribution.
    """

    def __init__(self, network: SiameseNetwork, views: Views, recipe: Recipe) -> None:
        super().__init__()
        self.network, self.views, self.recipe = network, views, recipe
        self.target = MomentumEncoder(network)

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        x1, x2 = self.views(batch.images, draw), self.views(batch.images, draw)
        (z1, q1), (_, q2) = self.network.each(x1, x2)
        t1, t2 = self.target(x1, x2)
        loss = regression(q1, t2) + regression(q2, t1)
        return loss, {"embedding_std": spread(z1.float())}

    def after_step(self, progress: float) -> None:
        self.target.update(self.network, momentum_at(self.recipe.momentum, self.recipe.momentum_end, progress))


def regression(q: Tensor, z: Tensor) -> Tensor:
    """Return the mean of 2 - 2 cos(q, z) over the rows of q and z, both of shape (B, dim) (equation 2)."""
    return 2 + 2 * negative_cosine(q.float(), z.float())


def momentum_at(start: float, end: float, progress: float) -> float:
    """Return the momentum of the target network: a half-cosine from `start` to `end` as `progress` goes from 0 to 1."""
    return end - (end - start) * (math.cos(math.pi * progress) + 1) / 2


def build(recipe: Recipe, in_channels: int) -> tuple[BYOL, dict]:
    sizes = recipe.network_sizes(in_channels, last_norm=recipe.projector_norm, predictor_hidden=recipe.predictor_hidden)
    return BYOL(SiameseNetwork(**sizes), Views(recipe.views), recipe), sizes
