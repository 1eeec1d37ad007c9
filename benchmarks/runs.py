"""Trainings for benchmarks."""

import tempfile
from pathlib import Path

from torch import nn

from triptych.data.storage import Dataset
from triptych.machine.device import Machine
from triptych.training.checkpoint import Checkpoints
from triptych.training.loop import Plan, Trainer
from triptych.training.objective import Objective, resident
from triptych.training.params import Training


def trained(objective: Objective, recipe: Training, dataset: Dataset, seed: int, place: Machine) -> nn.Module:
    """Train an objective without keeping checkpoints, and return its network."""
    split = resident(dataset.train.images, dataset.train.labels, place.device)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints("benchmark", "run", root=Path(folder))
        return Trainer(objective, split, recipe, Plan("benchmark", seed, 1e9), place, checkpoints).run().network.eval()
