"""How fast trainings go on a machine that is in use: the table of docs/performance.md.

    python benchmarks/in_use.py                      # a quarter of an hour, on a machine with nothing else to do
    python benchmarks/in_use.py --against HEAD~10    # and the idle machine with the code of another commit, in turns
    python benchmarks/in_use.py --only vae --rounds 1 --seconds 3 --to out   # a trial

Each training stage runs by its own script, in a throw-away project, for some seconds of training, and its rate is the
images a second that it writes to its timing file: without loading libraries, checkpoints and the writing of models.
Conditions take turns, so that a slow drift of the machine affects all alike: idle, alongside a busy loop, idle,
alongside a second training of the same kind; each number is a median over the rounds.

What shares the machine has the same nice value as the stage. Linux with autogroups divides a core between sessions
first, then between the processes of a session: a busy loop of another terminal or desktop application is one session
against that of the stage, and takes more of a core than a loop in the stage's own. Both are measured; the second
training is in a session of its own, and so is each worker that a stage forks. Writes benchmarks/results/in_use.json and
a section of docs/performance.md.
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
IMAGES = 1024  # of either study, for training: epochs are short, so that a training may last as long as is asked
TEST_IMAGES = 100
FIRST_EPOCHS = 2  # of the run that tells how many epochs last as long as is asked
ENDLESS = 50  # times the epochs of what is measured, for the training that runs alongside
PATIENCE = 120  # seconds until the other training has its first checkpoint
LOOK_SECONDS = 0.1
# Of Linux: whether sessions are groups, and this session's own with its nice value.
AUTOGROUP = {"autogroups": Path("/proc/sys/kernel/sched_autogroup_enabled"), "session": Path("/proc/self/autogroup")}


@dataclass(frozen=True)
class Training:
    """A training stage.

    Attributes:
        script: of `stages`.
        arguments: of the script.
        timing: its file below metrics/timing.
        section: of params.yaml, which holds its `training`.
        seeds: the key of how many it trains; empty for one.
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
    """The load under which a training is measured.

    Attributes:
        title: of its column.
        goal: how many times slower it may be than idle; None without a goal.
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
    """A throw-away project whose images are prepared.

    Args:
        folder: where it lies.
        params: its own.
    """

    def __init__(self, folder: Path, params: dict) -> None:
        self.folder, self.params = folder, params

    def seeds(self, training: Training) -> int:
        """How many runs a training is made of."""
        return value_at(self.params, training.seeds) if training.seeds else 1

    def set_epochs(self, training: Training, epochs: int) -> None:
        """How long a training lasts from now on."""
        write_params(self.folder, overlaid(self.params, of_epochs(training, epochs)))

    def run(self, training: Training, own_session: bool = False) -> AbstractContextManager[psutil.Popen]:
        """A training's process. It begins anew: no checkpoint is left of an earlier one."""
        shutil.rmtree(self.folder / CHECKPOINTS, ignore_errors=True)
        return running(self.folder, training.script, *training.arguments, own_session=own_session)

    def timing(self, training: Training) -> dict:
        """What a whole training writes of its time, after it has run."""
        with self.run(training) as process:
            ended_well(process, self.folder)
        path = self.folder / "metrics/timing" / f"{training.timing}.json"
        return json.loads(path.read_text(encoding="utf-8"))

    def rate(self, training: Training) -> float:
        """Images a second of a whole training."""
        return self.timing(training)["images_per_second"]

    def has_begun(self) -> bool:
        """Whether a training has come so far as to leave a checkpoint."""
        return any((self.folder / CHECKPOINTS).rglob("*.safetensors"))


def of_epochs(training: Training, epochs: int) -> dict:
    """An overlay of params by which a training has so many epochs, of which the first is kept for a guide."""
    keeps = training.section in ("vae", "ddpm")
    changes = {"epochs": epochs} | ({"snapshot_epochs": sorted({1, epochs})} if keeps else {})
    return nested({f"{training.section}.training.{key}": value for key, value in changes.items()})


def small(params: dict) -> dict:
    """Params with few images and epochs."""
    sizes = {"train": IMAGES, "test": TEST_IMAGES}
    counts = {f"data.{study}.{split}": count for study in ("generative", "ssl") for split, count in sizes.items()}
    guides = {"sampling.ddpm.guidance.epoch": 1, "sampling.ddpm.guidance.compared.epochs": [1]}
    for changes in (nested(counts | guides), *(of_epochs(each, FIRST_EPOCHS) for each in TRAININGS.values())):
        params = overlaid(params, changes)
    return params


@contextmanager
def prepared(revision: str | None = None) -> Iterator[Project]:
    """A project with IMAGES images, of the code and params of a revision or of the working tree."""
    params = small(params_of(revision))
    with thrown_away(params, revision) as folder:
        run(folder, "prepare")
        yield Project(folder, params)


@contextmanager
def busy_loop(own_session: bool) -> Iterator[None]:
    """Something that takes all that it gets of one core."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=own_session)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def second_training(project: Project, training: Training) -> Iterator[None]:
    """A training that goes on until the end, in a session of its own.

    Raises:
        InputError: it does not begin, or ends too early.
    """
    with project.run(training, own_session=True) as process:
        end = time.monotonic() + PATIENCE
        while not project.has_begun():
            require_running(process, project)
            if time.monotonic() > end:
                raise InputError(f"{training.script}: the second training has not begun after {PATIENCE} s")
            time.sleep(LOOK_SECONDS)
        yield
        require_running(process, project)


def require_running(process: psutil.Popen, project: Project) -> None:
    """Passes a training that goes on.

    Raises:
        InputError: it has failed, or ended before the training that it accompanies.
    """
    if process.poll() is not None:
        ended_well(process, project.folder)
        raise InputError(f"{' '.join(process.args[1:])}: the second training ended before the first")


def lasting(training: Training, project: Project, seconds: float) -> int:
    """How many epochs of a training last so long on the idle machine; the project has them from now on."""
    epochs = FIRST_EPOCHS
    for share in (0.25, 1.0):  # the first rate is that of a short training, which compiles what later ones find
        images_per_epoch = IMAGES * project.seeds(training)
        epochs = max(FIRST_EPOCHS, round(share * seconds * project.rate(training) / images_per_epoch))
        project.set_epochs(training, epochs)
    return epochs


def measured(
    training: Training, project: Project, other: Project, old: Project | None, seconds: float, rounds: int
) -> dict[str, list[float]]:
    """Rates of a training under each condition, in images a second: one a round, and of the idle machine several.

    Args:
        training: which.
        project: where it is measured.
        other: where the second one runs.
        old: a project of other code, if that is to be compared.
        seconds: how long a training should last on the idle machine.
        rounds: how often each condition has its turn.
    """
    epochs = lasting(training, project, seconds)
    other.set_epochs(training, ENDLESS * epochs)
    if old:
        old.rate(training)  # what it compiles is kept from then on
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
    """What decides who gets how much of a core."""
    found = {"cores": os.cpu_count(), "nice": os.nice(0)}
    for name, path in AUTOGROUP.items():
        if path.exists():
            found[name] = path.read_text(encoding="utf-8").strip()
    return found


def written_setting(how: dict) -> str:
    """What stands above the table."""
    sessions = {"1": ", divided between sessions first", "0": ", divided between processes alone"}
    return (
        f"Medians of {how['rounds']} rounds in which the conditions take turns, with trainings of about "
        f"{how['seconds']:g} s where the machine is idle. It has {how['cores']} cores"
        f"{sessions.get(how.get('autogroups'), '')}; the other process has the same nice value."
    )


def written_table(stages: dict[str, dict[str, list[float]]], revision: str | None) -> str:
    """A row a stage, in Markdown: images a second, and how many times slower than idle."""
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
    """`1,290 (1.42 times slower)`."""
    return f"{medians[condition]:,.0f} ({medians['idle'] / medians[condition]:.2f} times slower)"


def main() -> None:
    """Measures each stage in turn and writes.

    Raises:
        InputError: a stage fails.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each training on the idle machine")
    parser.add_argument("--rounds", type=int, default=3, help="how often each condition has its turn")
    parser.add_argument("--only", choices=TRAININGS, nargs="+", default=list(TRAININGS), help="these stages")
    parser.add_argument("--against", metavar="REVISION", help="of git, whose code the idle machine runs in turns")
    parser.add_argument("--to", type=Path, default=ROOT, help="the folder below which all is written")
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
