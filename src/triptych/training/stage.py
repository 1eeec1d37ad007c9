"""A training stage from its params to its outputs: what every stage script of a method does."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch

from triptych.data.batches import resident
from triptych.data.storage import Dataset, load, validate
from triptych.files import write_json, write_text
from triptych.models.files import save_model
from triptych.objectives.objective import Objective
from triptych.params.training import Runtime, Training
from triptych.randomness import fold
from triptych.training.checkpoint import Checkpoints, code_digest, run_key
from triptych.training.loop import Plan, Trained, train
from triptych.training.machine import Machine, machine


@dataclass(frozen=True)
class Outputs:
    """Where a training stage writes: every file is one of the stage's DVC outputs.

    Attributes:
        model: folder for model.safetensors and config.json.
        history: CSV of losses, one row an epoch.
        timing: JSON metric of the stage's wall-clock time.
        epoch_timing: CSV of seconds, one row an epoch.
        snapshots: folder for the weights after each snapshot epoch, where the stage keeps any.
    """

    model: Path
    history: Path
    timing: Path
    epoch_timing: Path
    snapshots: Path | None = None


def stage_outputs(stage: str, snapshots: bool = False) -> Outputs:
    """The contract's places for a stage such as `vae` or `ssl/simsiam`."""
    return Outputs(
        model=Path("models") / stage,
        history=Path("plots") / stage / "training.csv",
        timing=Path("metrics/timing") / f"{stage}.json",
        epoch_timing=Path("plots") / stage / "timing.csv",
        snapshots=Path("snapshots") / stage if snapshots else None,
    )


def run_stage(
    *,
    stage: str,
    seed: int,
    runtime: Runtime,
    recipe: Training,
    data: Path,
    identity: dict,
    build: Callable[[Dataset], tuple[Objective, dict]],
    snapshot_epochs: tuple[int, ...] = (),
    finish: Callable[[Trained, Dataset, Machine], None] | None = None,
) -> None:
    """Trains one method and writes the stage's outputs (on the leading process).

    Args:
        stage: name in the contract, e.g. `vae`, `ssl/simsiam`.
        seed: the pipeline's seed; initial weights, order and noise are functions of it.
        runtime: where to run.
        recipe: how to train.
        data: folder of the prepared dataset.
        identity: the params that the run depends on, beside recipe, data and code: a checkpoint must match them.
        build: from the dataset to the method and the keyword arguments of its network.
        snapshot_epochs: epochs whose weights are kept.
        finish: called on the leading process with the result before the checkpoints are dropped.

    Raises:
        InputError: see `train`; also a missing or damaged dataset.
    """
    with machine(runtime) as place:
        dataset = load(data)
        validate(dataset, recipe.batch_size, str(data))
        key = run_key(
            seed=seed,
            recipe=recipe.model_dump(),
            identity=identity,
            data=json.loads((data / "card.json").read_text())["sha256"],
            code=code_digest(),
            machine=asdict(place) | {"rank": 0},
        )
        checkpoints = Checkpoints(stage, key, leads=place.leads)
        torch.manual_seed(fold(seed, "weights"))
        objective, network = build(dataset)
        plan = Plan(stage, seed, runtime.checkpoint_seconds, runtime.compile, snapshot_epochs)
        split = resident(dataset.train.images, dataset.train.labels, place.device)
        trained = train(objective, split, recipe, plan, place, checkpoints)
        if not place.leads:
            return
        outputs = stage_outputs(stage, snapshots=bool(snapshot_epochs))
        _write(trained, outputs, network, dataset, checkpoints, stage, seed)
        if finish:
            finish(trained, dataset, place)
        checkpoints.discard()


def _write(
    trained: Trained,
    outputs: Outputs,
    network: dict,
    dataset: Dataset,
    checkpoints: Checkpoints,
    stage: str,
    seed: int,
) -> None:
    config = {"stage": stage, "seed": seed, "network": network, "classes": dataset.classes}
    save_model(outputs.model, trained.network, config)
    label = {"variant": stage.rsplit("/", 1)[-1], "seed": seed}
    write_text(outputs.history, pd.DataFrame(trained.history).assign(**label).to_csv(index=False))
    seconds = pd.DataFrame({"epoch": range(1, len(trained.epoch_seconds) + 1), "seconds": trained.epoch_seconds})
    write_text(outputs.epoch_timing, seconds.assign(**label).to_csv(index=False))
    write_json(outputs.timing, trained.timing)
    if outputs.snapshots:
        shutil.rmtree(outputs.snapshots, ignore_errors=True)
        shutil.copytree(checkpoints.folder / "snapshots", outputs.snapshots)
