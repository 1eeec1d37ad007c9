"""SimCLR (Chen et al. 2020, arXiv:2002.05709): attract views of the same image, and repel views of other images."""

import torch
from torch import Tensor
from torch.nn import functional

from triptych.core.schema import Positive
from triptych.machine.randomness import Draw
from triptych.ssl.shared.network import SiameseNetwork, spread
from triptych.ssl.shared.params import SSLRecipe
from triptych.ssl.shared.views import Views
from triptych.training.objective import Batch, Objective
from triptych.training.processes import gathered


class Recipe(SSLRecipe):
    temperature: Positive  # τ; 0.5 in the paper on CIFAR-10 (Appendix B.9)


class SimCLR(Objective):
    """Loss of SimCLR: the mean over all views i of -log(exp(s_ij) / Σ_{k≠i} exp(s_ik)) (equation 1).

    View j shows the same image as view i, and k runs over all other views of the global batch. s_ik is the cosine
    similarity of the projections of views i and k, divided by `temperature`. The network has no predictor, and its
    projector ends without batch norm. Batch norm normalises each batch of views separately; the authors' code does not.
    """

    def __init__(self, network: SiameseNetwork, views: Views, temperature: float) -> None:
        super().__init__()
        self.network, self.views, self.temperature = network, views, temperature

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and a dict of values to log, including the terms `positive` and `negative` of the loss."""
        x1, x2 = self.views(batch.images, draw), self.views(batch.images, draw)
        z1, z2 = (gathered(z.float()) for z, _ in self.network.each(x1, x2))
        s = similarities(z1, z2, self.temperature)
        attraction, repulsion = positive(s), negative(s)
        terms = {"positive": attraction.detach(), "negative": repulsion.detach(), "embedding_std": spread(z1)}
        return attraction + repulsion, terms


def similarities(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Return the cosine similarities of all pairs of projections, divided by `temperature`.

    z1 and z2 have shape (N, d). The result has shape (2N, 2N), with the rows of z1 before the rows of z2. Autocast is
    disabled to keep the precision of the arguments.
    """
    z = functional.normalize(torch.cat([z1, z2]), dim=1)
    with torch.autocast(z.device.type, enabled=False):
        return z @ z.T / temperature


def positive(s: Tensor) -> Tensor:
    """Return minus the mean similarity of the two views of an image. `s` is the result of `similarities`."""
    return -s.diagonal(len(s) // 2).mean()


def negative(s: Tensor) -> Tensor:
    """Return the mean over views i of log Σ_{k≠i} exp(s_ik). `s` is the result of `similarities`."""
    itself = torch.eye(len(s), dtype=torch.bool, device=s.device)
    return s.masked_fill(itself, -torch.inf).logsumexp(dim=1).mean()


def build(recipe: Recipe, in_channels: int) -> tuple[SimCLR, dict]:
    sizes = recipe.network_sizes(in_channels, last_norm=False)
    return SimCLR(SiameseNetwork(**sizes), Views(recipe.views), recipe.temperature), sizes
