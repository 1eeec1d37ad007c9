"""A training run of one second that tests can kill: batch norm, channels last, noise, AdamW, averaged weights.

As a script it runs in a process of its own, with its settings as JSON:
`python tiny_run.py '{"root": "...", "kill": "step 7"}'`.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from triptych.core.schema import validate
from triptych.core.seeds import fold
from triptych.machine.device import Machine
from triptych.machine.randomness import Draw, generator
from triptych.training import checkpoint, loop
from triptych.training.checkpoint import Checkpoints
from triptych.training.loop import Plan, Trained, Trainer
from triptych.training.objective import Batch, Objective, Resident
from triptych.training.params import Training

IMAGES, BATCH, EPOCHS = 70, 16, 3
STEPS_PER_EPOCH = IMAGES // BATCH
STEPS = EPOCHS * STEPS_PER_EPOCH
RATE = 0.01
EVERY_STEP = 1e-9  # seconds between checkpoints

RECIPE = {
    "epochs": EPOCHS,
    "batch_size": BATCH,
    "optimiser": {"name": "adamw", "learning_rate": RATE, "betas": [0.9, 0.99], "weight_decay": 0.01},
    "schedule": {"name": "cosine", "warmup_steps": 3},
    "gradient_clip": 1.0,
    "ema_halflife_images": 40.0,
}
MUON = {
    "name": "muon",
    "learning_rate": RATE,
    "momentum": 0.9,
    "weight_decay": 0.01,
    "others": {"name": "adamw", "learning_rate": RATE / 2, "betas": [0.9, 0.99], "weight_decay": 0.0},
}
SGD = {"name": "sgd", "learning_rate": RATE, "momentum": 0.9, "weight_decay": 0.0}


class TinyNetwork(nn.Module):
    """Two convolutions with batch norm and a linear head: (B, 3, 8, 8) -> (B, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3)
        )
        self.head = nn.Linear(8, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.levels(images).mean(dim=(2, 3)))


class TinyObjective(Objective):
    """Regression of the mean and spread of an image from a noisy copy. `on_step` is called after each step."""

    def __init__(self, on_step: Callable[[int], None] = lambda step: None) -> None:
        super().__init__()
        self.network = TinyNetwork()
        self.on_step = on_step
        self.steps_made = 0

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        noisy = batch.images + 0.1 * draw.normal(tuple(batch.images.shape))
        flat = batch.images.flatten(1)
        error = self.network(noisy) - torch.stack([flat.mean(dim=1), flat.std(dim=1)], dim=1)
        terms = error.square().mean(dim=0)
        return terms.sum(), {"mean": terms[0].detach(), "spread": terms[1].detach()}

    def after_step(self, progress: float) -> None:
        self.steps_made += 1
        self.on_step(round(progress * STEPS))


def recipe(**changes: object) -> Training:
    return validate(Training, RECIPE | changes, "training", Path("params.yaml"))


def images(count: int = IMAGES) -> Resident:
    data = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=generator("cpu", "tiny images"))
    return Resident(data, torch.zeros(count, dtype=torch.int64))


def machine(rank: int = 0, world: int = 1) -> Machine:
    return Machine(torch.device("cpu"), torch.float32, torch.get_num_threads(), rank, world)


def run(
    root: Path,
    *,
    seed: int = 0,
    key: str = "key",
    checkpoint_seconds: float = 3600.0,
    training: Training | None = None,
    objective: Callable[[], Objective] = TinyObjective,
    data: Resident | None = None,
    place: Machine | None = None,
    **plan: object,
) -> Trained:
    """Train from the last checkpoint under `root`, if there is one."""
    place = place or machine()
    torch.manual_seed(fold(seed, "weights"))
    return Trainer(
        objective(),
        data or images(),
        training or recipe(),
        Plan("tiny", seed, checkpoint_seconds, **plan),
        place,
        Checkpoints("tiny", key, place.leads, root),
    ).run()


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def run_and_be_killed(root: Path, kill: str) -> None:
    """Train with a checkpoint per step and kill this process at 'step 7', 'snapshot 3', 'writing 5' or 'renaming 5'."""
    what, when = kill.split()[0], int(kill.split()[1])
    written = 0
    whole_save, whole_replace, whole_save_weights = checkpoint.save_file, Path.replace, loop.save_weights

    def save_file(tensors: dict, path: Path, **rest: object) -> None:
        nonlocal written
        written += 1
        whole_save(tensors, path, **rest)
        if what == "writing" and written == when:
            os.truncate(path, path.stat().st_size // 2)
            die()

    def replace(path: Path, target: Path) -> Path:
        if what == "renaming" and written == when and "latest" in path.name and path.suffix == ".partial":
            die()
        return whole_replace(path, target)

    def on_step(step: int) -> None:
        if what == "step" and step == when:
            die()

    def save_weights(path: Path, network: nn.Module) -> None:
        if what == "snapshot" and path.stem == f"epoch_{when:04d}":
            die()
        whole_save_weights(path, network)

    checkpoint.save_file, Path.replace, loop.save_weights = save_file, replace, save_weights
    run(
        root,
        checkpoint_seconds=EVERY_STEP,
        objective=lambda: TinyObjective(on_step),
        snapshot_epochs=(1, 3),
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    settings = json.loads(sys.argv[1])
    run_and_be_killed(Path(settings["root"]), settings["kill"])
