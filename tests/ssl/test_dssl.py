"""DSSL computes the paper's loss, and heavy views are pulled to standard views, not the other way round."""

import copy
from pathlib import Path

import pytest
import torch
from passes import negative_cosine_by_loops as cosine
from passes import watched
from test_momentum import TRAINING
from test_simsiam import SMALL, TwoViews, batch, draw, network
from torch import Tensor

from triptych.core.schema import read_yaml
from triptych.ssl.methods.dssl import DSSL, D, Recipe, build
from triptych.ssl.shared.network import SiameseNetwork

pytestmark = pytest.mark.usefixtures("one_thread")

SHARED = read_yaml(Path(__file__).parents[2] / "params.yaml")["ssl"]["shared"]
SIZES = {"projector_hidden": [16], "projector_dim": 16, "predictor_hidden": 8}


class Darker:
    """Replacement of the heavy augmentation; keeps its inputs."""

    def __init__(self, power: float = 2.0) -> None:
        self.power = power
        self.given: list[Tensor] = []

    def __call__(self, views: Tensor, draw: object) -> Tensor:
        self.given.append(views)
        return 2 * ((views + 1) / 2) ** self.power - 1


def dssl(alpha: float, power: float = 2.0, net: SiameseNetwork | None = None) -> DSSL:
    return DSSL(net or network(), TwoViews(), Darker(power), alpha).train()


@pytest.mark.parametrize("alpha", [0.0, 0.1, 1.0])
def test_the_loss_is_the_papers(alpha):
    net, data, heavy = network().train(), batch(), Darker()
    v1, v2 = data.images, -data.images
    (z1, p1), (z2, p2) = net(v1), net(v2)
    (z1_heavy, p1_heavy), (z2_heavy, p2_heavy) = net(heavy(v1, None)), net(heavy(v2, None))
    standard = (cosine(p1, z2) + cosine(p2, z1)) / 2
    heavy_to_standard = (cosine(p1_heavy, z1) + cosine(p2_heavy, z2)) / 2
    standard_to_heavy = (cosine(p1, z1_heavy) + cosine(p2, z2_heavy)) / 2
    loss, terms = dssl(alpha)(data, draw())
    expected = standard + (1 - alpha) * heavy_to_standard + alpha * standard_to_heavy
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)
    assert float(terms.pop("embedding_std")) > 0
    assert {name: float(term) for name, term in terms.items()} == pytest.approx(
        {"standard": standard, "heavy_to_standard": heavy_to_standard, "standard_to_heavy": standard_to_heavy}, rel=1e-4
    )
    assert not any(term.requires_grad for term in terms.values())


def test_heavy_views_are_made_of_the_standard_views():
    objective, data = dssl(0.1), batch()
    objective(data, draw())
    given = objective.heavy.given
    assert len(given) == 2 and torch.equal(given[0], data.images) and torch.equal(given[1], -data.images)


def branch_gradients(alpha: float, power: float) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """Gradients of the four z through the target branch alone, and of the four p; standard views come first."""
    net, held = network(), []

    def cut(module, inputs, outputs):
        z, p = outputs
        p = p.detach().requires_grad_()
        z.retain_grad()
        held.extend((z, p))
        return z, p

    net.register_forward_hook(cut)
    loss, _ = dssl(alpha, power, net)(batch(), draw())
    loss.backward()
    z, p = held
    return [None] * 4 if z.grad is None else list(z.grad.chunk(4)), list(p.grad.chunk(4))


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_no_gradient_passes_a_target(alpha):
    z_gradients, _ = branch_gradients(alpha, 2.0)
    assert len(z_gradients) == 4 and all(gradient is None for gradient in z_gradients)
    p = torch.randn(4, 8, requires_grad=True)
    z = torch.randn(4, 8, requires_grad=True)
    D(p, z).backward()
    assert z.grad is None and p.grad.abs().max() > 0


def test_without_alpha_only_the_heavy_views_are_pulled():
    """The gradient of a standard view does not depend on its heavy view; the heavy view has a gradient."""
    _, (p1, p2, p1_heavy, p2_heavy) = branch_gradients(0.0, 2.0)
    _, (other1, other2, *_) = branch_gradients(0.0, 3.0)
    assert torch.equal(p1, other1) and torch.equal(p2, other2)
    assert p1.abs().max() > 0 and p1_heavy.abs().max() > 0 and p2_heavy.abs().max() > 0


def test_with_full_alpha_only_the_standard_views_are_pulled():
    _, (p1, p2, p1_heavy, p2_heavy) = branch_gradients(1.0, 2.0)
    _, (other1, other2, *_) = branch_gradients(1.0, 3.0)
    assert not torch.equal(p1, other1) and not torch.equal(p2, other2)
    assert not p1_heavy.any() and not p2_heavy.any()


def test_a_heavy_view_that_is_its_standard_view_makes_both_directions_equal():
    net, data = network().train(), batch()
    (z1, p1), (z2, p2) = net(data.images), net(-data.images)
    _, terms = dssl(0.1, power=1.0)(data, draw())
    same = (cosine(p1, z1) + cosine(p2, z2)) / 2
    assert float(terms["heavy_to_standard"]) == pytest.approx(same, rel=1e-4)
    assert float(terms["standard_to_heavy"]) == pytest.approx(same, rel=1e-4)


def test_each_view_passes_the_network_once_and_is_normed_on_its_own():
    objective = dssl(0.1)
    seen = watched(objective.network)
    objective(batch(6), draw())
    assert len(seen) == 4
    for _, z, _ in seen:
        torch.testing.assert_close(z.mean(dim=0), torch.zeros(z.shape[1]), atol=1e-5, rtol=0)


def test_the_predictor_alone_keeps_a_constant_rate():
    objective = dssl(0.1)
    encoder, predictor = objective.parameter_groups()
    assert {id(p) for p in predictor["params"]} == {id(p) for p in objective.network.predictor.parameters()}
    assert predictor["constant_rate"] and not encoder["constant_rate"]
    assert len(encoder["params"]) + len(predictor["params"]) == len(list(objective.parameters()))


# --- From a recipe ---


def recipe(**changes: object) -> Recipe:
    own = {
        "backbone": SMALL | {"standardise": True},
        "training": TRAINING,
        "heavy": {"operations": 2, "magnitude": 9.0},
        "alpha": 0.1,
    }
    return Recipe.model_validate(SHARED | SIZES | own | changes)


def test_a_recipe_says_what_the_objective_does():
    objective, sizes = build(recipe(alpha=0.3), 3)
    assert objective.alpha == 0.3 and objective.views.params == recipe().views
    assert objective.heavy.params == recipe().heavy
    rebuilt = SiameseNetwork(**sizes)
    rebuilt.load_state_dict(objective.network.state_dict())
    assert all(map(torch.equal, rebuilt(batch().images), objective.network(batch().images)))


def test_real_heavy_views_are_further_from_the_standard_views_than_none():
    torch.manual_seed(0)
    plain, _ = build(recipe(heavy={"operations": 0, "magnitude": 9.0}), 3)
    heavy, _ = build(recipe(), 3)
    heavy.network = copy.deepcopy(plain.network)
    data = batch(32)
    seen = {}
    for name, objective in {"plain": plain, "heavy": heavy}.items():
        passes = watched(objective.network)
        loss, terms = objective.train()(data, draw())
        seen[name] = [view for view, _, _ in passes]
        assert torch.isfinite(loss) and list(terms) == [
            *("standard", "heavy_to_standard", "standard_to_heavy", "embedding_std")
        ]
    v1, v2, v1_heavy, v2_heavy = seen["plain"]
    assert torch.equal(v1, v1_heavy) and torch.equal(v2, v2_heavy)
    assert torch.equal(seen["heavy"][0], v1) and torch.equal(seen["heavy"][1], v2)
    changed = (seen["heavy"][2] - v1).abs().amax(dim=(1, 2, 3)) > 0.05
    assert changed.float().mean() > 0.5
