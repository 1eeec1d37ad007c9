"""Measure the training speed on a machine with other load: the table of docs/performance.md.

    python benchmarks/in_use.py                      # 15 minutes, on a machine without other load
    python benchmarks/in_use.py --against HEAD~10    # also measure the code of another commit when idle
    python benchmarks/in_use.py --only vae --rounds 1 --seconds 3 --to out   # trial

Each training stage runs as its own script in a temporary project for a few seconds of training. Its speed is the number
of images per second in its timing file, without loading libraries, checkpoints and saving models. The conditions
alternate, so that slow drift of the machine affects all of them: idle, next to a busy loop, idle, next to a second
training of the same kind. Each number is a median over the rounds.

The other process has the same nice value as the stage. Linux with autogroups divides a core first between sessions,
then between the processes of a session. A busy loop in another terminal or desktop application has its own session and
therefore gets more of a core than a loop in the session of the stage; both are measured. The second training and each
worker that a stage forks also have their own sessions. Writes benchmarks/results/in_use.json and a section of
docs/performance.md.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import psutil
from overlays import nested
from pages import table, write_section
from projects import ROOT, ended_well, params_of, run, running, thrown_away, unwind_when_terminated, write_params

from triptych.core.errors import InputError, one_line_errors
from triptych.core.files import write_json
from triptych.core.schema import overlaid
from triptych.report.reader import value_at

JSON, PAGE = Path("benchmarks/results/in_use.json"), Path("docs/performance.md")
CHECKPOINTS = "checkpoints"
IMAGES = 1024  # training images of each dataset; short epochs make the duration of a training adjustable
TEST_IMAGES = 100
FIRST_EPOCHS = 2  # epochs of the run that estimates the speed
ENDLESS = 50  # epochs of the second training relative to the measured one
PATIENCE = 120  # longest wait in seconds for the first checkpoint of the second training
LOOK_SECONDS = 0.1
# Linux: the autogroup switch, and the autogroup of this session with its nice value.
AUTOGROUP = {"autogroups": Path("/proc/sys/kernel/sched_autogroup_enabled"), "session": Path("/proc/self/autogroup")}


@dataclass(frozen=True)
class Training:
    """A training stage.

    Attributes:
        script: script in `stages`.
        arguments: arguments of the script.
        timing: name of its timing file in metrics/timing.
        section: section of params.yaml that contains its `training`.
        seeds: key of the number of seeds; empty for one.
    """

    script: str
    arguments: tuple[str, ...]
    timing: str
    section: str
    seeds: str = ""


TRAININGS = {
    "classifier": Training("train_classifier", (), "classifier", "classifier"),
    "vae": Training("train_vae", (), "vae", "vae"),
    "ddpm": Training("train_ddpm", (), "ddpm", "ddpm"),
    "ssl@simsiam": Training("train_ssl", ("simsiam",), "ssl/simsiam", "ssl.methods.simsiam", "ssl.shared.seeds"),
}


@dataclass(frozen=True)
class Condition:
    """Load under which a training is measured.

    Attributes:
        title: heading of the column.
        goal: largest acceptable slowdown relative to idle, or None.
    """

    title: str
    goal: float | None = None


CONDITIONS = {
    "idle": Condition("idle"),
    "against": Condition("idle, {revision}"),
    "loop": Condition("alongside a busy loop of another session", 1.7),
    "same_session_loop": Condition("alongside one of its own session", 1.7),
    "second": Condition("alongside a second training", 2.2),
}


class Project:
    """A temporary project with prepared images and its params."""

    def __init__(self, folder: Path, params: dict) -> None:
        self.folder, self.params = folder, params

    def seeds(self, training: Training) -> int:
        """Return the number of runs in a training."""
        return value_at(self.params, training.seeds) if training.seeds else 1

    def set_epochs(self, training: Training, epochs: int) -> None:
        write_params(self.folder, overlaid(self.params, of_epochs(training, epochs)))

    def run(self, training: Training, own_session: bool = False) -> AbstractContextManager[psutil.Popen]:
        """Start a training from scratch, without earlier checkpoints."""
        shutil.rmtree(self.folder / CHECKPOINTS, ignore_errors=True)
        return running(self.folder, training.script, *training.arguments, own_session=own_session)

    def timing(self, training: Training) -> dict:
        """Run a whole training and return the contents of its timing file."""
        with self.run(training) as process:
            ended_well(process, self.folder)
        path = self.folder / "metrics/timing" / f"{training.timing}.json"
        return json.loads(path.read_text(encoding="utf-8"))

    def rate(self, training: Training) -> float:
        """Run a whole training and return its images per second."""
        return self.timing(training)["images_per_second"]

    def has_begun(self) -> bool:
        """Return True if the training has written a checkpoint."""
        return any((self.folder / CHECKPOINTS).rglob("*.safetensors"))


def of_epochs(training: Training, epochs: int) -> dict:
    """Return an overlay of params with this number of epochs; the first epoch is kept as a guide."""
    keeps = training.section in ("vae", "ddpm")
    changes = {"epochs": epochs} | ({"snapshot_epochs": sorted({1, epochs})} if keeps else {})
    return nested({f"{training.section}.training.{key}": value for key, value in changes.items()})


def small(params: dict) -> dict:
    """Return params with few images and epochs."""
    sizes = {"train": IMAGES, "test": TEST_IMAGES}
    counts = {f"data.{study}.{split}": count for study in ("generative", "ssl") for split, count in sizes.items()}
    guides = {"sampling.ddpm.guidance.epoch": 1, "sampling.ddpm.guidance.compared.epochs": [1]}
    for changes in (nested(counts | guides), *(of_epochs(each, FIRST_EPOCHS) for each in TRAININGS.values())):
        params = overlaid(params, changes)
    return params


@contextmanager
def prepared(revision: str | None = None) -> Iterator[Project]:
    """Yield a project with IMAGES images, with the code and params of a revision or of the working tree."""
    params = small(params_of(revision))
    with thrown_away(params, revision) as folder:
        run(folder, "prepare")
        yield Project(folder, params)


@contextmanager
def busy_loop(own_session: bool) -> Iterator[None]:
    """Run an endless loop in another process."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=own_session)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def second_training(project: Project, training: Training) -> Iterator[None]:
    """Run a training in its own session.

    Raises InputError if it does not start, or ends too early.
    """
    with project.run(training, own_session=True) as process:
        end = time.monotonic() + PATIENCE
        while not project.has_begun():
            require_running(process, project)
            if time.monotonic() > end:
                raise InputError(f"{training.script}: the second training did not start within {PATIENCE} s")
            time.sleep(LOOK_SECONDS)
        yield
        require_running(process, project)


def require_running(process: psutil.Popen, project: Project) -> None:
    """Raise InputError if a training has failed or ended."""
    if process.poll() is not None:
        ended_well(process, project.folder)
        raise InputError(f"{' '.join(process.args[1:])}: the second training ended before the first")


def lasting(training: Training, project: Project, seconds: float) -> int:
    """Set and return the number of epochs with which a training lasts `seconds` on the idle machine."""
    epochs = FIRST_EPOCHS
    for share in (0.25, 1.0):  # the first, shorter training compiles code that later ones reuse
        images_per_epoch = IMAGES * project.seeds(training)
        epochs = max(FIRST_EPOCHS, round(share * seconds * project.rate(training) / images_per_epoch))
        project.set_epochs(training, epochs)
    return epochs


def measured(
    training: Training, project: Project, other: Project, old: Project | None, seconds: float, rounds: int
) -> dict[str, list[float]]:
    """Return the images per second of a training under each condition, one value per turn.

    Args:
        training: training to measure.
        project: project that is measured.
        other: project of the second training.
        old: project with the code of another revision, or None.
        seconds: duration of a training on the idle machine.
        rounds: number of rounds.
    """
    epochs = lasting(training, project, seconds)
    other.set_epochs(training, ENDLESS * epochs)
    if old:
        old.rate(training)  # compile before the first measurement
        old.set_epochs(training, epochs)
    rates: dict[str, list[float]] = {name: [] for name in CONDITIONS if old or name != "against"}

    def turn(condition: str, where: Project, beside: AbstractContextManager) -> None:
        with beside:
            rates[condition].append(where.rate(training))
        print(f"{training.timing:<12} {condition:<18}{rates[condition][-1]:>9,.0f} images/s", flush=True)

    for _ in range(rounds):
        turn("idle", project, nullcontext())
        turn("loop", project, busy_loop(own_session=True))
        turn("idle", project, nullcontext())
        turn("second", project, second_training(other, training))
        if old:
            turn("idle", project, nullcontext())
            turn("against", old, nullcontext())
        turn("same_session_loop", project, busy_loop(own_session=False))
    return rates


def machine() -> dict:
    """Return the settings of the machine that determine how processes share a core."""
    found = {"cores": os.cpu_count(), "nice": os.nice(0)}
    for name, path in AUTOGROUP.items():
        if path.exists():
            found[name] = path.read_text(encoding="utf-8").strip()
    return found


def written_setting(how: dict) -> str:
    """Return the text above the table."""
    sessions = {"1": ", divided between sessions first", "0": ", divided between processes alone"}
    return (
        f"Medians of {how['rounds']} rounds in which the conditions take turns, with trainings of about "
        f"{how['seconds']:g} s where the machine is idle. It has {how['cores']} cores"
        f"{sessions.get(how.get('autogroups'), '')}; the other process has the same nice value."
    )


def written_table(stages: dict[str, dict[str, list[float]]], revision: str | None) -> str:
    """Return the table in Markdown, one row per stage: images per second, and the slowdown relative to idle."""
    shown = [name for name in CONDITIONS if any(name in rates for rates in stages.values())]
    rows = [["stage, images a second", *(CONDITIONS[name].title.format(revision=revision) for name in shown)]]
    for stage, rates in stages.items():
        medians = {name: statistics.median(rates[name]) for name in shown}
        idle = f"{medians['idle']:,.0f}"
        rows.append([f"`{stage}`", idle, *(beside(medians, name) for name in shown if name != "idle")])
    goals = (CONDITIONS[name].goal for name in shown)
    rows.append(["at most", *(f"{goal:g} times slower" if goal else "" for goal in goals)])
    return table(rows)


def beside(medians: dict[str, float], condition: str) -> str:
    """Return a cell such as `1,290 (1.42 times slower)`."""
    return f"{medians[condition]:,.0f} ({medians['idle'] / medians[condition]:.2f} times slower)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="duration of each training on the idle machine")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds")
    parser.add_argument(
        "--only", choices=TRAININGS, nargs="+", default=list(TRAININGS), help="stages to measure (default: all)"
    )
    parser.add_argument("--against", metavar="REVISION", help="git revision to compare with on the idle machine")
    parser.add_argument("--to", type=Path, default=ROOT, help="root of the output files")
    asked = parser.parse_args()
    unwind_when_terminated()
    stages = {}
    with (
        prepared() as project,
        prepared() as other,
        prepared(asked.against) if asked.against else nullcontext() as old,
    ):
        for name in asked.only:
            stages[name] = measured(TRAININGS[name], project, other, old, asked.seconds, asked.rounds)
    how = {"seconds": asked.seconds, "rounds": asked.rounds, "against": asked.against, **machine()}
    text = f"{written_setting(how)}\n\n{written_table(stages, asked.against)}"
    print(text)
    write_json(asked.to / JSON, how | {"images_per_second": stages})
    write_section(asked.to / PAGE, "in-use", text)


if __name__ == "__main__":
    with one_line_errors(interrupted="interrupted"):
        main()
