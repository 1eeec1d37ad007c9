"""Images standardised by compiled loops are those of torch's operations; where loops cannot read, torch's run."""

import pytest
import torch
from torch import Tensor

from triptych.nn import backbones as small_resnet
from triptych.nn.backbones import FLAT, standardised
from triptych.nn.fast.standardise import standardisable

pytestmark = pytest.mark.usefixtures("one_thread")


def images(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    values = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 0.3 + 0.5
    return values.to(dtype).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("shape", [(9, 3, 32, 32), (5, 1, 7, 8), (3, 3, 5, 6), (2, 16, 4, 4), (1, 700, 1, 2)])
def test_it_is_the_formula(shape: tuple[int, ...], dtype: torch.dtype, error: float) -> None:
    x = images(shape, dtype)
    assert standardisable(x)
    exact = x.double()
    centred = exact - exact.mean(dim=(2, 3), keepdim=True)
    expected = centred / (centred.square().mean(dim=(2, 3), keepdim=True) + FLAT).sqrt()
    found = standardised(x)
    assert found.dtype == dtype and found.stride() == x.stride()
    torch.testing.assert_close(found.double(), expected, rtol=error, atol=error)


def test_a_flat_channel_stays_small() -> None:
    assert not standardised(torch.full((2, 3, 4, 4), 0.5).to(memory_format=torch.channels_last)).any()


def test_torch_takes_what_the_loops_cannot_read(monkeypatch: pytest.MonkeyPatch) -> None:
    x = images((4, 3, 8, 8), torch.float32)
    expected = standardised(x)
    monkeypatch.setattr(small_resnet, "standardise", None)
    for other in (x.contiguous(), x.double(), x.clone().requires_grad_(), images((1, 3, 3, 3), torch.float32)):
        assert not standardisable(other)
        found = standardised(other)
        if found.shape == expected.shape:
            torch.testing.assert_close(found.detach().float(), expected, rtol=1e-4, atol=1e-4)
    x = x.clone().requires_grad_()
    standardised(x).square().sum().backward()
    assert x.grad.isfinite().all()
