"""AsymSiam gives its branches views of their own kinds, and is SimSiam in one direction where they are alike."""

import math
from pathlib import Path

import pytest
import torch
from passes import negative_cosine_by_loops as cosine
from passes import watched
from test_momentum import TRAINING
from test_simsiam import SMALL, batch, draw, network, options
from test_views import NOTHING
from torch import Tensor

from triptych.core.schema import read_yaml
from triptych.machine.randomness import Draw
from triptych.ssl.methods.asymsiam import AsymSiam, Recipe, ScaleMix, build
from triptych.ssl.methods.simsiam import SimSiam
from triptych.ssl.shared.network import SiameseNetwork
from triptych.ssl.shared.params import ViewParams
from triptych.ssl.shared.views import Views

pytestmark = pytest.mark.usefixtures("one_thread")

SHARED = read_yaml(Path(__file__).parents[2] / "params.yaml")["ssl"]["shared"]
SIZES = {"projector_hidden": [16], "projector_dim": 16, "predictor_hidden": 8}
SYMMETRIC = {
    "source": {},
    "target": {},
    "source_views": 1,
    "scale_mix": False,
    "mean_encodings": 1,
    "small_crops": 0,
    "small_crop_scale": [0.1, 0.3],
    "small_crop_size": 8,
}


class Power:
    """Replacement of an augmentation: another power gives another kind of view."""

    def __init__(self, power: float, size: int = 16) -> None:
        self.power, self.size = power, size

    def __call__(self, images: Tensor, draw: object) -> Tensor:
        return (2 * ((images + 1) / 2) ** self.power - 1)[:, :, : self.size, : self.size]


# --- The loss ---


@pytest.mark.parametrize(
    ("full_views", "small_crops", "mean_encodings"), [(1, 0, 1), (1, 0, 2), (1, 3, 1), (1, 2, 3), (2, 0, 1), (3, 2, 2)]
)
def test_the_loss_weighs_full_views_and_small_crops_equally(full_views, small_crops, mean_encodings):
    full, small = [Power(1.0 + k / 4) for k in range(full_views)], [Power(1.5 + k, size=8) for k in range(small_crops)]
    target_views = [Power(1 / (2 + k)) for k in range(mean_encodings)]
    net, data = network().train(), batch()
    encodings = [net(view(data.images, None))[0] for view in target_views]
    rows = zip(*(encoding.double().tolist() for encoding in encodings), strict=True)
    target = [[sum(numbers) / mean_encodings for numbers in zip(*same, strict=True)] for same in rows]
    each = [cosine(net(view(data.images, None))[1], torch.tensor(target)) for view in (*full, *small)]
    loss, terms = AsymSiam(network(), full, target_views, small).train()(data, draw())
    means = [sum(group) / len(group) for group in (each[:full_views], each[full_views:]) if group]
    assert float(loss.detach()) == pytest.approx(sum(means) / len(means), rel=1e-4)
    assert float(terms["full_views"]) == pytest.approx(sum(each[:full_views]) / full_views, rel=1e-4)
    assert ("small_crops" in terms) == bool(small_crops)
    if small_crops:
        assert float(terms["small_crops"]) == pytest.approx(sum(each[full_views:]) / small_crops, rel=1e-4)
    assert not any(term.requires_grad for term in terms.values())


def test_without_asymmetry_it_is_simsiam_in_one_direction():
    views = Views(ViewParams(**SHARED["views"]))
    simsiam = SimSiam(network(), views, options(symmetric=False)).train()
    asymsiam = AsymSiam(network(), [views], [views]).train()
    losses = [objective(batch(), draw()) for objective in (simsiam, asymsiam)]
    for loss, _ in losses:
        loss.backward()
    assert torch.equal(losses[0][0], losses[1][0])
    assert torch.equal(losses[0][1]["embedding_std"], losses[1][1]["embedding_std"])
    gradients = [[p.grad for p in objective.parameters()] for objective in (simsiam, asymsiam)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("autocast", [False, True])
def test_gradients_flow_through_the_source_alone(autocast):
    """The target's passes leave no graph at all; autocast's cache of weights keeps the source's."""
    objective = AsymSiam(network(), [Power(1.0)], [Power(0.5), Power(0.25)]).train()
    seen = watched(objective.network)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss, _ = objective(batch(), draw())
    loss.backward()
    assert [z.requires_grad for _, z, _ in seen] == [True, False, False] and loss.dtype == torch.float32
    assert all(p.grad is not None and p.grad.any() for p in objective.network.backbone.parameters())


def test_the_target_takes_the_statistics_of_its_batch():
    """In train mode, without gradients: every view counts in the running statistics, as in SimSiam."""
    objective = AsymSiam(network(), [Power(1.0)], [Power(0.5), Power(0.25)]).train()
    objective(batch(), draw())
    assert int(objective.network.projector[-1].num_batches_tracked) == 3


def test_the_mean_is_of_encodings_as_they_are():
    """A longer encoding weighs more; normalising each first would make it one half of the direction."""
    objective = AsymSiam(network(), [Power(1.0)], [Power(0.5), Power(0.25)])
    objective.network.each = lambda *views: [(torch.tensor([[3.0, 0.0]]), None), (torch.tensor([[0.0, 1.0]]), None)]
    assert torch.equal(objective._mean_encoding(batch().images.split(4)), torch.tensor([[1.5, 0.5]]))


def test_the_predictor_alone_keeps_a_constant_rate():
    objective = AsymSiam(network(), [Power(1.0)], [Power(0.5)])
    encoder, predictor = objective.parameter_groups()
    assert {id(p) for p in predictor["params"]} == {id(p) for p in objective.network.predictor.parameters()}
    assert predictor["constant_rate"] and not encoder["constant_rate"]
    assert len(encoder["params"]) + len(predictor["params"]) == len(list(objective.parameters()))


# --- ScaleMix ---


class Numbered:
    """The first view of image i is i everywhere, the second -i."""

    def __init__(self) -> None:
        self.sign = -1

    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        self.sign = -self.sign
        number = torch.arange(1, len(images) + 1, dtype=images.dtype)
        return self.sign * number[:, None, None, None].expand_as(images)


def test_both_parts_of_a_mix_are_views_of_the_same_image():
    mixed = ScaleMix(Numbered())(torch.zeros(64, 3, 20, 20), draw())
    own = torch.arange(1, 65.0)[:, None, None, None]
    assert torch.equal(mixed.abs(), own.expand_as(mixed))
    both = (mixed > 0).flatten(1).any(dim=1) & (mixed < 0).flatten(1).any(dim=1)
    assert both.float().mean() > 0.8


def test_the_box_of_a_mix_has_the_sides_of_cutmix():
    """Pixel by pixel: the box's sides are sqrt(1 - λ) of the image's, around the centre, cut off at the border."""
    count, height, width = 40, 12, 20
    mixed = ScaleMix(Numbered())(torch.zeros(count, 3, height, width), draw())
    inner = 0
    for image, (lam, down, across) in zip(mixed, draw().uniform((count, 3)).tolist(), strict=True):
        side = math.sqrt(1 - lam)
        for y in range(height):
            for x in range(width):
                in_rows = abs((y + 0.5) - down * height) < side * height / 2
                in_columns = abs((x + 0.5) - across * width) < side * width / 2
                assert bool((image[:, y, x] < 0).all()) == (in_rows and in_columns)
        if side / 2 <= min(down, 1 - down, across, 1 - across):
            # Within the image the area is 1 - λ, up to a pixel along each border.
            inner += 1
            area = (image[0] < 0).sum().item()
            assert abs(area - (1 - lam) * height * width) <= side * (height + width) + 1
    assert inner >= 5


def test_lambda_is_uniform():
    """The mean area is that of boxes with uniform λ and centre; without a border to cut them off it would be a half."""
    mixed = ScaleMix(Numbered())(torch.zeros(4000, 1, 32, 32), draw())
    area = (mixed < 0).float().mean(dim=(1, 2, 3))
    # For a side s and a uniform centre, the expected share along one axis is s - s² / 4; s² is uniform, as 1 - λ is.
    shares = [(math.sqrt(k / 1000) - k / 4000) ** 2 for k in range(1001)]
    assert float(area.mean()) == pytest.approx(sum(shares) / len(shares), abs=0.015)


# --- From a recipe ---


def recipe(**changes: object) -> Recipe:
    own = {"backbone": SMALL | {"standardise": True}, "training": TRAINING}
    return Recipe.model_validate(SHARED | SIZES | SYMMETRIC | own | changes)


def test_each_branch_gets_the_changes_of_its_own():
    objective, _ = build(recipe(source={"crop_scale": [0.1, 0.4]}, target={"jitter": 0.0, "grey": 0.0}), 3)
    (source,), (target,) = objective.sources, objective.targets
    shared = recipe().views
    assert source.params == shared.model_copy(update={"crop_scale": [0.1, 0.4]})
    assert target.params == shared.model_copy(update={"jitter": 0.0, "grey": 0.0})
    alike, _ = build(recipe(), 3)
    assert alike.sources[0].params == alike.targets[0].params == shared


def test_what_a_branch_sees_is_of_its_kind():
    """The network itself: inverted views reach it with the predictor's gradient, the plain ones without."""
    still = SHARED["views"] | NOTHING
    objective, _ = build(recipe(views=still, source={"invert": 1.0}), 3)
    seen, data = watched(objective.network), batch()
    objective.train()(data, draw())
    (source, _, source_p), (target, _, target_p) = seen
    torch.testing.assert_close(source, -data.images)
    torch.testing.assert_close(target, data.images)
    assert source_p.requires_grad and not target_p.requires_grad


def test_small_crops_are_as_many_and_as_small_as_the_recipe_says():
    objective, _ = build(recipe(source={"grey": 0.0}, small_crops=3, small_crop_size=12), 3)
    seen = watched(objective.network)
    loss, terms = objective.train()(batch(), draw())
    assert [(*view.shape[-2:], p.requires_grad) for view, _, p in seen] == [
        (16, 16, True),
        *[(12, 12, True)] * 3,
        (16, 16, False),
    ]
    assert -1 <= float(loss.detach()) <= 1 and set(terms) == {"full_views", "small_crops", "embedding_std"}
    changed = {"grey": 0.0, "crop_scale": [0.1, 0.3]}
    assert objective.small[0].params == recipe().views.model_copy(update=changed)


def test_every_full_view_of_the_source_learns():
    objective, _ = build(recipe(source_views=2), 3)
    seen = watched(objective.network)
    _, terms = objective.train()(batch(), draw())
    assert [p.requires_grad for _, _, p in seen] == [True, True, False] and set(terms) == {
        "full_views",
        "embedding_std",
    }


def test_a_mixed_source_and_a_mean_target():
    objective, _ = build(recipe(scale_mix=True, mean_encodings=2), 3)
    assert isinstance(objective.sources[0], ScaleMix) and len(objective.sources) == 1
    assert len(objective.targets) == 2 and all(isinstance(views, Views) for views in objective.targets)
    loss, _ = objective.train()(batch(), draw())
    loss.backward()
    assert torch.isfinite(loss)


def test_the_network_is_rebuilt_from_what_a_recipe_built_it_with():
    objective, sizes = build(recipe(), 3)
    rebuilt = SiameseNetwork(**sizes)
    rebuilt.load_state_dict(objective.network.state_dict())
    assert all(map(torch.equal, rebuilt(batch().images), objective.network(batch().images)))
