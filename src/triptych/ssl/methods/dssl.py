"""DSSL (Bai et al., CVPR 2022, "Directional Self-supervised Learning for Heavy Image Augmentations").

A heavily augmented view may have lost what its standard view shows. It is made from that view and pulled to it, not
the other way round, so that heavy augmentation adds to SimSiam instead of breaking it.
"""

from torch import Tensor

from triptych.core.schema import Count, Probability
from triptych.machine.randomness import Draw
from triptych.ssl.shared.heavy import RandAugment
from triptych.ssl.shared.network import SiameseNetwork, constant_for_predictor, negative_cosine, spread
from triptych.ssl.shared.params import HeavyParams, SSLRecipe
from triptych.ssl.shared.views import Views
from triptych.training.objective import Batch, Objective

Pair = tuple[Tensor, Tensor]


class Recipe(SSLRecipe):
    """What DSSL is made of.

    Attributes:
        projector_hidden, projector_dim: sizes of the projector, SimSiam's.
        predictor_hidden: size of the bottleneck of the predictor, SimSiam's.
        heavy: how a standard view is altered into its heavy view.
        alpha: share of the direction from standard to heavy; 0 pulls heavy views to standard ones only.
    """

    predictor_hidden: Count
    heavy: HeavyParams
    alpha: Probability


class DSSL(Objective):
    """L = [D(p1, z2) + D(p2, z1)] / 2 + (1 - α) [D(p̂1, z1) + D(p̂2, z2)] / 2 + α [D(p1, ẑ1) + D(p2, ẑ2)] / 2.

    p and z are of two standard views v1 and v2, p̂ and ẑ of their heavy views, which are augmentations of v1 and v2
    themselves. D stops the gradient of z. Batch norm takes its statistics per view. The predictor keeps a constant
    learning rate, as SimSiam's.

    Args:
        network: SimSiam's.
        views: the standard augmentation.
        heavy: what alters a standard view.
        alpha: α.
    """

    def __init__(self, network: SiameseNetwork, views: Views, heavy: RandAugment, alpha: float) -> None:
        super().__init__()
        self.network, self.views, self.heavy, self.alpha = network, views, heavy, alpha

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, in [-2, 2], and the three sums that it weighs, each in [-1, 1].

        Terms: `standard`, `heavy_to_standard`, `standard_to_heavy`; `embedding_std` as SimSiam's.
        """
        v1, v2 = self.views(batch.images, draw), self.views(batch.images, draw)
        encoded = self.network.each(v1, v2, self.heavy(v1, draw), self.heavy(v2, draw))
        (z, p), (z_heavy, p_heavy) = zip(*encoded[:2], strict=True), zip(*encoded[2:], strict=True)
        terms = {
            "standard": crosswise(p, z),
            "heavy_to_standard": pairwise(p_heavy, z),
            "standard_to_heavy": pairwise(p, z_heavy),
        }
        loss = terms["standard"] + (1 - self.alpha) * terms["heavy_to_standard"]
        loss = loss + self.alpha * terms["standard_to_heavy"]
        return loss, {name: term.detach() for name, term in terms.items()} | {"embedding_std": spread(z[0].float())}

    def parameter_groups(self) -> list[dict]:
        """The predictor keeps a constant learning rate."""
        return constant_for_predictor(self)


def D(p: Tensor, z: Tensor) -> Tensor:
    """-cos(p, stopgrad(z)), the mean over (B, dim) rows."""
    return negative_cosine(p.float(), z.detach().float())


def crosswise(p: Pair, z: Pair) -> Tensor:
    """[D(p1, z2) + D(p2, z1)] / 2: each of two views predicts the other."""
    return (D(p[0], z[1]) + D(p[1], z[0])) / 2


def pairwise(p: Pair, z: Pair) -> Tensor:
    """[D(p1, z1) + D(p2, z2)] / 2, where p and z are of a standard view and its heavy view, or the reverse."""
    return (D(p[0], z[0]) + D(p[1], z[1])) / 2


def build(recipe: Recipe, in_channels: int) -> tuple[DSSL, dict]:
    """The objective of a recipe, and the keyword arguments that rebuild its network."""
    sizes = recipe.network_sizes(in_channels, last_norm=True, predictor_hidden=recipe.predictor_hidden)
    objective = DSSL(SiameseNetwork(**sizes), Views(recipe.views), RandAugment(recipe.heavy), alpha=recipe.alpha)
    return objective, sizes
