"""SimSiam (Chen & He 2021, arXiv:2011.10566): two views, one encoder, a predictor and a stop-gradient."""

from typing import Literal

from torch import Tensor

from triptych.core.fields import Count
from triptych.core.objective import Batch, Objective
from triptych.core.randomness import Draw
from triptych.ssl.shared.cosine import negative_cosine, spread
from triptych.ssl.shared.network import SiameseNetwork
from triptych.ssl.shared.params import SSLRecipe
from triptych.ssl.shared.views import Views


class Recipe(SSLRecipe):
    """What SimSiam and its ablations are made of.

    Attributes:
        projector_hidden, projector_dim: sizes of the projector, which ends the encoder f.
        predictor: "mlp" is h; "none" the identity (section 4.2); "fixed_random" h at its random start (section 4.2).
        predictor_hidden: size of the bottleneck of h.
        stop_gradient: False detaches nothing (section 4.1).
        symmetric: False drops the second term of the loss (section 4.6).
    """

    projector_hidden: list[Count]
    projector_dim: Count
    predictor: Literal["mlp", "none", "fixed_random"]
    predictor_hidden: Count
    stop_gradient: bool
    symmetric: bool


class SimSiam(Objective):
    """L = D(p1, stopgrad(z2)) / 2 + D(p2, stopgrad(z1)) / 2 (equations 2 and 4).

    The stop-gradient acts on the target branch z; the predictor's branch p carries all gradients. Each view passes
    the network on its own, so that batch norm takes its statistics per view.

    Args:
        network: its predictor is the identity in the ablation "no predictor".
        views: the augmentation.
        stop_gradient: False detaches nothing (section 4.1).
        symmetric: False drops the second term (section 4.6).
        train_predictor: False leaves the predictor at its random start (section 4.2).
    """

    def __init__(
        self, network: SiameseNetwork, views: Views, stop_gradient: bool, symmetric: bool, train_predictor: bool
    ) -> None:
        super().__init__()
        self.network, self.views = network, views
        self.stop_gradient, self.symmetric = stop_gradient, symmetric
        network.predictor.requires_grad_(train_predictor)

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, in [-1, 1]; term `embedding_std`, 1 where the projections fill their space and 0 in collapse."""
        x1, x2 = self.views(batch.images, draw), self.views(batch.images, draw)
        (z1, p1), (z2, p2) = self.network(x1), self.network(x2)
        loss = negative_cosine(p1.float(), self._target(z2).float())
        if self.symmetric:
            loss = loss / 2 + negative_cosine(p2.float(), self._target(z1).float()) / 2
        return loss, {"embedding_std": spread(z1.float())}

    def _target(self, z: Tensor) -> Tensor:
        return z.detach() if self.stop_gradient else z

    def parameter_groups(self) -> list[dict]:
        """The predictor keeps a constant learning rate: it should adapt to the latest projections (section 4.2)."""
        predictor = [p for p in self.network.predictor.parameters() if p.requires_grad]
        apart = {id(p) for p in self.network.predictor.parameters()}
        encoder = [p for p in self.parameters() if id(p) not in apart]
        groups = [{"params": encoder, "constant_rate": False}]
        return groups + ([{"params": predictor, "constant_rate": True}] if predictor else [])


def build(recipe: Recipe, in_channels: int) -> tuple[SimSiam, dict]:
    """The objective of a recipe, and the keyword arguments that rebuild its network."""
    sizes = {
        "in_channels": in_channels,
        "backbone": recipe.backbone.model_dump(),
        "projector": {"hidden": recipe.projector_hidden, "dim": recipe.projector_dim},
        "predictor": None if recipe.predictor == "none" else {"hidden": recipe.predictor_hidden},
    }
    objective = SimSiam(
        SiameseNetwork(**sizes),
        Views(recipe.views),
        stop_gradient=recipe.stop_gradient,
        symmetric=recipe.symmetric,
        train_predictor=recipe.predictor == "mlp",
    )
    return objective, sizes
