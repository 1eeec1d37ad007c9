"""A training stage from its params to its outputs: what every stage script of a method does."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path

import torch

from triptych.core.errors import InputError
from triptych.core.files import write_json, write_text
from triptych.core.schema import Runtime
from triptych.core.seeds import fold
from triptych.data.storage import Dataset, load, validate
from triptych.machine.device import Machine, machine
from triptych.machine.processes import side_by_side
from triptych.nn.weights import save_model, seed_folder
from triptych.training.checkpoint import Checkpoints, code_digest, only_writer, run_key
from triptych.training.loop import Plan, Trained, train
from triptych.training.objective import Objective, resident
from triptych.training.params import Training
from triptych.training.processes import in_workers


@dataclass(frozen=True)
class Run:
    """One seed's run of a stage, ended; its last checkpoint lies there until the stage has written its outputs."""

    seed: int
    trained: Trained
    checkpoints: Checkpoints
    config: dict


@dataclass(frozen=True)
class Outputs:
    """Where a training stage writes: every file is one of the stage's DVC outputs.

    Attributes:
        model: folder for model.safetensors and config.json; further seeds lie in folders `seed_1`, … below it.
        history: CSV of losses, one row an epoch and seed.
        timing: JSON metric of the stage's wall-clock time.
        epoch_timing: CSV of seconds, by the clock and of the processor, one row an epoch and seed.
        snapshots: folder for the weights after each snapshot epoch, where the stage keeps any; those of several seeds
            lie in folders `seed_0`, `seed_1`, … below it.
    """

    model: Path
    history: Path
    timing: Path
    epoch_timing: Path
    snapshots: Path | None = None


def stage_outputs(stage: str, snapshots: bool = False) -> Outputs:
    """Where a stage's outputs lie, for one such as `vae` or `ssl/simsiam`; the tables of a study lie in one folder."""
    study, _, variant = stage.partition("/")
    table = f"plots/{study}/{variant}_" if variant else f"plots/{study}/"
    return Outputs(
        model=Path("models") / stage,
        history=Path(f"{table}training.csv"),
        timing=Path("metrics/timing") / f"{stage}.json",
        epoch_timing=Path(f"{table}timing.csv"),
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
    seeds: int | None = None,
    snapshot_epochs: tuple[int, ...] = (),
) -> None:
    """Trains one method, with one seed or several, and writes the stage's outputs (on the leading process).

    Args:
        stage: its name, e.g. `vae`, `ssl/simsiam`.
        seed: the pipeline's seed; initial weights, order and noise are functions of it.
        runtime: where to run.
        recipe: how to train.
        data: folder of the prepared dataset.
        identity: the params that the run depends on, beside recipe, data and code: a checkpoint must match them.
        build: from the dataset to the method and what its model's config.json says of it: under "network" the keyword
            arguments of its network.
        seeds: how many runs, with the seeds `seed`, `seed` + 1, …; None for a stage of one run.
        snapshot_epochs: epochs whose weights are kept.

    Raises:
        InputError: see `train`; also a missing or damaged dataset, or another process that trains this stage.
    """
    with machine(runtime, announce=False) as place, only_writer(stage, place.leads):
        at_once = place.at_once(seeds or 1)
        workers = place.workers_of(recipe.batch_size, at_once)
        place = replace(place.shared(at_once * workers), workers=workers)
        place.announce(runs_at_once=at_once)
        dataset = load(data)
        validate(dataset, recipe.batch_size, str(data))
        split = resident(dataset.train.images, dataset.train.labels, place.device)
        shared = {
            "recipe": recipe.model_dump(),
            "identity": identity,
            "data": json.loads((data / "card.json").read_text(encoding="utf-8"))["sha256"],
            "code": code_digest(),
            "machine": asdict(place) | {"rank": 0},
        }

        def run(own: int, place: Machine = place) -> Run:
            checkpoints = Checkpoints(stage, run_key(seed=own, **shared), leads=place.leads)
            torch.manual_seed(fold(own, "weights"))
            objective, config = _built(build, dataset, data)
            plan = Plan(
                stage=stage if seeds in (None, 1) else f"{stage} seed {own}",
                seed=own,
                checkpoint_seconds=runtime.checkpoint_seconds,
                compile=runtime.compile,
                snapshot_epochs=snapshot_epochs,
                line=(own - seed) % at_once,
            )
            return Run(own, train(objective, split, recipe, plan, place, checkpoints), checkpoints, config)

        def leave_checkpoints(own: int) -> None:
            if workers == 1:
                run(own)
            else:
                in_workers(lambda rank: run(own, replace(place, rank=rank, world=workers, workers=1)) and None, workers)

        every_seed = range(seed, seed + (seeds or 1))
        if at_once * workers > 1:
            import_module("torch._dynamo")  # the first optimiser would import it, in 1.5 s, in each copy and here
            for _ in side_by_side([partial(leave_checkpoints, own) for own in every_seed], at_once):
                pass
        # Runs that have ended in copies of this process are taken up from their last checkpoints.
        runs = [run(own) for own in every_seed]
        if not place.leads:
            return
        outputs = stage_outputs(stage, snapshots=bool(snapshot_epochs))
        _write_models(stage, runs, dataset.classes, outputs)
        _write_tables(stage, runs, at_once, outputs)
        if outputs.snapshots:
            _write_snapshots(runs, outputs.snapshots, one_folder=seeds is None)
        for ended in runs:
            ended.checkpoints.discard()


def _built(build: Callable[[Dataset], tuple[Objective, dict]], dataset: Dataset, data: Path) -> tuple[Objective, dict]:
    try:
        return build(dataset)
    except ValueError as error:  # a network's, of images that its levels do not fit
        raise InputError(f"{data}: {error}") from None


def _write_models(stage: str, runs: list[Run], classes: list[str], outputs: Outputs) -> None:
    for run in runs:
        folder = outputs.model if run is runs[0] else seed_folder(outputs.model, run.seed)
        save_model(folder, run.trained.network, {"stage": stage, "seed": run.seed, **run.config, "classes": classes})


def _write_tables(stage: str, runs: list[Run], at_once: int, outputs: Outputs) -> None:
    variant = stage.rsplit("/", 1)[-1]

    def table(rows: Callable[[Trained], list[dict]]) -> str:
        # By the standard library: pandas would take a third of a second to import, in each of the stages.
        whose = [(run.trained, {"variant": variant, "seed": run.seed}) for run in runs]
        lines = [row | about for trained, about in whose for row in rows(trained)]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        return text.getvalue()

    write_text(outputs.history, table(lambda trained: trained.history))
    write_text(outputs.epoch_timing, table(_seconds_by_epoch))
    write_json(outputs.timing, combined_timing([run.trained.timing for run in runs], at_once))


def _seconds_by_epoch(trained: Trained) -> list[dict]:
    seconds = zip(trained.epoch_seconds, trained.epoch_cpu_seconds, strict=True)
    return [{"epoch": epoch, "seconds": own, "cpu_seconds": cpu} for epoch, (own, cpu) in enumerate(seconds, start=1)]


def _write_snapshots(runs: list[Run], folder: Path, one_folder: bool) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for run in runs:
        shutil.copytree(run.checkpoints.folder / "snapshots", folder if one_folder else seed_folder(folder, run.seed))


def combined_timing(timings: list[dict], at_once: int) -> dict:
    """The timing of several runs of one recipe, of which some go side by side.

    An epoch's seconds are those of one run; the total, and the images a second, are those of all runs by the clock;
    seconds of the processor are added up.
    """
    count = len(timings)
    added = ("seconds_total", "cpu_seconds_total", "checkpoint_seconds", "resumed")
    sums = {key: sum(timing[key] for timing in timings) for key in added}
    by_the_clock = {key: sums[key] / at_once for key in ("seconds_total", "checkpoint_seconds")}
    return timings[0] | {
        "seconds_per_epoch": sum(timing["seconds_per_epoch"] for timing in timings) / count,
        # All runs see equally many images, so the rate over all of them is the harmonic mean.
        "images_per_second": at_once * count / sum(1 / timing["images_per_second"] for timing in timings),
        **by_the_clock,
        "cpu_seconds_total": sums["cpu_seconds_total"],
        "resumed": sums["resumed"],
        "runs": count,
        "runs_at_once": at_once,
    }
