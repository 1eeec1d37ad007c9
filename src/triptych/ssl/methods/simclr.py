"""SimCLR (Chen et al. 2020, arXiv:2002.05709): a view finds its partner among all other views of the batch."""

import torch
from torch import Tensor
from torch.nn import functional

from triptych.core.schema import Positive
from triptych.machine.randomness import Draw
from triptych.ssl.shared.network import SiameseNetwork, gathered, spread
from triptych.ssl.shared.params import SSLRecipe
from triptych.ssl.shared.views import Views
from triptych.training.objective import Batch, Objective


class Recipe(SSLRecipe):
    """What SimCLR is made of.

    Attributes:
        projector_hidden, projector_dim: sizes of the projector g, whose last layer is plain.
        temperature: τ; 0.5 in the paper on CIFAR-10 (Appendix B.9).
    """

    temperature: Positive


class SimCLR(Objective):
    """L = mean over all 2N views i of -log(exp(s_ij) / Σ_{k≠i} exp(s_ik)), j the other view of i's image (equation 1).

    s_ik is the cosine similarity of z_i and z_k over τ; the 2N - 1 candidates k of a view, all views but itself, are
    those of the global batch. Batch norm takes its statistics per view, where the authors' code takes those of both
    together; as theirs, it spans all processes.

    Args:
        network: without a predictor; its projector ends without a norm.
        views: the augmentation.
        temperature: τ.
    """

    def __init__(self, network: SiameseNetwork, views: Views, temperature: float) -> None:
        super().__init__()
        self.network, self.views, self.temperature = network, views, temperature

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, which is log(2N - 1) where all projections are one.

        Terms: `positive` and `negative`, whose sum is the loss; `embedding_std`, 1 where the projections fill their
        space and 0 in collapse.
        """
        x1, x2 = self.views(batch.images, draw), self.views(batch.images, draw)
        z1, z2 = (gathered(z.float()) for z, _ in self.network.each(x1, x2))
        s = similarities(z1, z2, self.temperature)
        attraction, repulsion = positive(s), negative(s)
        terms = {"positive": attraction.detach(), "negative": repulsion.detach(), "embedding_std": spread(z1)}
        return attraction + repulsion, terms


def similarities(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """s_ik = cos(z_i, z_k) / τ between the 2N rows of two (N, d), the first view's before the second's: (2N, 2N).

    In the precision of its arguments, under autocast too.
    """
    z = functional.normalize(torch.cat([z1, z2]), dim=1)
    with torch.autocast(z.device.type, enabled=False):
        return z @ z.T / temperature


def positive(s: Tensor) -> Tensor:
    """Minus the mean similarity of the two views of an image, from (2N, 2N)."""
    return -s.diagonal(len(s) // 2).mean()


def negative(s: Tensor) -> Tensor:
    """Mean over views i of log Σ_{k≠i} exp(s_ik), from (2N, 2N)."""
    itself = torch.eye(len(s), dtype=torch.bool, device=s.device)
    return s.masked_fill(itself, -torch.inf).logsumexp(dim=1).mean()


def build(recipe: Recipe, in_channels: int) -> tuple[SimCLR, dict]:
    """The objective of a recipe, and the keyword arguments that rebuild its network."""
    sizes = recipe.network_sizes(in_channels, last_norm=False)
    return SimCLR(SiameseNetwork(**sizes), Views(recipe.views), temperature=recipe.temperature), sizes
