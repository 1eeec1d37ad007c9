"""SimSiam (Chen & He 2021, arXiv:2011.10566): a siamese network with a predictor and a stop-gradient."""

from typing import Literal

from pydantic import model_validator
from torch import Tensor

from triptych.core.schema import Count, Share
from triptych.machine.randomness import Draw
from triptych.ssl.shared.network import MomentumEncoder, SiameseNetwork, constant_for_predictor, negative_cosine, spread
from triptych.ssl.shared.params import SSLRecipe
from triptych.ssl.shared.views import Views
from triptych.training.objective import Batch, Objective


class Recipe(SSLRecipe):
    """Settings of SimSiam. Each ablation changes one setting."""

    predictor: Literal["mlp", "none", "fixed_random"]  # h, no h, or h with fixed random weights (section 4.2)
    predictor_hidden: Count
    stop_gradient: bool  # False lets gradients flow into both branches (section 4.1)
    symmetric: bool  # False drops the second term of the loss (section 4.6)
    momentum: Share  # 0 as in the paper; otherwise τ of a momentum encoder as target, as in BYOL

    @model_validator(mode="after")
    def _average_without_gradient(self) -> "Recipe":
        if self.momentum and not self.stop_gradient:
            raise ValueError("stop_gradient: false requires momentum: 0.0, as a momentum encoder has no gradients")
        return self


class SimSiam(Objective):
    """Loss of SimSiam: L = D(p1, stopgrad(z2)) / 2 + D(p2, stopgrad(z1)) / 2 (equation 4).

    z1 and z2 are the projections of two views, p1 and p2 the predictions, all of shape (B, dim). D is
    `negative_cosine`. If `recipe.momentum` is not 0, a momentum encoder computes z1 and z2 in D. Batch norm normalises
    one view at a time.
    """

    def __init__(self, network: SiameseNetwork, views: Views, recipe: Recipe) -> None:
        super().__init__()
        self.network, self.views, self.recipe = network, views, recipe
        self.momentum_encoder = MomentumEncoder(network) if recipe.momentum else None
        network.predictor.requires_grad_(recipe.predictor == "mlp")

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        x1, x2 = self.views(batch.images, draw), self.views(batch.images, draw)
        (z1, p1), (z2, p2) = self.network.each(x1, x2)
        if self.momentum_encoder:
            t1, t2 = self.momentum_encoder(x1, x2)
        else:
            t1, t2 = (z1.detach(), z2.detach()) if self.recipe.stop_gradient else (z1, z2)
        loss = negative_cosine(p1.float(), t2.float())
        if self.recipe.symmetric:
            loss = loss / 2 + negative_cosine(p2.float(), t1.float()) / 2
        return loss, {"embedding_std": spread(z1.float())}

    def parameter_groups(self) -> list[dict]:
        return constant_for_predictor(self)

    def after_step(self, progress: float) -> None:
        if self.momentum_encoder:
            self.momentum_encoder.update(self.network, self.recipe.momentum)


def build(recipe: Recipe, in_channels: int) -> tuple[SimSiam, dict]:
    predictor_hidden = None if recipe.predictor == "none" else recipe.predictor_hidden
    sizes = recipe.network_sizes(in_channels, last_norm=True, predictor_hidden=predictor_hidden)
    return SimSiam(SiameseNetwork(**sizes), Views(recipe.views), recipe), sizes
