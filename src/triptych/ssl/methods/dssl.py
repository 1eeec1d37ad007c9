"""DSSL (Bai et al., CVPR 2022, "Directional Self-supervised Learning for Heavy Image Augmentations").

Heavy augmentation can destroy the content of an image. DSSL makes each heavily augmented view from a standard view. The
loss pulls heavy views towards standard views, and pulls standard views towards heavy views only with the weight α.
"""

from torch import Tensor

from triptych.core.schema import Count, Probability
from triptych.machine.randomness import Draw
from triptych.ssl.shared.heavy import RandAugment
from triptych.ssl.shared.network import SiameseNetwork, constant_for_predictor, negative_cosine, spread
from triptych.ssl.shared.params import HeavyParams, SSLRecipe
from triptych.ssl.shared.views import Views
from triptych.training.objective import Batch, Objective


class Recipe(SSLRecipe):
    """Settings of DSSL. The projector and the predictor are the same as in SimSiam."""

    predictor_hidden: Count
    heavy: HeavyParams
    alpha: Probability  # α; with 0, standard views are not pulled towards heavy views


class DSSL(Objective):
    """Loss of DSSL: [D(p1, z2) + D(p2, z1) + (1 - α) (D(p̂1, z1) + D(p̂2, z2)) + α (D(p1, ẑ1) + D(p2, ẑ2))] / 2.

    The predictions p1, p2 and projections z1, z2 belong to two standard views, and p̂1, p̂2, ẑ1, ẑ2 to heavy views made
    from them. `D` stops the gradient of its second argument. Batch norm normalises each batch of views separately.
    """

    def __init__(self, network: SiameseNetwork, views: Views, heavy: RandAugment, alpha: float) -> None:
        super().__init__()
        self.network, self.views, self.heavy, self.alpha = network, views, heavy, alpha

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        v1, v2 = self.views(batch.images, draw), self.views(batch.images, draw)
        encoded = self.network.each(v1, v2, self.heavy(v1, draw), self.heavy(v2, draw))
        (z1, p1), (z2, p2), (z1_heavy, p1_heavy), (z2_heavy, p2_heavy) = encoded
        terms = {
            "standard": (D(p1, z2) + D(p2, z1)) / 2,
            "heavy_to_standard": (D(p1_heavy, z1) + D(p2_heavy, z2)) / 2,
            "standard_to_heavy": (D(p1, z1_heavy) + D(p2, z2_heavy)) / 2,
        }
        loss = terms["standard"] + (1 - self.alpha) * terms["heavy_to_standard"]
        loss = loss + self.alpha * terms["standard_to_heavy"]
        return loss, {name: term.detach() for name, term in terms.items()} | {"embedding_std": spread(z1.float())}

    def parameter_groups(self) -> list[dict]:
        return constant_for_predictor(self)


def D(p: Tensor, z: Tensor) -> Tensor:
    """Return the mean of -cos(p, stopgrad(z)) over the rows of p and z, both of shape (B, dim)."""
    return negative_cosine(p.float(), z.detach().float())


def build(recipe: Recipe, in_channels: int) -> tuple[DSSL, dict]:
    sizes = recipe.network_sizes(in_channels, last_norm=True, predictor_hidden=recipe.predictor_hidden)
    return DSSL(SiameseNetwork(**sizes), Views(recipe.views), RandAugment(recipe.heavy), recipe.alpha), sizes
