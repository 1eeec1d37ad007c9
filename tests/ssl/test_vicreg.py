"""VICReg computes the three terms as its docstring says, and each weight drops its own."""

import pytest
import torch
from test_network import RECIPE, plain_network
from test_simsiam import TwoViews, batch, draw
from torch import Tensor

from triptych.ssl.methods.vicreg import EPSILON, Recipe, VICReg, build, covariance, invariance, variance
from triptych.ssl.shared.network import SiameseNetwork, spread

pytestmark = pytest.mark.usefixtures("one_thread")

WEIGHTS = {"invariance_weight": 25.0, "variance_weight": 10.0, "covariance_weight": 2.0}


def rows(seed: int, count: int = 12, dim: int = 5) -> Tensor:
    """Correlated dimensions of unlike scales, some above the margin of 1 and some below, and means; float64."""
    stream = torch.Generator().manual_seed(seed)
    mixing = torch.randn((dim, dim), generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    scale = torch.linspace(0.1, 2, dim, dtype=torch.float64)
    return torch.randn((count, dim), generator=stream, dtype=torch.float64) @ mixing * scale + torch.arange(dim)


def uncorrelated(deviation: float) -> Tensor:
    """(8, 3) whose dimensions have no correlation and this standard deviation: columns of a Hadamard matrix."""
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    columns = torch.kron(torch.kron(signs, signs), signs)[:, 1:4]
    return deviation * columns / columns.std(dim=0)


# The equations, one number at a time


def covariance_by_loops(z: list[list[float]], i: int, j: int) -> float:
    count = len(z)
    mean_i, mean_j = sum(row[i] for row in z) / count, sum(row[j] for row in z) / count
    return sum((row[i] - mean_i) * (row[j] - mean_j) for row in z) / (count - 1)


def terms_by_loops(z1: Tensor, z2: Tensor, gamma: float) -> dict[str, float]:
    """s, v and c: s a mean over elements, v halved over the two branches, c summed over them."""
    (count, dim), s, v, c = z1.shape, 0.0, 0.0, 0.0
    for one, other in zip(z1.tolist(), z2.tolist(), strict=True):
        s += sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) / (count * dim)
    for z in (z1.tolist(), z2.tolist()):
        for i in range(dim):
            deviation = (covariance_by_loops(z, i, i) + EPSILON) ** 0.5
            v += max(0.0, gamma - deviation) / dim / 2
            c += sum(covariance_by_loops(z, i, j) ** 2 for j in range(dim) if j != i) / dim
    return {"invariance": s, "variance": v, "covariance": c}


@pytest.mark.parametrize("gamma", [1.0, 1.7])
def test_the_terms_are_the_equations(gamma):
    z1, z2 = rows(0), rows(1)
    expected = terms_by_loops(z1, z2, gamma)
    assert 0 < expected["variance"] < gamma
    found = {
        "invariance": invariance(z1, z2).item(),
        "variance": (variance(z1, gamma) + variance(z2, gamma)).item() / 2,
        "covariance": (covariance(z1) + covariance(z2)).item(),
    }
    assert found == pytest.approx(expected, rel=1e-10)


# --- Properties ---


def test_the_variance_term_is_zero_above_the_margin_and_the_distance_to_it_below():
    assert variance(uncorrelated(1.01), gamma=1.0) == 0 < variance(uncorrelated(0.99), gamma=1.0)
    assert variance(uncorrelated(0.5), gamma=1.0).item() == pytest.approx(0.5, abs=1e-3)
    assert variance(uncorrelated(1.5), gamma=2.0).item() == pytest.approx(0.5, abs=1e-3)
    # One dimension of three without variance.
    one_dead = uncorrelated(2.0) * torch.tensor([1, 1, 0])
    assert variance(one_dead, gamma=1.0).item() == pytest.approx(0.99 / 3, abs=1e-6)


def test_only_dimensions_below_the_margin_are_pushed_apart():
    z = (uncorrelated(1.0) * torch.tensor([0.5, 2.0, 0.5])).requires_grad_()
    variance(z, gamma=1.0).backward()
    assert z.grad.abs().amax(dim=0).gt(0).tolist() == [True, False, True]
    widened = z.detach() - 0.1 * z.grad
    assert (widened.std(dim=0) > z.detach().std(dim=0)).tolist() == [True, False, True]


def test_a_collapsed_batch_has_a_finite_gradient():
    z = torch.full((8, 3), 0.5).requires_grad_()
    variance(z, gamma=1.0).backward()
    assert z.grad.isfinite().all()


def test_the_covariance_term_is_zero_of_uncorrelated_dimensions_whatever_their_variance():
    z = uncorrelated(2.0)
    assert covariance(z).item() == pytest.approx(0, abs=1e-12)
    # A dimension that repeats another of variance 4 has the covariance 4 with it, at two places of C.
    assert covariance(z[:, [0, 1, 1]]).item() == pytest.approx(2 * 4**2 / 3)


def test_the_invariance_term_is_zero_where_views_agree_and_sees_no_common_shift():
    z1, z2 = rows(0), rows(1)
    assert invariance(z1, z1) == 0 < invariance(z1, z2)
    torch.testing.assert_close(invariance(z1 + 3, z2 + 3), invariance(z1, z2))
    assert invariance(z1, z1 + 2).item() == pytest.approx(4)


def test_variance_and_covariance_depend_on_neither_means_nor_the_order_of_the_batch():
    z = rows(0)
    moved = z[torch.randperm(len(z), generator=torch.Generator().manual_seed(2))] - 40
    torch.testing.assert_close(variance(moved, 1.0), variance(z, 1.0))
    torch.testing.assert_close(covariance(moved), covariance(z))


def test_autocast_does_not_round_the_covariance():
    z = rows(0).float()
    expected = covariance(z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(covariance(z), expected)


# --- The objective ---


def objective(**changes: float) -> VICReg:
    return VICReg(plain_network(), TwoViews(), Recipe.model_construct(**WEIGHTS | {"gamma": 1.0} | changes))


def test_the_objective_weighs_the_terms_of_two_views_each_normed_on_its_own():
    net, data = plain_network(), batch()
    (z1, _), (z2, _) = net(data.images), net(-data.images)
    expected = terms_by_loops(z1.detach().double(), z2.detach().double(), gamma=1.0)
    loss, terms = objective()(data, draw())
    found = {name: term.item() for name, term in terms.items()}
    assert found == pytest.approx(expected | {"embedding_std": spread(z1).item()}, rel=1e-4)
    assert loss.item() == pytest.approx(sum(WEIGHTS[f"{name}_weight"] * expected[name] for name in expected), rel=1e-4)
    assert loss.requires_grad and not any(term.requires_grad for term in terms.values())


@pytest.mark.parametrize("dropped", ["invariance", "variance", "covariance"])
def test_a_weight_of_zero_drops_its_term_from_the_loss_but_not_from_the_table(dropped):
    whole, terms = objective()(batch(), draw())
    rest, watched = objective(**{f"{dropped}_weight": 0.0})(batch(), draw())
    assert watched == terms and terms[dropped] > 0
    torch.testing.assert_close(whole - rest, WEIGHTS[f"{dropped}_weight"] * terms[dropped])


def test_gradients_flow_through_both_views():
    vicreg, held = objective(), []
    vicreg.network.projector.register_forward_hook(lambda module, inputs, z: held.append(z) or z.retain_grad())
    loss, _ = vicreg(batch(), draw())
    loss.backward()
    (z,) = held
    assert all(gradient.abs().max() > 1e-3 for gradient in z.grad.chunk(2))


def test_without_the_variance_term_steps_down_the_gradient_shrink_the_embeddings_and_with_it_they_do_not():
    def variance_after_steps(weight: float) -> float:
        vicreg = objective(variance_weight=weight)
        optimiser = torch.optim.SGD(vicreg.parameters(), lr=0.01)
        for _ in range(10):
            loss, terms = vicreg(batch(32), draw())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return terms["variance"].item()

    _, start = objective()(batch(32), draw())
    assert variance_after_steps(25.0) < start["variance"] < variance_after_steps(0.0)


# --- From a recipe ---


def test_a_recipe_says_what_is_built_and_the_network_is_rebuilt_from_it():
    recipe = Recipe.model_validate(RECIPE | WEIGHTS | {"gamma": 1.5})
    made, sizes = build(recipe, 3)
    assert made.recipe == recipe and made.views.params == recipe.views
    rebuilt = SiameseNetwork(**sizes)
    rebuilt.load_state_dict(made.network.state_dict())
    (z, p), (again, _) = made.network(batch().images), rebuilt(batch().images)
    assert torch.equal(z, again) and p is z
    # Without a norm at its end: each dimension has a mean of its own.
    assert z.mean(dim=0).abs().max() > 1e-3
