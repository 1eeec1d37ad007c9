"""BYOL (Grill et al. 2020, arXiv:2006.07733): an online network predicts what its moving average makes of a view."""

from torch import Tensor

from triptych.core.schema import Count, Probability, Share
from triptych.machine.randomness import Draw
from triptych.ssl.shared.network import MomentumEncoder, SiameseNetwork, momentum_at, negative_cosine, spread
from triptych.ssl.shared.params import SSLRecipe
from triptych.ssl.shared.views import Views
from triptych.training.objective import Batch, Objective


class Recipe(SSLRecipe):
    """What BYOL is made of.

    Attributes:
        projector_hidden, projector_dim: sizes of the projector g.
        projector_norm: whether a batch norm ends it, as in SimSiam and in MoCo v3's form of BYOL (Chen et al. 2021,
            arXiv:2104.02057, section 4); false is the paper's (section 3.3).
        predictor_hidden: size of the hidden layer of the predictor q.
        momentum: τ_base, at the start; the paper has 0.996 for ten times as many steps.
        momentum_end: τ at the end, 1 in the paper; the same as `momentum` keeps it constant.
    """

    projector_norm: bool
    predictor_hidden: Count
    momentum: Share
    momentum_end: Probability


class BYOL(Objective):
    """L_BYOL = L(q(z1), z'2) + L(q(z2), z'1), with z of the online and z' of the target network (equation 2).

    The sum of both directions, as in the paper, in [0, 8]; not their mean. Each view passes each network once and
    alone, so that batch norm takes its statistics per view. All weights, the predictor's too, follow the one schedule
    of the learning rate, as in the paper.

    Args:
        network: the online network.
        views: the augmentation. The paper blurs and solarises its two views differently; here both are drawn alike.
        momentum, momentum_end: τ at the start and at the end.
    """

    def __init__(self, network: SiameseNetwork, views: Views, momentum: float, momentum_end: float) -> None:
        super().__init__()
        self.network, self.views = network, views
        self.target = MomentumEncoder(network)
        self.momentum, self.momentum_end = momentum, momentum_end

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss; term `embedding_std`, 1 where the projections fill their space and 0 in collapse."""
        x1, x2 = self.views(batch.images, draw), self.views(batch.images, draw)
        (z1, q1), (_, q2) = self.network.each(x1, x2)
        t1, t2 = self.target(x1, x2)
        loss = regression(q1, t2) + regression(q2, t1)
        return loss, {"embedding_std": spread(z1.float())}

    def after_step(self, progress: float) -> None:
        """Moves the target towards the online network."""
        self.target.update(self.network, momentum_at(self.momentum, self.momentum_end, progress))


def regression(q: Tensor, z: Tensor) -> Tensor:
    """‖q / ‖q‖ - z / ‖z‖‖² = 2 - 2 cos(q, z), the mean over (B, dim) rows (equation 2)."""
    return 2 + 2 * negative_cosine(q.float(), z.float())


def build(recipe: Recipe, in_channels: int) -> tuple[BYOL, dict]:
    """The objective of a recipe, and the keyword arguments that rebuild its network."""
    sizes = recipe.network_sizes(in_channels, last_norm=recipe.projector_norm, predictor_hidden=recipe.predictor_hidden)
    objective = BYOL(
        SiameseNetwork(**sizes), Views(recipe.views), momentum=recipe.momentum, momentum_end=recipe.momentum_end
    )
    return objective, sizes
