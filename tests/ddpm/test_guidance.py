"""Guidance with denoisers known in closed form, and guides without a snapshot."""

import math
from pathlib import Path

import pytest
import torch
from ideal_denoiser import PROCESSES, STEPS, Ideal, pure_noise
from tiny_generative import CPU, save_ddpm, weaken

from triptych.core.errors import InputError
from triptych.ddpm.objective import load_trained
from triptych.ddpm.sample import Autoguidance, load_guide
from triptych.ddpm.samplers import SAMPLERS
from triptych.nn.weights import snapshot_files


def guided(name: str, method: Ideal, guide: Ideal, weight: float) -> tuple[float, float]:
    """Return mean and standard deviation of guided samples."""
    guidance, noise = Autoguidance(method, guide, weight), pure_noise().normal
    result = SAMPLERS[name](guidance.denoise, noise().double(), guidance.levels(STEPS[name]), noise)
    return float(result.mean()), float(result.std())


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_guide_with_another_mean_moves_the_mean_away_from_it(name: str, process: str) -> None:
    """For equal spreads, D_w is the perfect denoiser of N(guide + w (mean - guide), spread²)."""
    mean, spread = guided(name, Ideal(0.2, 0.25, process), Ideal(0.1, 0.25, process), 2.5)
    assert mean == pytest.approx(0.1 + 2.5 * (0.2 - 0.1), abs=4 * 0.25 / math.sqrt(16000) + 0.002)
    assert spread == pytest.approx(0.25, rel=0.03)


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("name", ["ddim", "dpm_solver", "heun"])
@pytest.mark.parametrize("weight", [1.0, 2.0, 3.0])
def test_a_wider_guide_makes_samples_narrower(name: str, process: str, weight: float) -> None:
    """Along the flow of D_w, x - mean is proportional to (c² + sigma²)^(w/2) (g² + sigma²)^((1-w)/2).

    c and g are the spreads of the data and of the guide. At sigma 0 this is c^w g^(1-w).
    """
    mean, spread = guided(name, Ideal(0.2, 0.25, process), Ideal(0.2, 0.35, process), weight)
    assert mean == pytest.approx(0.2, abs=0.005)
    assert spread == pytest.approx(0.25**weight * 0.35 ** (1 - weight), rel=0.03)


def test_the_guide_has_the_weights_of_its_epoch(tmp_path: Path) -> None:
    files = weaken(save_ddpm(tmp_path))
    kept, x = snapshot_files(files.snapshots), torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    guide, method = load_guide(files.model, 1, kept, CPU), load_trained(files.model, CPU)
    torch.testing.assert_close(guide.denoise(x, 0.5), 0.5 * method.denoise(x, 0.5))
    # The head is linear: half its weights give half the output, and guidance weight 2 gives 1.5 times the output.
    torch.testing.assert_close(Autoguidance(method, guide, 2.0).denoise(x, 0.5), 1.5 * method.denoise(x, 0.5))
    assert not guide.network.training


def test_an_epoch_without_snapshot_is_refused_in_one_line(tmp_path: Path) -> None:
    files = save_ddpm(tmp_path)
    with pytest.raises(InputError, match=r"sampling\.ddpm\.guidance.*epoch 3;.*snapshot_epochs \(1, 5\)$"):
        load_guide(files.model, 3, snapshot_files(files.snapshots), CPU)
