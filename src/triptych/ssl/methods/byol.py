"""BYOL (Grill et al. 2020, arXiv:2006.07733): an online network predicts the projections of its own moving average."""

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
    """L_BYOL = L(q(z1), z'2) + L(q(z2), z'1) (equation 2), where L is `regression` and q is the predictor.

    The projections z are those of the online network, and z' those of the target network. As in the paper, one learning
    rate schedule applies to all weights, including the predictor. Batch norm uses the statistics of each view. The
    paper blurs and solarizes its views with different probabilities; here both views have the same distribution.
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
    """Return the mean of ‖q / ‖q‖ - z / ‖z‖‖² = 2 - 2 cos(q, z) over the B rows of q and z (equation 2)."""
    return 2 + 2 * negative_cosine(q.float(), z.float())


def momentum_at(start: float, end: float, progress: float) -> float:
    """Return the momentum τ after a fraction `progress` of the run, on a half-cosine from `start` to `end`."""
    return end - (end - start) * (math.cos(math.pi * progress) + 1) / 2


def build(recipe: Recipe, in_channels: int) -> tuple[BYOL, dict]:
    sizes = recipe.network_sizes(in_channels, last_norm=recipe.projector_norm, predictor_hidden=recipe.predictor_hidden)
    return BYOL(SiameseNetwork(**sizes), Views(recipe.views), recipe), sizes
