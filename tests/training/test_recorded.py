"""Recorded steps on a GPU give the same bits as launched steps, for every method; elsewhere nothing is recorded."""

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_run
import torch

from triptych.cli.profiles import merged
from triptych.ddpm.model import denoising_network
from triptych.ddpm.objective import diffusion_method
from triptych.judge.model import ClassificationObjective, Classifier, TurnObjective
from triptych.machine.device import Machine, machine
from triptych.machine.randomness import Draw, generator
from triptych.params import validated
from triptych.ssl.shared.recipes import method, recipe
from triptych.training import loop
from triptych.training.checkpoint import Checkpoints
from triptych.training.loop import WARM_UP, Plan, Recorded, Trainer, recorded
from triptych.training.objective import Batch, Objective, Resident
from triptych.training.params import Training
from triptych.vae.model import VAE
from triptych.vae.objective import VAEObjective

SHAPE = (3, 32, 32)
STEPS = 2 * WARM_UP
UNET = {
    "name": "unet",
    "stem_width": 20,
    "width": 32,
    "multipliers": [1, 2, 4, 8],
    "heads": 4,
    "head_size": 32,
    "groups": 8,
}
ROOT = Path(__file__).parents[2]
PARAMS = validated(merged("full", ROOT), ROOT / "profiles/full.yaml")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


def judge(kind: type[ClassificationObjective] = ClassificationObjective) -> tuple[Objective, Training]:
    network = Classifier(in_channels=SHAPE[0], classes=10, **PARAMS.classifier.network.model_dump())
    return kind(network, PARAMS.classifier.mixup), PARAMS.classifier.training


def vae() -> tuple[Objective, Training]:
    network = VAE(image_shape=SHAPE, **PARAMS.vae.network.model_dump())
    return VAEObjective(network, PARAMS.vae.likelihood_sigma), PARAMS.vae.training


def ddpm(network: dict | None = None) -> tuple[Objective, Training]:
    sizes = network or PARAMS.ddpm.network.model_dump()
    built = denoising_network(image_shape=SHAPE, **sizes)
    return diffusion_method(built, PARAMS.ddpm.process), PARAMS.ddpm.training


def variant(name: str) -> tuple[Objective, Training]:
    chosen = recipe(PARAMS.ssl, name)
    return method(PARAMS.ssl.variants[name].method).build(chosen, SHAPE[0])[0], chosen.training


METHODS = {
    "judge": judge,
    "turns": lambda: judge(TurnObjective),
    "vae": vae,
    "ddpm": ddpm,
    "unet": lambda: ddpm(UNET),
} | {
    name: lambda name=name: variant(name)
    for name in ("simsiam", "barlow_twins", "vicreg", "byol", "byol_heavy", "dssl", "asymsiam", "simclr")
}


def weights(root: Path, build: Callable[[], tuple[Objective, Training]], place: Machine) -> dict[str, torch.Tensor]:
    """Return the weights after one epoch of a few steps."""
    torch.manual_seed(0)
    objective, training = build()
    count = STEPS * training.batch_size
    chosen = generator("cpu", "recorded")
    images = torch.randint(0, 256, (count, *SHAPE), dtype=torch.uint8, generator=chosen)
    labels = torch.randint(0, 10, (count,), generator=chosen)
    data = Resident(images.to(place.device), labels.to(place.device))
    once = training.model_copy(update={"epochs": 1})
    plan = Plan("recorded", 0, checkpoint_seconds=3600.0)
    return (
        Trainer(objective, data, once, plan, place, Checkpoints("recorded", "key", root=root))
        .run()
        .network.state_dict()
    )


@needs_gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", METHODS)
def test_recorded_steps_leave_the_bits_of_steps_launched_one_by_one(tmp_path, monkeypatch, name, precision):
    how = PARAMS.runtime.model_copy(update={"device": "cuda", "precision": precision, "compile": False})
    with machine(how) as place:
        replayed = weights(tmp_path / "a", METHODS[name], place)
        monkeypatch.setattr(loop, "recorded", lambda passes, machine: passes)
        launched = weights(tmp_path / "b", METHODS[name], place)
    differing = [key for key in launched if not torch.equal(replayed[key], launched[key])]
    assert not differing


@needs_gpu
def test_a_step_never_waits_for_the_gpu(tmp_path):
    """Make every wait for the device an error."""
    with machine(PARAMS.runtime.model_copy(update={"device": "cuda"})) as place:
        torch.manual_seed(0)
        objective, training = variant("simsiam")
        images = torch.zeros((2000, *SHAPE), dtype=torch.uint8, device=place.device)
        data = Resident(images, torch.zeros(2000, dtype=torch.int64, device=place.device))
        plan = Plan("recorded", 0, checkpoint_seconds=3600.0)
        trainer = loop.Trainer(objective, data, training, plan, place, Checkpoints("r", "key", root=tmp_path))
        order = torch.arange(2000, device=place.device)
        for _ in range(WARM_UP + 1):
            trainer._step(order)
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(WARM_UP):
                trainer._step(order)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_one_process_with_a_gpu_records(monkeypatch):
    """Otherwise the tests above would compare launched steps with launched steps."""
    monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
    alone = Machine(torch.device("cuda"), torch.float32, threads=1)
    assert isinstance(recorded(lambda batch, draw: None, alone), Recorded)


def test_a_cpu_and_several_processes_record_nothing():
    def passes(batch: Batch, draw: Draw) -> tuple[torch.Tensor, dict]:
        raise AssertionError

    assert recorded(passes, tiny_run.machine()) is passes
    two = Machine(torch.device("cuda"), torch.float32, threads=1, rank=0, world=2)
    assert recorded(passes, two) is passes


def test_a_draw_that_is_restarted_gives_the_numbers_of_a_new_one():
    draw = Draw("cpu", (0, "step", 4), row=2, rows=8)
    draw.normal((3, 5))
    draw.restart(0, "step", 5)
    fresh = Draw("cpu", (0, "step", 5), row=2, rows=8)
    assert torch.equal(draw.normal((3, 5)), fresh.normal((3, 5)))
    assert torch.equal(draw.integers(0, 9, (3,)), fresh.integers(0, 9, (3,)))
