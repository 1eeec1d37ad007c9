"""BYOL computes the paper's loss, its target follows the online network, and gradients flow through the online one."""

import math
from pathlib import Path

import pytest
import torch
from passes import watched
from test_momentum import TRAINING, shifted
from test_simsiam import TwoViews, batch, draw, network
from test_views import NOTHING
from torch import Tensor, nn

from triptych.core.schema import read_yaml
from triptych.nn.fast.norm import BatchNorm
from triptych.ssl.methods.byol import BYOL, Recipe, build, regression
from triptych.ssl.shared.network import SiameseNetwork

pytestmark = pytest.mark.usefixtures("one_thread")

SHARED = read_yaml(Path(__file__).parents[2] / "params.yaml")["ssl"]["shared"]
SIZES = {"projector_hidden": [16], "projector_dim": 16, "predictor_hidden": 8}
SMALL = {"name": "small_resnet", "width": 8, "blocks": [1, 1], "stem_stride": 2, "standardise": True}


def byol(momentum: float = 0.9, momentum_end: float = 1.0) -> BYOL:
    return BYOL(network(), TwoViews(), Recipe.model_construct(momentum=momentum, momentum_end=momentum_end)).train()


def distance(q: Tensor, z: Tensor) -> float:
    """‖q / ‖q‖ - z / ‖z‖‖² of each row, one number at a time, and their mean."""
    total = 0.0
    for row, other in zip(q.double().tolist(), z.double().tolist(), strict=True):
        q_norm, z_norm = math.sqrt(sum(x * x for x in row)), math.sqrt(sum(x * x for x in other))
        total += sum((a / q_norm - b / z_norm) ** 2 for a, b in zip(row, other, strict=True))
    return total / len(q)


def test_the_regression_is_the_distance_of_the_directions():
    stream = torch.Generator().manual_seed(0)
    q, z = torch.randn((10, 7), generator=stream), torch.randn((10, 7), generator=stream)
    assert float(regression(q, z)) == pytest.approx(distance(q, z), rel=1e-5)
    assert float(regression(q, 3 * q)) == pytest.approx(0, abs=1e-6)
    assert float(regression(q, -q)) == pytest.approx(4, rel=1e-6)


def test_the_loss_is_the_papers():
    """The sum of both directions, with a target that is not the online network."""
    objective, data = byol(), batch()
    objective.target.load_state_dict(
        {name: t for name, t in shifted(network()).state_dict().items() if not name.startswith("predictor")}
    )
    online, target = network().train(), shifted(network()).train()
    q1, q2 = online(data.images)[1], online(-data.images)[1]
    z1, z2 = target(data.images)[0], target(-data.images)[0]
    loss, terms = objective(data, draw())
    assert float(loss.detach()) == pytest.approx(distance(q1, z2) + distance(q2, z1), rel=1e-4)
    assert list(terms) == ["embedding_std"] and not terms["embedding_std"].requires_grad


def test_each_view_passes_each_network_once():
    objective, data, by_target = byol(), batch(), []
    by_network = watched(objective.network)
    objective.target.register_forward_hook(lambda module, inputs, outputs: by_target.extend(inputs))
    objective(data, draw())
    for passed in ([view for view, _, _ in by_network], by_target):
        assert len(passed) == 2
        assert torch.equal(passed[0], data.images) and torch.equal(passed[1], -data.images)


def test_after_a_step_the_target_has_moved_by_the_schedule():
    objective = byol(momentum=0.6, momentum_end=1.0)
    before = [p.double() for p in objective.target.parameters()]
    objective.network = shifted(objective.network)
    objective.after_step(0.25)
    tau = 1 - (1 - 0.6) * (math.cos(math.pi * 0.25) + 1) / 2
    online = [*objective.network.backbone.parameters(), *objective.network.projector.parameters()]
    for own, was, theirs in zip(objective.target.parameters(), before, online, strict=True):
        torch.testing.assert_close(own.double(), tau * was + (1 - tau) * theirs.double(), rtol=1e-5, atol=1e-6)
    resting = [p.clone() for p in objective.target.parameters()]
    objective.after_step(1.0)
    assert all(map(torch.equal, objective.target.parameters(), resting))


def test_all_weights_follow_one_schedule():
    objective = byol()
    (group,) = objective.parameter_groups()
    assert not group["constant_rate"]
    assert {id(p) for p in group["params"]} == {id(p) for p in objective.network.parameters()}


# --- From a recipe ---


def recipe(**changes: object) -> Recipe:
    own = {"backbone": SMALL, "training": TRAINING, "projector_norm": False, "momentum": 0.95, "momentum_end": 1.0}
    return Recipe.model_validate(SHARED | SIZES | own | changes)


def test_the_networks_are_the_papers():
    """The projector ends in a plain linear layer; the predictor has one hidden layer of batch norm and ReLU."""
    net = build(recipe(), 3)[0].network
    assert [type(layer) for layer in net.projector] == [nn.Linear, BatchNorm, nn.ReLU, nn.Linear]
    assert [type(layer) for layer in net.predictor] == [nn.Linear, BatchNorm, nn.ReLU, nn.Linear]
    assert net.projector[-1].bias is not None and net.predictor[-1].bias is not None
    normed = build(recipe(projector_norm=True), 3)[0]
    assert isinstance(normed.network.projector[-1], BatchNorm)
    assert isinstance(normed.target.projector[-1], BatchNorm)


def test_a_recipe_says_what_the_objective_does():
    objective, sizes = build(recipe(momentum=0.8, momentum_end=0.9), 3)
    assert objective.recipe.momentum == 0.8 and objective.views.params == recipe().views
    rebuilt = SiameseNetwork(**sizes)
    rebuilt.load_state_dict(objective.network.state_dict())
    assert all(map(torch.equal, rebuilt(batch().images), objective.network(batch().images)))


def test_it_learns_to_predict_the_target():
    """On one batch of fixed views, gradient steps lower the loss."""
    views = NOTHING | {"crop_scale": [0.5, 1.0]}
    objective = build(recipe(views=SHARED["views"] | views), 3)[0].train()
    optimiser = torch.optim.SGD(objective.parameter_groups()[0]["params"], lr=0.1, momentum=0.9)
    losses = []
    for _ in range(15):
        loss, _ = objective(batch(), draw())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        objective.after_step(0.5)
        losses.append(float(loss.detach()))
    assert all(0 <= loss <= 8 for loss in losses) and losses[-1] < losses[0] / 2
