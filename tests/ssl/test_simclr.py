"""SimCLR computes the paper's loss: each view's partner among the 2N - 1 other views."""

import math

import pytest
import torch
from test_network import RECIPE, plain_network
from test_simsiam import TwoViews, batch, draw
from torch import Tensor

from triptych.ssl.methods.simclr import Recipe, SimCLR, build, negative, positive, similarities
from triptych.ssl.shared.network import SiameseNetwork, spread

pytestmark = pytest.mark.usefixtures("one_thread")

TEMPERATURE = 0.3


def rows(seed: int, count: int = 6, dim: int = 5) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    return 2 * torch.randn((count, dim), generator=stream, dtype=torch.float64) + 0.5


def loss_of(z1: Tensor, z2: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    s = similarities(z1, z2, temperature)
    return positive(s) + negative(s)


def cosine(a: list[float], b: list[float]) -> float:
    lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / lengths


def terms_by_loops(z1: Tensor, z2: Tensor, temperature: float) -> tuple[float, float]:
    """Equation 1 for each of the 2N views and its partner, in two parts, and their means."""
    views, count = [*z1.tolist(), *z2.tolist()], len(z1)
    attraction = repulsion = 0.0
    for i, view in enumerate(views):
        partner = views[(i + count) % (2 * count)]
        attraction -= cosine(view, partner) / temperature
        candidates = [cosine(view, other) / temperature for k, other in enumerate(views) if k != i]
        repulsion += math.log(sum(math.exp(s) for s in candidates))
    return attraction / (2 * count), repulsion / (2 * count)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_the_terms_are_the_papers(temperature):
    z1, z2 = rows(0), rows(1)
    s = similarities(z1, z2, temperature)
    expected = terms_by_loops(z1, z2, temperature)
    assert (positive(s).item(), negative(s).item()) == pytest.approx(expected, rel=1e-10)


def test_embeddings_that_are_all_one_leave_a_guess_among_all_candidates():
    z = rows(0)[:1].expand(6, 5)
    assert loss_of(z, z).item() == pytest.approx(math.log(2 * 6 - 1))
    assert loss_of(z, 3 * z, temperature=0.05).item() == pytest.approx(math.log(2 * 6 - 1))


def test_partners_that_agree_and_are_orthogonal_to_all_others_have_almost_no_loss():
    z = torch.eye(6, dtype=torch.float64)
    # The partner's similarity is 1 / τ and that of the 2N - 2 others 0.
    assert loss_of(z, z, temperature=0.1).item() == pytest.approx(math.log1p(10 * math.exp(-10)))
    # Partners at the wrong places: the highest similarity, that of z_i and its copy, is a negative's.
    assert loss_of(z, z.roll(1, dims=0), temperature=0.1) > 10


def test_neither_lengths_nor_the_order_of_the_batch_nor_that_of_the_views_matter():
    z1, z2 = rows(0), rows(1)
    expected = loss_of(z1, z2)
    torch.testing.assert_close(loss_of(7 * z1, z2 / 3), expected)
    torch.testing.assert_close(loss_of(z2, z1), expected)
    order = torch.randperm(len(z1), generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(loss_of(z1[order], z2[order]), expected)
    assert not torch.allclose(loss_of(z1[order], z2), expected, rtol=1e-3)


def test_a_low_temperature_overflows_nothing():
    z1, z2 = (rows(seed).float().requires_grad_() for seed in (0, 1))
    loss = loss_of(z1, z2, temperature=0.005)
    loss.backward()
    assert loss.isfinite() and z1.grad.isfinite().all() and z2.grad.isfinite().all()


def test_autocast_does_not_round_the_similarities():
    z1, z2 = rows(0).float(), rows(1).float()
    expected = similarities(z1, z2, TEMPERATURE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(similarities(z1, z2, TEMPERATURE), expected)


# --- The objective ---


def objective() -> SimCLR:
    return SimCLR(plain_network(), TwoViews(), temperature=TEMPERATURE)


def test_the_objective_compares_the_projections_of_two_views_each_normed_on_its_own():
    net, data = plain_network(), batch()
    (z1, _), (z2, _) = net(data.images), net(-data.images)
    attraction, repulsion = terms_by_loops(z1.detach().double(), z2.detach().double(), TEMPERATURE)
    loss, terms = objective()(data, draw())
    expected = {"positive": attraction, "negative": repulsion, "embedding_std": spread(z1).item()}
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, rel=1e-4)
    assert loss.item() == pytest.approx(attraction + repulsion, rel=1e-4)
    assert loss.requires_grad and not any(term.requires_grad for term in terms.values())


def test_gradients_flow_through_both_views():
    simclr, held = objective(), []
    simclr.network.projector.register_forward_hook(lambda module, inputs, z: held.append(z) or z.retain_grad())
    loss, _ = simclr(batch(), draw())
    loss.backward()
    (z,) = held
    assert all(gradient.abs().max() > 1e-3 for gradient in z.grad.chunk(2))


# --- From a recipe ---


def test_a_recipe_says_what_is_built_and_the_network_is_rebuilt_from_it():
    recipe = Recipe.model_validate(RECIPE | {"temperature": 0.7})
    made, sizes = build(recipe, 3)
    assert made.temperature == 0.7 and made.views.params == recipe.views
    rebuilt = SiameseNetwork(**sizes)
    rebuilt.load_state_dict(made.network.state_dict())
    (z, p), (again, _) = made.network(batch().images), rebuilt(batch().images)
    assert torch.equal(z, again) and p is z
    # Without a norm at its end: each dimension has a mean of its own.
    assert z.mean(dim=0).abs().max() > 1e-3
