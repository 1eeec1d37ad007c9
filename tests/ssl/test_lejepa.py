"""LeJEPA's SIGReg equals the authors' implementation, and its minimum is a standard normal distribution."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from test_network import RECIPE, plain_network
from test_simsiam import TwoViews, batch, draw
from torch import Tensor

from triptych.ssl.methods.lejepa import T_MAX, LeJEPA, Recipe, build, epps_pulley, invariance, sigreg
from triptych.ssl.shared.network import SiameseNetwork, spread

pytestmark = pytest.mark.usefixtures("one_thread")

# (8, 3), and what `EppsPulley()` of the authors' repository returns for it (github.com/rbalestr-lab/lejepa, 2025-11).
SAMPLES = (torch.arange(24.0).reshape(8, 3) * 7 % 11 - 4) / 3
AUTHORS = [2.8602, 0.2732, 1.6996]


def statistic(column: np.ndarray) -> float:
    """The integral of the paper's definition, by adaptive quadrature."""

    def integrand(t: float) -> float:
        return abs(np.exp(1j * t * column).mean() - np.exp(-(t**2) / 2)) ** 2 * np.exp(-(t**2) / 2)

    return len(column) * quad(integrand, -T_MAX, T_MAX)[0]


def normal(count: int = 512, dim: int = 4) -> Tensor:
    return torch.randn((count, dim), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_statistic_is_the_authors():
    assert epps_pulley(SAMPLES).tolist() == pytest.approx(AUTHORS, abs=1e-4)


def test_the_statistic_is_the_integral():
    expected = [statistic(column) for column in SAMPLES.double().T.numpy()]
    assert epps_pulley(SAMPLES.double()).tolist() == pytest.approx(expected, rel=5e-3)


@pytest.mark.parametrize("change", [lambda z: z * 0, lambda z: 2 * z, lambda z: z / 2, lambda z: z + 1, torch.sign])
def test_other_distributions_have_a_larger_statistic_than_the_normal(change):
    directions = torch.randn((4, 16), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert sigreg(change(normal()), directions) > 3 * sigreg(normal(), directions)


def test_correlated_dimensions_have_a_larger_statistic():
    directions = torch.randn((4, 64), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z = normal()
    repeated = z[:, [0, 0, 1, 1]]
    assert sigreg(repeated, directions) > 3 * sigreg(z, directions)


def test_the_length_of_directions_does_not_matter():
    directions = torch.randn((3, 5), generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(sigreg(SAMPLES, directions), sigreg(SAMPLES, 7 * directions))
    torch.testing.assert_close(sigreg(SAMPLES, torch.eye(3)), epps_pulley(SAMPLES).mean())


def test_autocast_does_not_round_sigreg():
    expected = sigreg(SAMPLES, torch.eye(3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(sigreg(SAMPLES, torch.eye(3)), expected)


def test_invariance_is_the_distance_from_the_mean_of_both_views():
    z1, z2 = SAMPLES, SAMPLES.flip(0)
    centre = (z1 + z2) / 2
    expected = torch.stack([z1 - centre, z2 - centre]).square().mean()
    torch.testing.assert_close(invariance(z1, z2), expected)


def objective(weight: float = 0.25) -> LeJEPA:
    return LeJEPA(plain_network(), TwoViews(), weight, directions=6)


def test_the_loss_weighs_invariance_and_sigreg():
    loss, terms = objective()(batch(), draw())
    torch.testing.assert_close(loss.detach(), 0.75 * terms["invariance"] + 0.25 * terms["sigreg"])
    net, data = plain_network(), batch()
    (z1, _), (z2, _) = net(data.images), net(-data.images)
    assert terms["invariance"].item() == pytest.approx(invariance(z1, z2).item(), rel=1e-4)
    assert terms["embedding_std"].item() == pytest.approx(spread(z1).item(), rel=1e-4)
    # Other directions give another value of SIGReg; the same draw gives the same.
    assert objective()(batch(), draw())[0] == loss
    assert loss.requires_grad and not any(term.requires_grad for term in terms.values())


def test_gradients_flow_through_both_views():
    lejepa, held = objective(), []
    lejepa.network.projector.register_forward_hook(lambda module, inputs, z: held.append(z) or z.retain_grad())
    loss, _ = lejepa(batch(), draw())
    loss.backward()
    assert all(grad.abs().sum() > 0 for z in held for grad in z.grad.chunk(2))


def test_the_recipe_sets_the_weight_the_directions_and_a_projector_without_norm_at_the_end():
    chosen = Recipe.model_validate(RECIPE | {"sigreg_weight": 0.1, "directions": 9})
    built, sizes = build(chosen, 3)
    assert isinstance(built.network, SiameseNetwork) and (built.sigreg_weight, built.directions) == (0.1, 9)
    assert sizes["predictor"] is None and sizes["projector"]["last_norm"] is False
