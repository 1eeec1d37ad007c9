"""Compiled batch norm and standardisation agree with torch's operations, and run only on tensors that they can read."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.machine import device
from triptych.nn.backbones import SmallResNet
from triptych.nn.fast import norm as module
from triptych.nn.fast.compiled import readable
from triptych.nn.fast.norm import FLAT, BatchNorm, grouped, standardised

pytestmark = pytest.mark.usefixtures("one_thread")

# (B, C, H, W): many rows and few, whole tiles and not, channels that do not fill a vector.
SHAPES = [(64, 16, 16, 16), (4, 1, 5, 7), (1, 3, 9, 8), (2, 17, 3, 3), (5, 64, 1, 1), (2, 700, 2, 2)]


def random(shape: tuple[int, ...], dtype: torch.dtype, seed: int, mean: float = 0.0) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + mean
    return values.to(dtype).contiguous(memory_format=torch.channels_last)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch):
    """Make what runs in this context use torch's operations."""

    @contextmanager
    def run() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(device, "kernels", "plain")
            yield

    return run


def norm_of(channels: int, relu: bool = False, affine: bool = True) -> BatchNorm:
    torch.manual_seed(channels)
    norm = BatchNorm(channels, affine, relu)
    if affine:
        nn.init.uniform_(norm.weight, -2, 2)
        nn.init.normal_(norm.bias)
    return norm


def reference(norm: BatchNorm, x: Tensor, shortcut: Tensor | None) -> Tensor:
    """torch's batch norm, sum and ReLU; the running statistics of `norm` are updated."""
    x = functional.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, True, norm.momentum)
    norm.num_batches_tracked += 1
    x = x if shortcut is None else x + shortcut
    return functional.relu(x) if norm.relu else x


def fused(norm: BatchNorm, x: Tensor, shortcut: Tensor | None) -> Tensor:
    assert norm.fusible(x, shortcut)
    return norm(x, shortcut)


def computed(
    way, norm: BatchNorm, x: Tensor, shortcut: Tensor | None, gradient: Tensor, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Output, gradients and running statistics of `norm`, computed by `way` in a precision."""
    # bfloat16 has parameters in float32, as under autocast.
    norm = copy.deepcopy(norm).to(torch.float64 if dtype == torch.float64 else torch.float32)
    inputs = [None if t is None else t.detach().to(dtype).requires_grad_() for t in (x, shortcut)]
    out = way(norm, *inputs)
    out.backward(gradient.to(dtype))
    found = {"out": out.detach(), "x": inputs[0].grad, "weight": norm.weight.grad, "bias": norm.bias.grad}
    if shortcut is not None:
        found["shortcut"] = inputs[1].grad
    assert norm.num_batches_tracked == 1
    return {**found, "running mean": norm.running_mean, "running variance": norm.running_var}


@pytest.mark.parametrize("kind", ["norm", "relu", "shortcut"])
@pytest.mark.parametrize("shape", SHAPES)
def test_in_float32_it_agrees_with_torch(shape: tuple[int, ...], kind: str) -> None:
    x, gradient = random(shape, torch.float32, 0, mean=3.0), random(shape, torch.float32, 1)
    shortcut = random(shape, torch.float32, 2) if kind == "shortcut" else None
    norm = norm_of(shape[1], relu=kind != "norm")
    # ReLU's gradient at a value that is zero up to rounding is arbitrary.
    gradient[reference(norm_of(shape[1]), x, shortcut).abs() < 1e-4] = 0
    case = (norm, x, shortcut, gradient, torch.float32)
    mine, theirs = (computed(way, *case) for way in (fused, reference))
    for name, value in theirs.items():
        scale = float(value.abs().max())
        torch.testing.assert_close(mine[name], value, rtol=1e-5, atol=1e-5 * scale, msg=name)
        assert mine[name].dtype == value.dtype and mine[name].stride() == value.stride()


@pytest.mark.parametrize("kind", ["norm", "relu", "shortcut"])
@pytest.mark.parametrize("shape", SHAPES)
def test_in_bfloat16_its_error_is_that_of_torch(shape: tuple[int, ...], kind: str) -> None:
    x, gradient = random(shape, torch.bfloat16, 0, mean=3.0), random(shape, torch.bfloat16, 1)
    shortcut = random(shape, torch.bfloat16, 2) if kind == "shortcut" else None
    case = (norm_of(shape[1], relu=kind != "norm"), x, shortcut, gradient)
    mine, theirs = (computed(way, *case, torch.bfloat16) for way in (fused, reference))
    exact = computed(reference, *case, torch.float64)
    for name, value in theirs.items():
        error, allowed = ((v.double() - exact[name]).norm() for v in (mine[name], value))
        assert error <= 1.5 * allowed + 1e-6 * exact[name].norm(), name
        assert mine[name].dtype == value.dtype


def test_a_mean_far_from_zero_costs_no_precision() -> None:
    x = random((16, 4, 8, 8), torch.float32, 0) + 1000
    torch.testing.assert_close(
        fused(norm_of(4), x, None).double(), reference(norm_of(4).double(), x.double(), None), rtol=1e-3, atol=1e-3
    )


def test_nan_stays_nan() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        x = random((2, 3, 4, 4), dtype, 0)
        x[0, 1, 0, 0] = float("nan")
        out = fused(norm_of(3, relu=True), x, None)
        assert torch.equal(out.isnan().any(dim=3).any(dim=2).any(dim=0), torch.tensor([False, True, False]))


def test_frozen_parameters_get_no_gradient_and_without_gradients_statistics_are_still_updated() -> None:
    norm, x = norm_of(8, relu=True), random((4, 8, 4, 4), torch.bfloat16, 0).requires_grad_()
    norm.requires_grad_(False)
    fused(norm, x, None).sum().backward()
    assert norm.weight.grad is None and x.grad.any()
    twin = norm_of(8, relu=True)
    fused(twin, x.detach(), None).sum().backward()
    assert twin.weight.grad.any()
    teacher, expected = norm_of(8), norm_of(8)
    with torch.no_grad():
        out = fused(teacher, x, None)
        reference(expected, x, None)
    assert not out.requires_grad
    assert teacher.num_batches_tracked == 1
    torch.testing.assert_close(teacher.running_var, expected.running_var)


def test_a_network_learns_as_with_torchs_operations(plain) -> None:
    torch.manual_seed(0)
    network = SmallResNet(3, width=8, blocks=[1, 1], stem_stride=2).to(memory_format=torch.channels_last)
    views = [random((8, 3, 16, 16), torch.float32, seed) for seed in (1, 2)]
    twin = copy.deepcopy(network)
    (network(views[0]) * network(views[1])).sum().backward()
    with plain():
        (twin(views[0]) * twin(views[1])).sum().backward()
    for (name, mine), theirs in zip(network.named_parameters(), twin.parameters(), strict=True):
        scale = float(theirs.grad.abs().max())
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-4 * scale, msg=name)
    for (name, mine), theirs in zip(network.named_buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("kernels", ["fast", "plain"])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(8, 4, 6, 6), (12, 10)])
def test_groups_are_normalised_as_if_one_after_another(
    shape: tuple[int, ...], affine: bool, kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "kernels", kernels)
    norms = [norm_of(shape[1], relu=True, affine=affine) for _ in range(2)]
    layout = torch.channels_last if len(shape) == 4 else torch.contiguous_format
    views = [torch.randn(shape).add_(3 * view).to(memory_format=layout).requires_grad_() for view in range(2)]
    weights = torch.randn(2, *shape)
    with grouped(2):
        assert norms[0].fusible(torch.cat(views)) == (kernels == "fast")
        together = torch.stack(norms[0](torch.cat(views)).chunk(2))
    results = torch.autograd.grad((together * weights).sum(), [*views, *norms[0].parameters()])
    apart = torch.stack([reference(norms[1], view, None) for view in views])
    expected = torch.autograd.grad((apart * weights).sum(), [*views, *norms[1].parameters()])
    torch.testing.assert_close([together, *results], [apart, *expected], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(norms[0].state_dict(), norms[1].state_dict())
    # One group of all rows has other statistics.
    assert (norm_of(shape[1], relu=True, affine=affine)(torch.cat(views)) - torch.cat(list(together))).abs().max() > 0.1


def test_kernels_read_no_parameters_of_another_type_length_or_layout() -> None:
    """Their memory was once read as float32 values one after another: errors of 5e12, and reads out of bounds."""
    x, strided = random((8, 4, 4, 4), torch.float32, 0), torch.linspace(1, 2, 8)[::2]
    changes = {
        "bfloat16 weight": ("weight", nn.Parameter(torch.linspace(1, 2, 4, dtype=torch.bfloat16))),
        "strided weight": ("weight", nn.Parameter(strided)),
        "strided bias": ("bias", nn.Parameter(strided)),
        "strided variance": ("running_var", strided),
        "float64 mean": ("running_mean", torch.zeros(4, dtype=torch.float64)),
        "short weight": ("weight", nn.Parameter(torch.ones(3))),
    }
    for name, (key, tensor) in changes.items():
        norm = norm_of(4)
        setattr(norm, key, tensor)
        assert not norm.fusible(x), name
    for key in ("weight", "bias"):
        norm = norm_of(4)
        setattr(norm, key, nn.Parameter(strided))
        expected = reference(copy.deepcopy(norm), x, None)
        torch.testing.assert_close(norm(x), expected)


def test_kernels_run_only_where_they_compute_what_torch_does() -> None:
    norm, x = norm_of(4), random((2, 4, 4, 4), torch.float32, 0)
    odd = random((2, 4, 4, 4), torch.float32, 1).contiguous()
    assert norm.fusible(x)
    assert not norm_of(4).eval().fusible(x)
    for change in ({"track_running_stats": False}, {"momentum": None}):
        other = norm_of(4)
        for name, value in change.items():
            setattr(other, name, value)
        assert not other.fusible(x)
    assert not norm.fusible(x.contiguous())
    assert not norm_of(4).double().fusible(x.double())
    assert not norm.fusible(x.to("meta"))
    assert not norm.fusible(x[:1, :, :1, :1])
    assert not norm.fusible(x, odd) and not norm.fusible(x, x.bfloat16())
    with grouped(3):
        assert not norm.fusible(x)
    seen = []
    torch.func.grad(lambda x: (seen.append(norm.fusible(x)), x.sum())[1])(x)
    assert seen == [False]
    compiled = torch.compile(lambda x: x + norm.fusible(x), backend="eager")
    assert torch.equal(compiled(x), x)
    for train, rows, shortcut in ((True, x.contiguous(), odd), (True, x, odd), (False, x, odd)):
        norm = norm_of(4, relu=True).train(train)
        twin = nn.BatchNorm2d(4).train(train)
        twin.load_state_dict(norm.state_dict())
        torch.testing.assert_close(norm(rows, shortcut), functional.relu(twin(rows) + shortcut))


def test_compiled_by_torch_groups_are_still_normalised_apart() -> None:
    """torch.compile traces the context that sets the groups."""
    views, norm, twin = torch.randn(2, 8, 4), norm_of(4), norm_of(4)

    def both(x: Tensor) -> Tensor:
        with grouped(2):
            return norm(x)

    out = torch.compile(both, backend="eager")(torch.cat(list(views)))
    torch.testing.assert_close(out, torch.cat([reference(twin, view, None) for view in views]))


# --- Standardised images ---


def images(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return (random(shape, torch.float32, 0).abs() * 0.1 + 0.5).to(dtype)


@pytest.mark.parametrize(
    ("kernels", "dtype", "error"),
    [("fast", torch.float32, 1e-5), ("fast", torch.bfloat16, 1e-2), ("plain", torch.float32, 1e-5)],
)
@pytest.mark.parametrize("shape", [(9, 3, 32, 32), (5, 1, 7, 8), (3, 3, 5, 5), (2, 16, 4, 4), (1, 700, 1, 2)])
def test_standardised_images_follow_the_formula(shape, dtype, error, kernels, monkeypatch) -> None:
    monkeypatch.setattr(device, "kernels", kernels)
    x = images(shape, dtype)
    assert readable(x) == (kernels == "fast")
    exact = x.double()
    centred = exact - exact.mean(dim=(2, 3), keepdim=True)
    expected = centred / (centred.square().mean(dim=(2, 3), keepdim=True) + FLAT).sqrt()
    result = standardised(x)
    assert result.dtype == dtype
    torch.testing.assert_close(result.double(), expected, rtol=error, atol=error)


def test_a_flat_channel_stays_small() -> None:
    assert not standardised(torch.full((2, 3, 4, 4), 0.5).to(memory_format=torch.channels_last)).any()


def test_torch_standardises_what_the_kernel_cannot_read(monkeypatch: pytest.MonkeyPatch) -> None:
    x = images((4, 3, 8, 8), torch.float32)
    expected = standardised(x)
    monkeypatch.setattr(module, "_standardise", None)
    for other in (x.contiguous(), x.double(), x.clone().requires_grad_()):
        torch.testing.assert_close(standardised(other).detach().float(), expected, rtol=1e-4, atol=1e-4)
    x = x.clone().requires_grad_()
    standardised(x).square().sum().backward()
    assert x.grad.isfinite().all()
