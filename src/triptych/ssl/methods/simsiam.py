"""SimSiam (Chen & He 2021, arXiv:2011.10566): two views, one encoder, a predictor and a stop-gradient."""

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
    """What SimSiam and its ablations are made of.

    Attributes:
        projector_hidden, projector_dim: sizes of the projector, which ends the encoder f.
        predictor: "mlp" is h; "none" the identity (section 4.2); "fixed_random" h at its random start (section 4.2).
        predictor_hidden: size of the bottleneck of h.
        stop_gradient: False detaches nothing (section 4.1).
        symmetric: False drops the second term of the loss (section 4.6).
        momentum: 0 takes the encoder itself for the target branch, as the paper; above 0 a moving average of it, as
            BYOL, with this constant τ.
    """

    predictor: Literal["mlp", "none", "fixed_random"]
    predictor_hidden: Count
    stop_gradient: bool
    symmetric: bool
    momentum: Share

    @model_validator(mode="after")
    def _average_without_gradient(self) -> "Recipe":
        if self.momentum and not self.stop_gradient:
            raise ValueError("a momentum encoder has no gradients: stop_gradient: false needs momentum: 0.0")
        return self


class SimSiam(Objective):
    """L = D(p1, stopgrad(z2)) / 2 + D(p2, stopgrad(z1)) / 2 (equations 2 and 4).

    The stop-gradient acts on the target branch z; the predictor's branch p carries all gradients. Batch norm takes
    its statistics per view.

    Args:
        network: its predictor is the identity in the ablation "no predictor".
        views: the augmentation.
        stop_gradient: False detaches nothing (section 4.1).
        symmetric: False drops the second term (section 4.6).
        train_predictor: False leaves the predictor at its random start (section 4.2).
        momentum: above 0, z of the target branch comes from a momentum encoder.
    """

    def __init__(
        self,
        network: SiameseNetwork,
        views: Views,
        stop_gradient: bool,
        symmetric: bool,
        train_predictor: bool,
        momentum: float = 0.0,
    ) -> None:
        super().__init__()
        self.network, self.views = network, views
        self.stop_gradient, self.symmetric = stop_gradient, symmetric
        self.momentum = momentum
        self.momentum_encoder = MomentumEncoder(network) if momentum else None
        network.predictor.requires_grad_(train_predictor)

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, in [-1, 1]; term `embedding_std`, 1 where the projections fill their space and 0 in collapse."""
        x1, x2 = self.views(batch.images, draw), self.views(batch.images, draw)
        (z1, p1), (z2, p2) = self.network.each(x1, x2)
        t1, t2 = self.momentum_encoder(x1, x2) if self.momentum_encoder else (z1, z2)
        if self.stop_gradient:
            t1, t2 = t1.detach(), t2.detach()
        loss = negative_cosine(p1.float(), t2.float())
        if self.symmetric:
            loss = loss / 2 + negative_cosine(p2.float(), t1.float()) / 2
        return loss, {"embedding_std": spread(z1.float())}

    def parameter_groups(self) -> list[dict]:
        """The predictor keeps a constant learning rate: it should adapt to the latest projections (section 4.2)."""
        return constant_for_predictor(self)

    def after_step(self, progress: float) -> None:
        """Moves the momentum encoder, where there is one, towards the encoder."""
        if self.momentum_encoder:
            self.momentum_encoder.update(self.network, self.momentum)


def build(recipe: Recipe, in_channels: int) -> tuple[SimSiam, dict]:
    """The objective of a recipe, and the keyword arguments that rebuild its network."""
    predictor_hidden = None if recipe.predictor == "none" else recipe.predictor_hidden
    sizes = recipe.network_sizes(in_channels, last_norm=True, predictor_hidden=predictor_hidden)
    objective = SimSiam(
        SiameseNetwork(**sizes),
        Views(recipe.views),
        stop_gradient=recipe.stop_gradient,
        symmetric=recipe.symmetric,
        train_predictor=recipe.predictor == "mlp",
        momentum=recipe.momentum,
    )
    return objective, sizes
