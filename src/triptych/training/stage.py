"""Training stages. A stage trains one model per seed, and writes the models, tables and run times."""

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

RESULTS = "results.json"  # the file that a run writes last: its history, epoch times and timing


@dataclass(frozen=True)
class Stage:
    """Definition of a training stage: objective, settings and data."""

    name: str  # such as `vae` or `ssl/simsiam`; outputs lie in folders of this name
    seed: int  # first seed; initial weights, order of images and noise are functions of the seed
    runtime: Runtime
    training: Training
    data: Path  # folder of the prepared dataset
    identity: dict  # all other params that the weights depend on; a checkpoint with other values is not resumed
    build: Callable[[Dataset], tuple[Objective, dict]]  # returns the objective and {"network": arguments of its class}
    seeds: int = 1  # number of runs, with the seeds `seed`, `seed` + 1, …
    snapshot_epochs: Sequence[int] = ()


def run_stage(stage: Stage) -> None:
    """Train one model per seed, and write the outputs of the stage.

    On a CPU, the models are trained in parallel in forked processes, and `training.workers` processes share each batch.
    """
    with machine(stage.runtime, announce=False) as here, only_writer(stage.name, here.leads):
        here = replace(here, workers=stage.training.workers if here.forks else 1)
        at_once = here.at_once(stage.seeds)
        here.announce(runs_at_once=at_once)
        dataset = load(stage.data)
        images = resident(dataset.train.images, dataset.train.labels, here.device)
        identity = {
            "training": stage.training.model_dump(),
            "identity": stage.identity,
            "data": load_card(stage.data)["sha256"],
            "code": code_digest(),
            "machine": asdict(here) | {"rank": 0, "threads": 0},
        }
        runs = [
            Run(stage, seed, run_key(seed=seed, **identity), dataset, images, line=index % at_once)
            for index, seed in enumerate(range(stage.seed, stage.seed + stage.seeds))
        ]
        if at_once * here.workers > 1:
            import_module("torch._dynamo")  # otherwise the first optimiser of every child imports it, which takes 1.5 s
        for _ in side_by_side([partial(run.train, here) for run in runs], at_once):
            pass
        if here.leads:
            write_outputs(stage, runs, at_once)


@dataclass(frozen=True)
class Run:
    """Training run of one seed. Results stay in the checkpoint folder until all runs of the stage have finished."""

    stage: Stage
    seed: int
    key: str  # see `run_key`
    dataset: Dataset
    images: Resident
    line: int  # line of the terminal in which the progress bar is drawn

    def train(self, here: Machine) -> None:
        """Train the model on the machine `here`. Do nothing if the results of this run already exist."""
        stage = self.stage
        checkpoints = Checkpoints(stage.name, self.key, here.leads)
        if (self.folder / RESULTS).exists():
            return
        if here.workers > 1:
            count = here.workers
            in_workers(lambda rank: self.train(replace(here, rank=rank, world=count, workers=1)), count)
            return
        torch.manual_seed(fold(self.seed, "weights"))
        try:
            objective, config = stage.build(self.dataset)
        except ValueError as error:  # the network does not support the size of the images
            raise InputError(f"{stage.data}: {error}") from None
        title = stage.name if stage.seeds == 1 else f"{stage.name} seed {self.seed}"
        runtime, epochs = stage.runtime, tuple(stage.snapshot_epochs)
        plan = Plan(title, self.seed, runtime.checkpoint_seconds, runtime.compile, epochs, self.line)
        trained = Trainer(objective, self.images, stage.training, plan, here, checkpoints).run()
        if here.leads:
            about = {"stage": stage.name, "seed": self.seed, **config, "classes": self.dataset.classes}
            save_model(self.folder / "model", trained.network, about)
            tables = {"history": trained.history, "epochs": trained.epochs, "timing": trained.timing}
            write_text(self.folder / RESULTS, json.dumps(tables))

    @property
    def folder(self) -> Path:
        return ROOT / self.stage.name / self.key


def write_outputs(stage: Stage, runs: Sequence[Run], at_once: int) -> None:
    """Write the outputs of finished runs, and remove the checkpoints. `at_once` is the number of parallel runs."""
    for outputs, name in (("models", "model"), ("snapshots", "snapshots")):
        shutil.rmtree(Path(outputs) / stage.name, ignore_errors=True)
        for run in runs:
            folder = seed_folder(Path(outputs) / stage.name, run.seed, stage.seed)
            for file in sorted((run.folder / name).glob("[!.]*")):
                with written_whole(folder / file.name) as temporary:
                    shutil.copyfile(file, temporary)
    results = [json.loads((run.folder / RESULTS).read_text(encoding="utf-8")) for run in runs]
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
    """Combine the timings of equally long runs into one dict. `at_once` is the number of runs trained in parallel.

    `seconds_total` is an estimate of the time of all runs together: the mean time of a run, times the number of runs
    that follow one another. `images_per_second` is the throughput of all runs, and `cpu_seconds_total` is a sum.
    """
    count = len(timings)
    rounds = -(-count // at_once)
    seconds = rounds * sum(timing["seconds_total"] for timing in timings) / count
    images = timings[0]["images_per_second"] * timings[0]["seconds_total"]
    return timings[0] | {
        "seconds_per_epoch": sum(timing["seconds_per_epoch"] for timing in timings) / count,
        "seconds_total": seconds,
        "cpu_seconds_total": sum(timing["cpu_seconds_total"] for timing in timings),
        "images_per_second": count * images / seconds,
        "checkpoint_seconds": rounds * sum(timing["checkpoint_seconds"] for timing in timings) / count,
        "resumed": sum(timing["resumed"] for timing in timings),
        "runs": count,
        "runs_at_once": at_once,
    }
