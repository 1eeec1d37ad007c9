"""Barlow Twins computes the paper's loss: dimensions that agree between views, and no two that repeat each other."""

import pytest
import torch
from test_network import RECIPE, plain_network
from test_simsiam import TwoViews, batch, draw
from torch import Tensor

from triptych.ssl.methods.barlow_twins import (
    EPSILON,
    BarlowTwins,
    Recipe,
    build,
    cross_correlation,
    invariance,
    redundancy,
)
from triptych.ssl.shared.network import SiameseNetwork, spread

pytestmark = pytest.mark.usefixtures("one_thread")

LAMBDA = 0.02


def rows(seed: int, count: int = 12, dim: int = 5) -> Tensor:
    """Correlated dimensions of unlike scales and means, float64."""
    stream = torch.Generator().manual_seed(seed)
    mixing = torch.randn((dim, dim), generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    return torch.randn((count, dim), generator=stream, dtype=torch.float64) @ mixing + torch.arange(dim)


def uncorrelated() -> Tensor:
    """(8, 3) whose dimensions have mean 0, variance 1 and no correlation: columns of a Hadamard matrix."""
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    return torch.kron(torch.kron(signs, signs), signs)[:, 1:4]


def loss_of(z1: Tensor, z2: Tensor) -> Tensor:
    C = cross_correlation(z1, z2)
    return invariance(C) + LAMBDA * redundancy(C)


def by_loops(z1: Tensor, z2: Tensor) -> tuple[float, float]:
    """The two sums of equation 1, with C of equation 2, one number at a time."""
    (count, dim), on, off = z1.shape, 0.0, 0.0
    for i in range(dim):
        for j in range(dim):
            a, b = z1[:, i].tolist(), z2[:, j].tolist()
            mean_a, mean_b = sum(a) / count, sum(b) / count
            product = sum((a[n] - mean_a) * (b[n] - mean_b) for n in range(count))
            square_a = sum((a[n] - mean_a) ** 2 for n in range(count)) + count * EPSILON
            square_b = sum((b[n] - mean_b) ** 2 for n in range(count)) + count * EPSILON
            C = product / (square_a**0.5 * square_b**0.5)
            if i == j:
                on += (1 - C) ** 2
            else:
                off += C**2
    return on, off


# --- The loss ---


def test_both_sums_are_the_papers():
    z1, z2 = rows(0), rows(1)
    C = cross_correlation(z1, z2)
    assert [invariance(C).item(), redundancy(C).item()] == pytest.approx(by_loops(z1, z2), rel=1e-10)


def test_views_that_agree_have_a_unit_diagonal_and_no_invariance_loss():
    C = cross_correlation(rows(0), rows(0))
    torch.testing.assert_close(C.diagonal(), torch.ones(5, dtype=torch.float64), rtol=0, atol=1e-4)
    assert invariance(C) < 1e-8 < redundancy(C)


def test_dimensions_that_agree_and_are_uncorrelated_have_no_loss():
    z = uncorrelated()
    torch.testing.assert_close(cross_correlation(z, z), torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-4)
    assert loss_of(z, z) < 1e-8
    # A dimension that repeats another costs 2 λ: C has a one at both places.
    twice = z[:, [0, 1, 1]]
    assert loss_of(twice, twice).item() == pytest.approx(2 * LAMBDA, rel=1e-3)
    # Views that disagree in the sign of a dimension cost (1 + 1)².
    assert loss_of(z, z * torch.tensor([1, 1, -1])).item() == pytest.approx(4, rel=1e-3)


def test_the_scale_and_the_mean_of_a_dimension_do_not_matter_nor_does_the_order_of_the_batch():
    z1, z2 = rows(0), rows(1)
    expected = loss_of(z1, z2)
    scale = torch.tensor([0.5, 2.0, 3.0, 1.0, 10.0], dtype=torch.float64)
    torch.testing.assert_close(loss_of(z1 * scale - 7, z2 * scale.flip(0) + 3), expected, rtol=1e-3, atol=0)
    order = torch.randperm(len(z1), generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(loss_of(z1[order], z2[order]), expected)
    assert not torch.allclose(loss_of(z1[order], z2), expected, rtol=1e-3)


def test_a_dimension_that_does_not_vary_has_a_finite_gradient():
    z1, z2 = (rows(seed).index_fill(1, torch.tensor([2]), 0.25).requires_grad_() for seed in (0, 1))
    loss_of(z1, z2).backward()
    assert z1.grad.isfinite().all() and z2.grad.isfinite().all()


def test_autocast_does_not_round_the_cross_correlation():
    z1, z2 = rows(0).float(), rows(1).float()
    expected = cross_correlation(z1, z2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(cross_correlation(z1, z2), expected)


# --- The objective ---


def objective() -> BarlowTwins:
    return BarlowTwins(plain_network(), TwoViews(), off_diagonal=LAMBDA)


def test_the_objective_compares_the_projections_of_two_views_each_normed_on_its_own():
    net, data = plain_network(), batch()
    (z1, _), (z2, _) = net(data.images), net(-data.images)
    on, off = by_loops(z1.detach().double(), z2.detach().double())
    loss, terms = objective()(data, draw())
    expected = {"invariance": on, "redundancy": off, "embedding_std": spread(z1).item()}
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, rel=1e-4)
    assert loss.item() == pytest.approx(on + LAMBDA * off, rel=1e-4)
    assert loss.requires_grad and not any(term.requires_grad for term in terms.values())


def test_gradients_flow_through_both_views():
    barlow_twins, held = objective(), []
    barlow_twins.network.projector.register_forward_hook(lambda module, inputs, z: held.append(z) or z.retain_grad())
    loss, _ = barlow_twins(batch(), draw())
    loss.backward()
    (z,) = held
    assert all(gradient.abs().max() > 1e-3 for gradient in z.grad.chunk(2))


def test_steps_down_the_gradient_bring_the_cross_correlation_closer_to_the_identity():
    barlow_twins = objective()
    optimiser = torch.optim.SGD(barlow_twins.parameters(), lr=0.02)
    losses = []
    for _ in range(10):
        loss, _ = barlow_twins(batch(32), draw())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


# --- From a recipe ---


def test_a_recipe_says_what_is_built_and_the_network_is_rebuilt_from_it():
    recipe = Recipe.model_validate(RECIPE | {"off_diagonal": 0.25})
    made, sizes = build(recipe, 3)
    assert made.off_diagonal == 0.25 and made.views.params == recipe.views
    rebuilt = SiameseNetwork(**sizes)
    rebuilt.load_state_dict(made.network.state_dict())
    (z, p), (again, _) = made.network(batch().images), rebuilt(batch().images)
    assert torch.equal(z, again) and p is z
    # Without a norm at its end: each dimension has a mean of its own.
    assert z.mean(dim=0).abs().max() > 1e-3
