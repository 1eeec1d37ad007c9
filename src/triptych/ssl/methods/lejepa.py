"""LeJEPA (Balestriero & LeCun 2025, arXiv:2511.08544): views of an image agree, and embeddings are Gaussian."""

import torch
from torch import Tensor

from triptych.core.schema import Count, Share
from triptych.machine.randomness import Draw
from triptych.ssl.shared.network import SiameseNetwork, spread
from triptych.ssl.shared.params import SSLRecipe
from triptych.ssl.shared.views import Views
from triptych.training.objective import Batch, Objective
from triptych.training.processes import gathered

# As in the authors' code, the integral over [-T_MAX, T_MAX] is a trapezoidal sum over POINTS points in [0, T_MAX].
T_MAX, POINTS = 3.0, 17


class Recipe(SSLRecipe):
    """Settings of LeJEPA, whose loss has a single weight."""

    sigreg_weight: Share  # λ, the weight of SIGReg; the weight of the invariance is 1 - λ
    directions: Count  # random directions per step on which SIGReg tests the embeddings


class LeJEPA(Objective):
    """Loss of LeJEPA: L = (1 - λ) s(Z, Z') + λ SIGReg, where λ is `sigreg_weight`.

    Z and Z' are the projections of two views, of shape (N, d), in the global batch. s is `invariance`, and SIGReg is
    the mean of `sigreg` over Z and Z'. The loss is that of the authors' minimal example. Nothing else prevents
    collapse: there is no predictor, stop-gradient, teacher or negative pair. The projector ends without batch norm, and
    batch norm normalises each batch of views separately.
    """

    def __init__(self, network: SiameseNetwork, views: Views, sigreg_weight: float, directions: int) -> None:
        super().__init__()
        self.network, self.views, self.sigreg_weight, self.directions = network, views, sigreg_weight, directions

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and a dict of values to log: both unweighted terms and the embedding std."""
        x1, x2 = self.views(batch.images, draw), self.views(batch.images, draw)
        z1, z2 = (gathered(z.float()) for z, _ in self.network.each(x1, x2))
        # Not `draw.normal`, whose rows belong to images: every process needs all directions.
        directions = torch.randn((z1.shape[1], self.directions), generator=draw.generator, device=z1.device)
        s = invariance(z1, z2)
        g = (sigreg(z1, directions) + sigreg(z2, directions)) / 2
        loss = (1 - self.sigreg_weight) * s + self.sigreg_weight * g
        return loss, {"invariance": s.detach(), "sigreg": g.detach(), "embedding_std": spread(z1)}


def invariance(z1: Tensor, z2: Tensor) -> Tensor:
    """Return the mean of (z - (z1 + z2) / 2)² over the elements z of z1 and z2, both of shape (N, d)."""
    return ((z1 - z2) / 2).square().mean()


def sigreg(z: Tensor, directions: Tensor) -> Tensor:
    """Return the mean Epps-Pulley statistic of z, of shape (N, d), along the columns of `directions`, of shape (d, K).

    The columns are scaled to unit length. Autocast is disabled, so that the result has the precision of z.
    """
    with torch.autocast(z.device.type, enabled=False):
        return epps_pulley(z @ (directions / directions.norm(dim=0))).mean()


def epps_pulley(x: Tensor) -> Tensor:
    """Return N ∫ |φ_j(t) - exp(-t²/2)|² exp(-t²/2) dt for each column j of x, of shape (N, K).

    φ_j is the empirical characteristic function of the column. The result has shape (K,), and is small if the values
    of the column look like draws from the standard normal distribution (Epps & Pulley 1983).
    """
    t = torch.linspace(0, T_MAX, POINTS, device=x.device, dtype=x.dtype)
    normal = torch.exp(-t.square() / 2)
    # The integrand is even, so that interior points count twice.
    weights = torch.full_like(t, 2 * T_MAX / (POINTS - 1))
    weights[[0, -1]] /= 2
    angles = x[:, :, None] * t
    error = (angles.cos().mean(dim=0) - normal).square() + angles.sin().mean(dim=0).square()
    return len(x) * (error @ (weights * normal))


def build(recipe: Recipe, in_channels: int) -> tuple[LeJEPA, dict]:
    sizes = recipe.network_sizes(in_channels, last_norm=False)
    return LeJEPA(SiameseNetwork(**sizes), Views(recipe.views), recipe.sigreg_weight, recipe.directions), sizes
