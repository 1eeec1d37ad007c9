"""Compiled batch norm is torch's, in values, gradients and running statistics; and steps aside where it must."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.nn.backbones import SmallResNet
from triptych.nn.fast.batch_norm import fusible, norm_relu, normed

pytestmark = pytest.mark.usefixtures("one_thread")

# Of (B, C, H, W): many rows and few, whole tiles and not, channels that fill no vector.
SHAPES = [(64, 16, 16, 16), (4, 1, 5, 7), (1, 3, 9, 8), (2, 17, 3, 3), (5, 64, 1, 1), (2, 700, 2, 2)]


def random(shape: tuple[int, ...], dtype: torch.dtype, seed: int, mean: float = 0.0) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + mean
    return values.to(dtype).contiguous(memory_format=torch.channels_last)


def norm_of(channels: int) -> nn.BatchNorm2d:
    torch.manual_seed(channels)
    norm = nn.BatchNorm2d(channels)
    nn.init.uniform_(norm.weight, -2, 2)
    nn.init.normal_(norm.bias)
    return norm


def reference(norm: nn.BatchNorm2d, x: Tensor, shortcut: Tensor | None, relu: bool) -> Tensor:
    x = norm(x)
    x = x if shortcut is None else x + shortcut
    return functional.relu(x) if relu else x


def fused(norm: nn.BatchNorm2d, x: Tensor, shortcut: Tensor | None, relu: bool) -> Tensor:
    assert fusible(norm, x)
    return norm_relu(norm, x, shortcut) if relu else normed(norm, x)


def computed(
    way, norm: nn.BatchNorm2d, x: Tensor, shortcut: Tensor | None, relu: bool, gradient: Tensor, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Output, gradients and running statistics of `norm` computed in a way and a precision."""
    # In float64 the norm is too; bfloat16 has parameters in float32, as under autocast.
    norm = copy.deepcopy(norm).to(torch.float64 if dtype == torch.float64 else torch.float32)
    inputs = [None if t is None else t.detach().to(dtype).requires_grad_() for t in (x, shortcut)]
    out = way(norm, *inputs, relu)
    out.backward(gradient.to(dtype))
    found = {"out": out.detach(), "x": inputs[0].grad, "weight": norm.weight.grad, "bias": norm.bias.grad}
    if shortcut is not None:
        found["shortcut"] = inputs[1].grad
    assert norm.num_batches_tracked == 1
    return {**found, "running mean": norm.running_mean, "running variance": norm.running_var}


@pytest.mark.parametrize("kind", ["norm", "relu", "shortcut"])
@pytest.mark.parametrize("shape", SHAPES)
def test_in_float32_it_is_torchs(shape: tuple[int, ...], kind: str) -> None:
    x, gradient = random(shape, torch.float32, 0, mean=3.0), random(shape, torch.float32, 1)
    shortcut = random(shape, torch.float32, 2) if kind == "shortcut" else None
    norm = norm_of(shape[1])
    # Whether ReLU cuts what is zero but for rounding is chance.
    gradient[reference(copy.deepcopy(norm), x, shortcut, relu=False).abs() < 1e-4] = 0
    case = (norm, x, shortcut, kind != "norm", gradient, torch.float32)
    mine, theirs = (computed(way, *case) for way in (fused, reference))
    for name, value in theirs.items():
        scale = float(value.abs().max())
        torch.testing.assert_close(mine[name], value, rtol=1e-5, atol=1e-5 * scale, msg=name)
        assert mine[name].dtype == value.dtype and mine[name].stride() == value.stride()


@pytest.mark.parametrize("kind", ["norm", "relu", "shortcut"])
@pytest.mark.parametrize("shape", SHAPES)
def test_in_bfloat16_it_errs_no_more_than_torch(shape: tuple[int, ...], kind: str) -> None:
    x, gradient = random(shape, torch.bfloat16, 0, mean=3.0), random(shape, torch.bfloat16, 1)
    shortcut = random(shape, torch.bfloat16, 2) if kind == "shortcut" else None
    case = (norm_of(shape[1]), x, shortcut, kind != "norm", gradient)
    mine, theirs = (computed(way, *case, torch.bfloat16) for way in (fused, reference))
    exact = computed(reference, *case, torch.float64)
    for name, value in theirs.items():
        error, allowed = ((v.double() - exact[name]).norm() for v in (mine[name], value))
        assert error <= 1.5 * allowed + 1e-6 * exact[name].norm(), name
        assert mine[name].dtype == value.dtype


def test_a_mean_far_from_zero_costs_no_precision() -> None:
    x = random((16, 4, 8, 8), torch.float32, 0) + 1000
    norm, exact = norm_of(4), norm_of(4).double()
    torch.testing.assert_close(normed(norm, x).double(), exact(x.double()), rtol=1e-3, atol=1e-3)


def test_what_is_not_a_number_stays_seen() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        x = random((2, 3, 4, 4), dtype, 0)
        x[0, 1, 0, 0] = float("nan")
        out = norm_relu(norm_of(3), x)
        assert torch.equal(out.isnan().any(dim=3).any(dim=2).any(dim=0), torch.tensor([False, True, False]))


def test_frozen_parameters_get_no_gradient_and_a_teacher_only_its_statistics() -> None:
    norm, x = norm_of(8), random((4, 8, 4, 4), torch.bfloat16, 0).requires_grad_()
    norm.requires_grad_(False)
    norm_relu(norm, x).sum().backward()
    assert norm.weight.grad is None and x.grad.any()
    twin = norm_of(8)
    norm_relu(twin, x.detach()).sum().backward()
    assert twin.weight.grad.any()
    teacher, theirs = norm_of(8), norm_of(8)
    with torch.no_grad():
        out = norm_relu(teacher, x)
        theirs(x)
    assert not out.requires_grad
    assert teacher.num_batches_tracked == 1
    torch.testing.assert_close(teacher.running_var, theirs.running_var)


def test_a_network_learns_from_two_views_as_by_torchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = SmallResNet(3, width=8, blocks=[1, 1], stem_stride=2).to(memory_format=torch.channels_last)
    views = [random((8, 3, 16, 16), torch.float32, seed) for seed in (1, 2)]
    twin = copy.deepcopy(network)
    (network(views[0]) * network(views[1])).sum().backward()
    with monkeypatch.context() as patch:
        patch.setattr("triptych.nn.fast.batch_norm.fusible", lambda norm, x, parts: False)
        (twin(views[0]) * twin(views[1])).sum().backward()
    for (name, mine), theirs in zip(network.named_parameters(), twin.parameters(), strict=True):
        scale = float(theirs.grad.abs().max())
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-4 * scale, msg=name)
    for (name, mine), theirs in zip(network.named_buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("fusing", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(8, 4, 6, 6), (12, 10)])
def test_parts_are_normalised_as_if_one_after_another(
    shape: tuple[int, ...], affine: bool, fusing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d
    norms = [kind(shape[1], affine=affine) for _ in range(2)]
    layout = torch.channels_last if len(shape) == 4 else torch.contiguous_format
    views = [torch.randn(shape).add_(3 * view).to(memory_format=layout).requires_grad_() for view in range(2)]
    weights = torch.randn(2, *shape)
    if not fusing:
        monkeypatch.setattr("triptych.nn.fast.batch_norm.fusible", lambda norm, x, parts: False)
    assert fusible(norms[0], torch.cat(views), parts=2)
    together = torch.stack(norm_relu(norms[0], torch.cat(views), parts=2).chunk(2))
    found = torch.autograd.grad((together * weights).sum(), [*views, *norms[0].parameters()])
    monkeypatch.undo()
    apart = torch.stack([functional.relu(norms[1](view)) for view in views])
    expected = torch.autograd.grad((apart * weights).sum(), [*views, *norms[1].parameters()])
    torch.testing.assert_close([together, *found], [apart, *expected], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(norms[0].state_dict(), norms[1].state_dict())
    # The statistics of all together are others.
    assert (functional.relu(kind(shape[1])(torch.cat(views))) - torch.cat(list(together))).abs().max() > 0.1


def test_it_steps_aside() -> None:
    class OtherNorm(nn.BatchNorm2d):
        """Any norm of another kind."""

    norm, x = norm_of(4), random((2, 4, 4, 4), torch.float32, 0)
    assert fusible(norm, x)
    assert not fusible(norm_of(4).eval(), x)
    assert not fusible(OtherNorm(4), x)
    assert not fusible(nn.BatchNorm2d(4, track_running_stats=False), x)
    assert not fusible(nn.BatchNorm2d(4, momentum=None), x)
    assert not fusible(norm, x.contiguous())
    assert not fusible(norm_of(4).double(), x.double())
    assert not fusible(norm, x.to("meta"))
    assert not fusible(norm, x[:1, :, :1, :1])
    assert not fusible(norm_of(3), random((1, 3, 3, 3), torch.float32, 0))
    assert not fusible(norm, x, parts=3)
    assert not fusible(norm_of(3), random((2, 3, 3, 3), torch.float32, 0), parts=2)
    seen = []
    torch.func.grad(lambda x: (seen.append(fusible(norm, x)), x.sum())[1])(x)
    assert seen == [False]
    compiled = torch.compile(lambda x: x + fusible(norm, x), backend="eager")
    assert torch.equal(compiled(x), x)
    # Of other layouts, types or states what torch says is said.
    odd = random((2, 4, 4, 4), torch.float32, 1).contiguous()
    for case in ((norm_of(4), x.contiguous(), odd), (norm_of(4), x, odd), (norm_of(4).eval(), x, odd)):
        twin = copy.deepcopy(case[0])
        torch.testing.assert_close(norm_relu(*case), functional.relu(twin(case[1]) + case[2]))
