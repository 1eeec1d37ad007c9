"""SimSiam computes the paper's loss, and gradients flow where it says."""

from pathlib import Path

import pytest
import torch
from passes import watched
from test_views import NOTHING
from torch import Tensor
from torch.nn import functional

from triptych.core.schema import read_yaml
from triptych.machine.randomness import Draw
from triptych.ssl.methods.simsiam import Recipe, SimSiam, build
from triptych.ssl.shared.network import SiameseNetwork
from triptych.ssl.shared.params import ViewParams
from triptych.ssl.shared.views import Views
from triptych.training.objective import Batch

pytestmark = pytest.mark.usefixtures("one_thread")

PARAMS = read_yaml(Path(__file__).parents[2] / "params.yaml")["ssl"]
# Not of width 4: there torch 2.15 writes past its memory in a 1x1 convolution of stride 2 on CPUs without AVX-512.
SMALL = {"name": "small_resnet", "width": 8, "blocks": [1, 1], "stem_stride": 2}


class TwoViews:
    """Replacement of the augmentation: the first call gives the images, the second their negative."""

    def __init__(self) -> None:
        self.sign = -1

    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        self.sign = -self.sign
        return self.sign * images


def network(predictor: bool = True, dim: int = 16) -> SiameseNetwork:
    torch.manual_seed(0)
    return SiameseNetwork(3, SMALL, {"hidden": [16], "dim": dim}, {"hidden": 8} if predictor else None)


def batch(count: int = 8) -> Batch:
    images = torch.rand((count, 3, 16, 16), generator=torch.Generator().manual_seed(1)) * 2 - 1
    return Batch(images, torch.full((count,), -1))


def draw() -> Draw:
    return Draw("cpu", (0, "step", 0))


def options(**changes: object) -> Recipe:
    """The fields of a recipe that the objective reads: the paper's, but for the changes."""
    paper = {"predictor": "mlp", "stop_gradient": True, "symmetric": True, "momentum": 0.0}
    return Recipe.model_construct(**paper | changes)


def method(net: SiameseNetwork, **changes: object) -> SimSiam:
    return SimSiam(net, TwoViews(), options(**changes)).train()


def cosine(p: Tensor, z: Tensor) -> Tensor:
    return -(functional.normalize(p, dim=1) * functional.normalize(z, dim=1)).sum(dim=1).mean()


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_loss_is_the_papers(symmetric):
    net, data = network().train(), batch()
    (z1, p1), (z2, p2) = net(data.images), net(-data.images)
    expected = (cosine(p1, z2) + cosine(p2, z1)) / 2 if symmetric else cosine(p1, z2)
    loss, _ = method(network(), symmetric=symmetric)(data, draw())
    torch.testing.assert_close(loss, expected)


def target_gradient(stop_gradient: bool) -> Tensor:
    """The gradient that reaches z through the target branch alone: the predictor's branch is cut."""
    net = network()
    held = []

    def cut(module, inputs, outputs):
        z, p = outputs
        z.retain_grad()
        held.append(z)
        return z, p.detach().requires_grad_()

    net.register_forward_hook(cut)
    loss, _ = method(net, stop_gradient=stop_gradient)(batch(), draw())
    loss.backward()
    (z,) = held
    return None if z.grad is None else z.grad.chunk(2)[1]


def test_no_gradient_passes_the_target_branch():
    assert target_gradient(stop_gradient=True) is None
    assert target_gradient(stop_gradient=False).abs().max() > 0


def test_a_fixed_random_predictor_stays_as_it_was():
    fixed = method(network(), predictor="fixed_random")
    loss, _ = fixed(batch(), draw())
    loss.backward()
    assert all(p.grad is None for p in fixed.network.predictor.parameters())
    assert any(p.grad is not None for p in fixed.network.backbone.parameters())
    assert len(fixed.parameter_groups()) == 1


def test_the_predictor_alone_keeps_a_constant_rate():
    groups = method(network()).parameter_groups()
    constant = {id(p) for group in groups if group["constant_rate"] for p in group["params"]}
    net = method(network())
    assert len(groups) == 2 and len(constant) == len(list(net.network.predictor.parameters()))
    assert sum(len(group["params"]) for group in groups) == len(list(net.parameters()))


def test_without_a_predictor_the_prediction_is_the_projection():
    z, p = network(predictor=False)(batch().images)
    assert torch.equal(z, p)
    assert len(method(network(predictor=False)).parameter_groups()) == 1


def test_batch_norm_takes_its_statistics_per_view():
    """The projections of each view have mean 0 and variance 1 over that view; one joint pass would not."""
    net = network().train()
    z, _ = net(batch(64).images)
    torch.testing.assert_close(z.mean(dim=0), torch.zeros(16), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.var(dim=0, correction=0), torch.ones(16), atol=1e-2, rtol=0)
    simsiam = method(network())
    seen = watched(simsiam.network)
    simsiam(batch(6), draw())
    assert len(seen) == 2
    for _, z, _ in seen:
        torch.testing.assert_close(z.mean(dim=0), torch.zeros(16), atol=1e-5, rtol=0)


def test_a_momentum_encoder_takes_the_target_branch():
    """The loss compares with what other weights than the encoder's make of the other view."""
    data, other = batch(), network().train()
    with torch.no_grad():
        other.projector[0].weight.add_(torch.randn(16, 16, generator=torch.Generator().manual_seed(2)))
    slow = method(network(), momentum=0.9)
    slow.momentum_encoder.projector.load_state_dict(other.projector.state_dict())
    net = network().train()
    p1, p2 = net(data.images)[1], net(-data.images)[1]
    z1, z2 = other(data.images)[0], other(-data.images)[0]
    loss, _ = slow(data, draw())
    torch.testing.assert_close(loss, (cosine(p1, z2) + cosine(p2, z1)) / 2)
    plain, _ = method(network())(data, draw())
    assert abs(float(loss.detach()) - float(plain.detach())) > 1e-3


def test_the_momentum_encoder_moves_by_a_constant_share():
    for progress in (0.1, 1.0):
        slow = method(network(), momentum=0.75)
        own, online = slow.momentum_encoder.projector[0].weight, slow.network.projector[0].weight
        before = own.clone()
        with torch.no_grad():
            online.add_(1)
        slow.after_step(progress)
        torch.testing.assert_close(own, before + 0.25)


def test_without_momentum_there_is_no_second_encoder():
    plain = method(network())
    assert list(plain.state_dict()) == [f"network.{name}" for name in plain.network.state_dict()]
    plain.after_step(0.5)


def test_it_runs_on_real_views():
    net = network()
    simsiam = SimSiam(net, Views(ViewParams(**NOTHING | {"flip": 0.5})), options()).train()
    loss, terms = simsiam(batch(), draw())
    assert -1 <= float(loss.detach()) <= 1 and 0 < float(terms["embedding_std"]) < 1.5


# --- From a recipe ---


def recipe(**changes: object) -> Recipe:
    sizes = {
        "projector_hidden": [16],
        "projector_dim": 16,
        "predictor_hidden": 8,
        "backbone": SMALL | {"standardise": True},
    }
    return Recipe.model_validate(PARAMS["shared"] | PARAMS["methods"]["simsiam"] | sizes | changes)


def test_a_recipe_says_what_the_objective_does():
    assert all(p.requires_grad for p in build(recipe(predictor="mlp"), 3)[0].parameters())
    fixed = build(recipe(predictor="fixed_random"), 3)[0].network
    assert not any(p.requires_grad for p in fixed.predictor.parameters()) and len(fixed.predictor) == 4
    z = torch.randn(2, 5)
    assert build(recipe(predictor="none"), 3)[0].network.predictor(z) is z
    assert build(recipe(), 3)[0].recipe == recipe() and build(recipe(), 3)[0].views.params == recipe().views


def test_a_momentum_encoder_comes_from_a_recipe_and_needs_the_stop_gradient():
    assert build(recipe(), 3)[0].momentum_encoder is None
    slow = build(recipe(momentum=0.9), 3)[0]
    assert slow.momentum_encoder is not None
    with pytest.raises(ValueError, match="a momentum encoder has no gradients"):
        recipe(momentum=0.9, stop_gradient=False)


@pytest.mark.parametrize("predictor", ["mlp", "none", "fixed_random"])
def test_the_network_is_rebuilt_from_what_a_recipe_built_it_with(predictor):
    objective, sizes = build(recipe(predictor=predictor), 3)
    rebuilt = SiameseNetwork(**sizes)
    rebuilt.load_state_dict(objective.network.state_dict())
    images = batch().images
    assert all(map(torch.equal, rebuilt(images), objective.network(images)))
