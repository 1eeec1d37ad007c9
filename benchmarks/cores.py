"""Model of the pipeline's wall-clock time on other numbers of cores and jobs: the table of docs/performance.md.

    python benchmarks/cores.py ../one_by_one

The argument is a checkout in which `triptych repro --jobs 1` has run from nothing on CORES cores of the same kind. The
stages and their params are those of the current folder.

A stage has some work in core-seconds and a width, the number of cores that it can use: training runs and workers, or
tasks that run side by side. The work is the time in the other checkout, times the cores that the stage used there. An
encoder that was not trained there has the work of SimSiam per seed and epoch. A stage with jobs next to it may use its
share of the cores, or as many as it has workers. If the running stages want more cores than there are, all slow down
alike. Each stage adds a constant for DVC.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pages import table

from triptych.cli.jobs import stale_stages
from triptych.core.errors import one_line_errors
from triptych.params import Params, check
from triptych.ssl.shared.recipes import recipe

CORES = 2  # of the measured run
DVC_SECONDS = 2.1  # per stage, between its predecessor's end and its own: 45 s over 21 stages
MANY = 16  # tasks of a stage that samples or measures images
SETTINGS = ((2, 1), (2, 2), (4, 4), (8, 8), (16, 8))


@dataclass
class Work:
    """A stage of the model: its work in core-seconds, and the numbers of cores that it can and must use."""

    needs: set[str]
    seconds: float
    width: int
    workers: int = 1
    left: float = 0.0


def width(name: str, params: Params) -> tuple[int, int]:
    """Return the number of cores that a stage can use, and the number of workers that it always starts."""
    stage, _, variant = name.partition("@")
    if stage in ("ssl", "evaluate_ssl"):
        chosen = recipe(params.ssl, variant)
        workers = chosen.training.workers if stage == "ssl" else 1
        return chosen.seeds * workers, workers
    if stage in ("classifier", "vae", "ddpm"):
        workers = getattr(params, stage).training.workers
        return workers, workers
    return (1, 1) if stage in ("claims", "figures", "report", "evaluate_classifier") else (MANY, 1)


def works(measured: Path, params: Params) -> dict[str, Work]:
    """Return the work of each stage of the current folder, from the clock of the checkout `measured`."""
    before = check(measured / "params.yaml")

    def seconds(name: str) -> float:
        clock = measured / "metrics/clock" / f"{name.replace('@', '/')}.json"
        if not clock.exists() and "@" in name:
            stage, _, variant = name.partition("@")
            one, other = recipe(params.ssl, variant), recipe(before.ssl, "simsiam")
            scale = one.seeds / other.seeds
            return seconds(f"{stage}@simsiam") * scale * (one.training.epochs / other.training.epochs)
        times = json.loads(clock.read_text()) if clock.exists() else {"started": 0.0, "ended": 0.0}
        used = min(width(name, before)[0], CORES)
        return (times["ended"] - times["started"]) * used

    return {
        stage.name: Work(stage.needs, seconds(stage.name), *width(stage.name, params))
        for stage in stale_stages(force=True)
    }


def wall_clock(stages: Mapping[str, Work], cores: int, jobs: int) -> float:
    """Return the seconds that the stages take on `cores` cores with `jobs` stages at once, longest path first."""
    share = max(1, cores // jobs)
    cap = {name: min(work.width, max(share, work.workers)) for name, work in stages.items()}
    alone = {name: DVC_SECONDS + work.seconds / cap[name] for name, work in stages.items()}

    def path(name: str) -> float:
        return alone[name] + max((path(other) for other, work in stages.items() if name in work.needs), default=0.0)

    order = sorted(stages, key=path, reverse=True)
    left = {name: alone[name] * cap[name] for name in stages}
    running: list[str] = []
    now = 0.0
    while left:
        for name in order:
            if name in left and name not in running and len(running) < jobs and not stages[name].needs & set(left):
                running.append(name)
        speed = min(1.0, cores / sum(cap[name] for name in running))
        ends = {name: left[name] / (cap[name] * speed) for name in running}
        step = min(ends.values())
        now += step
        for name in list(running):
            left[name] -= cap[name] * speed * step
            if ends[name] <= step * (1 + 1e-9):
                running.remove(name)
                del left[name]
    return now


def main(measured: Path, only: Sequence[str] = ()) -> None:
    stages = works(measured, check())
    if only:
        kept = set(only).union(*(stages[name].needs for name in only))
        stages = {name: stages[name] for name in kept}
    rows = [[str(cores), str(jobs), f"{wall_clock(stages, cores, jobs) / 60:.1f} min"] for cores, jobs in SETTINGS]
    print(table([["cores", "jobs", "model"], *rows]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", type=Path, metavar="FOLDER", help="checkout of the measured run")
    parser.add_argument("--only", nargs="+", default=(), metavar="STAGE", help="stages to run, with those they need")
    given = parser.parse_args()
    with one_line_errors():
        main(given.measured, given.only)
