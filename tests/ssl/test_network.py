"""Projectors end as their method wants them to, and what was trained before one could choose is unchanged."""

import copy

import pytest
import torch
from test_simsiam import PARAMS, SMALL
from torch import Tensor, nn

from triptych.nn.fast.norm import BatchNorm
from triptych.ssl.shared.network import MomentumEncoder, Projector, SiameseNetwork, negative_cosine, spread

pytestmark = pytest.mark.usefixtures("one_thread")

# The recipe of a small network whose projector ends without a norm, but for what its method adds.
RECIPE = PARAMS["shared"] | {
    "projector_hidden": [16],
    "projector_dim": 8,
    "backbone": SMALL | {"standardise": True},
    "training": PARAMS["methods"]["simsiam"]["training"],
}


def plain_network() -> SiameseNetwork:
    """Its projector ends without a norm, and it has no predictor; the same weights each time."""
    torch.manual_seed(0)
    return SiameseNetwork(3, SMALL, {"hidden": [16], "dim": 8, "last_norm": False}, predictor=None).train()


def features(count: int = 32) -> Tensor:
    return torch.randn((count, 12), generator=torch.Generator().manual_seed(1)) * 3 + 2


def projector(**changes: object) -> Projector:
    torch.manual_seed(0)
    return Projector(12, [16, 10], 8, **changes).train()


def test_the_last_norm_gives_each_dimension_mean_0_and_variance_1_and_has_no_affine_map():
    made = projector()
    z = made(features())
    torch.testing.assert_close(z.mean(dim=0), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.var(dim=0, correction=0), torch.ones(8), atol=1e-2, rtol=0)
    assert made[-1].weight is None and made[-2].bias is None


def test_a_plain_last_layer_is_linear_with_a_bias():
    made = projector(last_norm=False)
    assert [type(layer) for layer in made] == [nn.Linear, BatchNorm, nn.ReLU] * 2 + [nn.Linear]
    with torch.no_grad():
        before = made(features())
        made[-1].weight *= 2
        made[-1].bias.mul_(2).add_(3)
        torch.testing.assert_close(made(features()), 2 * before + 3)


def test_the_first_layers_do_not_depend_on_how_it_ends():
    """Their initial weights are the same numbers, so that methods differ by what they say they differ by."""
    normed, plain = projector().state_dict(), projector(last_norm=False).state_dict()
    # Layer 6 is the last linear one, whose weights are drawn before its bias.
    both = [name for name in plain if name != "6.bias"]
    assert len(both) == 2 + 2 * 5 + 1 and all(torch.equal(normed[name], plain[name]) for name in both)


def test_a_normed_projector_draws_what_its_layers_draw_in_their_order():
    """The initial weights of models trained by earlier versions come back from their seed."""
    torch.manual_seed(0)
    expected = nn.Sequential(
        *(nn.Linear(12, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU()),
        *(nn.Linear(16, 10, bias=False), nn.BatchNorm1d(10), nn.ReLU()),
        *(nn.Linear(10, 8, bias=False), nn.BatchNorm1d(8, affine=False)),
    ).state_dict()
    found = projector().state_dict()
    assert list(found) == list(expected) and all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("backbone", [SMALL, {"name": "resnet18"}])
def test_several_views_come_out_as_if_one_after_another(backbone):
    torch.manual_seed(0)
    network = SiameseNetwork(3, backbone, {"hidden": [16], "dim": 8}, {"hidden": 4}).train()
    twin, views = (
        copy.deepcopy(network),
        list(torch.randn(3, 4, 3, 16, 16) + torch.arange(3.0)[:, None, None, None, None]),
    )
    together, apart = network.each(*views), [twin(view) for view in views]
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-4)
    for pairs in (together, apart):
        sum((z.square() * p.sin()).sum() for z, p in pairs).backward()
    for (name, mine), theirs in zip(network.named_parameters(), twin.parameters(), strict=True):
        scale = float(theirs.grad.abs().max())
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-3, atol=1e-3 * scale + 1e-6, msg=name)
    torch.testing.assert_close(network.state_dict(), twin.state_dict(), rtol=1e-4, atol=1e-5)


def test_a_teacher_takes_several_views_as_if_one_after_another():
    torch.manual_seed(0)
    teachers = [MomentumEncoder(SiameseNetwork(3, SMALL, {"hidden": [16], "dim": 8}, None)).train()]
    teachers.append(copy.deepcopy(teachers[0]))
    views = list(torch.randn(2, 4, 3, 16, 16))
    torch.testing.assert_close(
        list(teachers[0](*views)), [teachers[1](view)[0] for view in views], rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(teachers[0].state_dict(), teachers[1].state_dict(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("last_norm", [{}, {"last_norm": True}, {"last_norm": False}])
def test_a_network_passes_the_choice_on_to_its_projector(last_norm):
    network = SiameseNetwork(3, SMALL, {"hidden": [16], "dim": 8} | last_norm, predictor=None)
    ends_in = nn.Linear if last_norm.get("last_norm") is False else BatchNorm
    assert type(network.projector[-1]) is ends_in
    z, p = network(torch.rand((4, 3, 16, 16)) * 2 - 1)
    assert z.shape == (4, 8) and p is z


def test_spread_is_one_when_healthy_and_zero_when_collapsed():
    torch.manual_seed(0)
    assert spread(torch.randn(4000, 64)) == pytest.approx(1, abs=0.02)
    assert spread(torch.ones(100, 64)) == pytest.approx(0, abs=1e-6)


def test_negative_cosine_is_minus_one_where_directions_agree():
    assert negative_cosine(torch.ones(4, 3), 2 * torch.ones(4, 3)) == pytest.approx(-1)
    assert negative_cosine(torch.eye(3), -torch.eye(3)) == pytest.approx(1)
