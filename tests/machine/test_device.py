"""Choice of the device. MPS, which has no float64, must be asked for, and no code may use float64 on it."""

from pathlib import Path

import pytest
import torch

from triptych.core.errors import InputError
from triptych.machine.device import choose_device
from triptych.measures.images import in_float64

SOURCE = Path(__file__).parents[2] / "src/triptych"
# Conversions of tensors that are always on the CPU.
ON_THE_CPU = {"measures/similarity.py", "vae/prior.py"}


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)


@pytest.mark.usefixtures("mac")
def test_a_mac_trains_on_its_cpu_unless_mps_is_asked_for():
    assert choose_device("auto") == torch.device("cpu")
    assert choose_device("mps") == torch.device("mps")
    with pytest.raises(InputError, match="'cuda', which is not available; use one of mps, cpu"):
        choose_device("cuda")


def test_a_gpu_comes_first(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto", local_rank=1) == torch.device("cuda", 1)


def test_no_tensor_becomes_float64_where_a_device_may_lack_it():
    """`in_float64` moves tensors of MPS to the CPU first; `Tensor.double` does not."""
    used = {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py") if ".double()" in path.read_text()}
    assert used == ON_THE_CPU
    assert in_float64(torch.ones(2)).dtype == torch.float64
