"""A training stage, from its params to its outputs: one method, trained with one seed or several."""

import csv
import io
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path

import torch

from triptych.core.errors import InputError
from triptych.core.files import write_json, write_text, written_whole
from triptych.core.schema import Runtime
from triptych.core.seeds import fold
from triptych.data.storage import Dataset, load, load_card
from triptych.machine.device import Machine, machine
from triptych.machine.processes import side_by_side
from triptych.nn.weights import save_model, seed_folder
from triptych.training.checkpoint import ROOT, Checkpoints, code_digest, only_writer, run_key
from triptych.training.loop import Plan, Trainer
from triptych.training.objective import Objective, Resident, resident
from triptych.training.params import Training
from triptych.training.processes import in_workers


@dataclass(frozen=True)
class Stage:
    """A method to train.

    `identity` holds the params other than `recipe` that the weights depend on: a checkpoint with others is not resumed.
    `build` returns the objective and its config, which holds the keyword arguments of the network under "network".
    """

    name: str  # `vae`, `ssl/simsiam`
    seed: int  # the first; initial weights, order of images and noise are functions of the seed
    runtime: Runtime
    recipe: Training
    data: Path  # folder of the prepared dataset
    identity: dict
    build: Callable[[Dataset], tuple[Objective, dict]]
    seeds: int = 1  # number of runs, with the seeds `seed`, `seed` + 1, …
    snapshot_epochs: Sequence[int] = ()


def run_stage(stage: Stage) -> None:
    """Train every seed and write the outputs of the stage.

    On a CPU seeds run side by side in forked processes, and workers share the batches of a seed while threads are left.
    """
    with machine(stage.runtime, announce=False) as here, only_writer(stage.name, here.leads):
        at_once = here.at_once(stage.seeds)
        workers = here.workers_of(stage.recipe.batch_size, at_once)
        here = replace(here.shared(at_once * workers), workers=workers)
        here.announce(runs_at_once=at_once)
        dataset = load(stage.data)
        images = resident(dataset.train.images, dataset.train.labels, here.device)
        identity = {
            "recipe": stage.recipe.model_dump(),
            "identity": stage.identity,
            "data": load_card(stage.data)["sha256"],
            "code": code_digest(),
            "machine": asdict(here) | {"rank": 0},
        }
        runs = [
            Run(stage, seed, run_key(seed=seed, **identity), dataset, images, line=index % at_once)
            for index, seed in enumerate(range(stage.seed, stage.seed + stage.seeds))
        ]
        if at_once * workers > 1:
            import_module("torch._dynamo")  # else the first optimiser of every child imports it, which takes 1.5 s
        for _ in side_by_side([partial(run.train, here) for run in runs], at_once):
            pass
        if here.leads:
            write_outputs(stage, runs, at_once)


@dataclass(frozen=True)
class Run:
    """One seed of a stage. It keeps its model, snapshots and tables with its checkpoints until the stage ends."""

    stage: Stage
    seed: int
    key: str  # see `run_key`
    dataset: Dataset
    images: Resident
    line: int  # of the terminal, for the progress bar

    def train(self, here: Machine) -> None:
        """Train, unless the run has ended before."""
        checkpoints = Checkpoints(self.stage.name, self.key, here.leads)
        if self.results.exists():
            return
        if here.workers > 1:
            count = here.workers
            in_workers(lambda rank: self.train(replace(here, rank=rank, world=count, workers=1)), count)
            return
        torch.manual_seed(fold(self.seed, "weights"))
        try:
            objective, config = self.stage.build(self.dataset)
        except ValueError as error:  # of a network whose levels do not fit the images
            raise InputError(f"{self.stage.data}: {error}") from None
        name = self.stage.name if self.stage.seeds == 1 else f"{self.stage.name} seed {self.seed}"
        runtime, epochs = self.stage.runtime, tuple(self.stage.snapshot_epochs)
        plan = Plan(name, self.seed, runtime.checkpoint_seconds, runtime.compile, epochs, self.line)
        trained = Trainer(objective, self.images, self.stage.recipe, plan, here, checkpoints).run()
        if here.leads:
            about = {"stage": self.stage.name, "seed": self.seed, **config, "classes": self.dataset.classes}
            save_model(self.folder / "model", trained.network, about)
            tables = {"history": trained.history, "epochs": trained.epochs, "timing": trained.timing}
            write_text(self.results, json.dumps(tables))

    @property
    def folder(self) -> Path:
        return ROOT / self.stage.name / self.key

    @property
    def results(self) -> Path:
        """File that a run writes last: its history, epoch times and timing."""
        return self.folder / "results.json"


def write_outputs(stage: Stage, runs: Sequence[Run], at_once: int) -> None:
    """Write models, snapshots, tables and timing of ended runs, and remove their checkpoints."""
    shutil.rmtree(Path("snapshots") / stage.name, ignore_errors=True)
    for run in runs:
        for outputs, name in (("models", "model"), ("snapshots", "snapshots")):
            folder = seed_folder(Path(outputs) / stage.name, run.seed, stage.seed)
            for file in sorted((run.folder / name).glob("[!.]*")):
                with written_whole(folder / file.name) as partial:
                    shutil.copyfile(file, partial)
    results = [json.loads(run.results.read_text(encoding="utf-8")) for run in runs]
    study, _, variant = stage.name.partition("/")
    prefix = f"plots/{study}/{variant}_" if variant else f"plots/{study}/"
    for table, name in (("history", "training.csv"), ("epochs", "timing.csv")):
        rows = [
            row | {"variant": variant or study, "seed": run.seed}
            for run, result in zip(runs, results, strict=True)
            for row in result[table]
        ]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")  # pandas takes 0.3 s to import
        writer.writeheader()
        writer.writerows(rows)
        write_text(f"{prefix}{name}", text.getvalue())
    timing = combined_timing([result["timing"] for result in results], at_once)
    write_json(Path("metrics/timing") / f"{stage.name}.json", timing)
    for run in runs:
        shutil.rmtree(run.folder, ignore_errors=True)


def combined_timing(timings: list[dict], at_once: int) -> dict:
    """Combine the timings of equal runs, of which `at_once` ran side by side.

    Total seconds and images per second are wall-clock values of all runs together; CPU seconds are added up.
    """

    def total(key: str) -> float:
        return sum(timing[key] for timing in timings)

    return timings[0] | {
        "seconds_per_epoch": total("seconds_per_epoch") / len(timings),
        "seconds_total": total("seconds_total") / at_once,
        "cpu_seconds_total": total("cpu_seconds_total"),
        # All runs see equally many images, so their mean rate is the harmonic mean.
        "images_per_second": at_once * len(timings) / sum(1 / timing["images_per_second"] for timing in timings),
        "checkpoint_seconds": total("checkpoint_seconds") / at_once,
        "resumed": total("resumed"),
        "runs": len(timings),
        "runs_at_once": at_once,
    }
