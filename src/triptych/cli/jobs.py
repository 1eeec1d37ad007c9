"""Run stages of the pipeline in parallel. `dvc repro` runs one stage at a time.

Each stage runs as `dvc repro --single-item`, so that outputs, dvc.lock and the run cache are those of `dvc repro`.
A stage starts when all stages that it depends on have finished. Of the stages that can start, the one with the
longest path to the end of the pipeline, in seconds, starts first.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from triptych.cli import guard
from triptych.core.errors import InputError
from triptych.report.formatting import duration

LOGS = Path("logs")
CLOCKS = "metrics/clock"
POLL_SECONDS = 0.2
STATUS_SECONDS = 60.0  # between status lines where stderr is not a terminal
STOP_SECONDS = 10.0  # from Ctrl-C until a stage is killed
SECONDS, MEGABYTES = 5.0, 1500.0  # for a stage without a record of an earlier run
MEMORY_SHARE = 0.9  # of the available memory
TAIL = 12  # lines of a failed stage's log


@dataclass
class Stage:
    """A stage that may have to run, with its expected wall-clock time in seconds and peak memory in megabytes."""

    name: str
    needs: set[str]  # names of other stages that must finish before
    seconds: float = SECONDS
    megabytes: float = MEGABYTES
    path_seconds: float = 0.0  # from its start to the end of the pipeline


@dataclass
class Run:
    """A running stage with its process. `started` is the start time in seconds of `time.monotonic`."""

    stage: Stage
    process: subprocess.Popen
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


# --- Stages and their order ---


def stale_stages(targets: Sequence[str] = (), force: bool = False) -> list[Stage]:
    """Return the stages that have changed and all stages that depend on them. Dependencies come first.

    With `targets`, consider only these stages and their dependencies. With `force`, return unchanged stages as well.
    Raises InputError for an unknown target or an invalid dvc.yaml.
    """
    import networkx
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            _delete_damaged_rwlock(repo.tmp_dir)
            graph = repo.index.graph  # edges lead from a stage to those that it depends on
            wanted = {stage for target in targets for stage in repo.stage.collect(target)} or set(graph)
            wanted |= {needed for stage in wanted for needed in networkx.descendants(graph, stage)}
            changed = {stage.addressing for stage in wanted} if force else set(repo.status())
            stale = {stage for stage in wanted if stage.addressing in changed}
            stale |= {dependent for stage in stale for dependent in networkx.ancestors(graph, stage)} & wanted
            root = Path(repo.root_dir)
            records = {stage.addressing: _last_run(root, [Path(out.fs_path) for out in stage.outs]) for stage in graph}
            stages = [
                Stage(
                    stage.addressing,
                    {needed.addressing for needed in networkx.descendants(graph, stage) & stale},
                    *expected_cost(stage.addressing, records),
                )
                for stage in networkx.topological_sort(graph)  # dependents first
                if stage in stale
            ]
    except DvcException as error:
        raise InputError(f"dvc.yaml: {' '.join(str(error).split())}") from None
    for stage in stages:
        dependents = (other.path_seconds for other in stages if stage.name in other.needs)
        stage.path_seconds = stage.seconds + max(dependents, default=0.0)
    return stages[::-1]


def _delete_damaged_rwlock(folder: str) -> None:
    """Delete DVC's file rwlock in `folder` if it is not valid JSON, because DVC refuses to read a damaged file."""
    from dvc.lock import make_lock

    path = Path(folder) / "rwlock"
    with make_lock(f"{path}.lock", tmp_dir=folder, wait=True):
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            pass
        except ValueError:
            path.unlink()


def _last_run(root: Path, outs: Iterable[Path]) -> tuple[float, float] | None:
    """Read the seconds and peak megabytes of a stage's last run from `outs`, or return None if they are missing."""
    for out in outs:
        if out.is_relative_to(root / CLOCKS):
            with suppress(OSError, ValueError, KeyError, TypeError):
                clock = json.loads(out.read_text(encoding="utf-8"))
                return clock["ended"] - clock["started"], float(clock.get("peak_megabytes", MEGABYTES))
    return None


def expected_cost(name: str, records: Mapping[str, tuple[float, float] | None]) -> tuple[float, float]:
    """Return the expected seconds and peak megabytes of the stage `name`, from `records` of last runs by stage name.

    A stage without a record gets the largest values of its group, such as `ssl@*`, or else default values.
    """
    group = name.partition("@")[0]
    others = [record for other, record in records.items() if record and other.partition("@")[0] == group]
    if (record := records[name]) is not None:
        return record
    seconds, megabytes = zip(*others, strict=True) if others else ((SECONDS,), (MEGABYTES,))
    return max(seconds), max(megabytes)


def seconds_left(stages: Sequence[Stage], running: Mapping[str, float], jobs: int) -> float:
    """Estimate the seconds until all stages have finished, `jobs` at once. `running` maps names to elapsed seconds."""
    ends = {stage.name: max(1.0, stage.seconds - running[stage.name]) for stage in stages if stage.name in running}
    waiting = [stage for stage in stages if stage.name not in running]
    finished: dict[str, float] = {}
    now = 0.0
    while waiting or ends:
        names = {stage.name for stage in waiting} | set(ends)
        for stage in sorted(waiting, key=lambda stage: -stage.path_seconds):
            if len(ends) < jobs and not stage.needs & names:
                ends[stage.name] = now + stage.seconds
                waiting.remove(stage)
        name, now = min(ends.items(), key=lambda item: item[1])
        finished[name] = ends.pop(name)
    return now


# --- Resources ---


def usable_cpus(cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the number of CPUs that this process can use, limited by CPU affinity and the quota in `cgroups`."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for quota, period in (("cpu.max", None), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):  # version 2, version 1
        with suppress(OSError, ValueError):
            numbers = (cgroups / quota).read_text(encoding="ascii").split()
            if period:
                numbers += (cgroups / period).read_text(encoding="ascii").split()
            if numbers[0] not in ("max", "-1"):
                return max(1, min(allowed, int(numbers[0]) // int(numbers[1])))
    return allowed


def available_megabytes(cgroups: Path = Path("/sys/fs/cgroup")) -> float:
    """Return the memory in MiB that new processes can use, limited by the container's memory limit in `cgroups`."""
    available = psutil.virtual_memory().available
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):  # "max" is not a number
            free = int((cgroups / limit).read_text(encoding="ascii")) - int(
                (cgroups / used).read_text(encoding="ascii")
            )
            available = min(available, max(0, free))
    return available / 2**20


# --- Running ---


def run_stages(stages: Sequence[Stage], jobs: int, force: bool = False, launcher: str = "") -> None:
    """Run stages, at most `jobs` at once, and write the output of each to logs/<stage>.log.

    If a stage fails, stages that depend on it are skipped. InputError is raised after the others have finished. Ctrl-C
    or the end of this process stops all running stages. `launcher` is put before the command of each stage.
    """
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir()
    threads = max(1, usable_cpus() // jobs)
    environment = os.environ | ({"OMP_NUM_THREADS": str(threads), "TRIPTYCH_JOBS": str(jobs)} if jobs > 1 else {})
    budget = MEMORY_SHARE * available_megabytes()
    waiting, running, failed = list(stages), dict[str, Run](), list[str]()
    display = Display(len(stages))
    with _stopping(running):
        while waiting or running:
            for stage in sorted(waiting, key=lambda stage: -stage.path_seconds):
                unfinished = {other.name for other in waiting} | set(running)
                used = sum(run.stage.megabytes for run in running.values())
                if stage.needs & set(failed):
                    waiting.remove(stage)
                    failed.append(stage.name)
                elif (
                    len(running) < jobs
                    and not stage.needs & unfinished
                    and (not running or used + stage.megabytes <= budget)
                ):
                    waiting.remove(stage)
                    running[stage.name] = Run(stage, _start(stage.name, force, launcher, environment))
            for name, run in list(running.items()):
                if run.process.poll() is not None:
                    del running[name]
                    display.ended(run)
                    if run.process.returncode:
                        failed.append(name)
            left = seconds_left([*waiting, *(run.stage for run in running.values())], _elapsed(running), jobs)
            display.status(running.values(), left)
            time.sleep(POLL_SECONDS)
    display.clear()
    if failed:
        raise InputError(_failure(failed))


def _elapsed(running: Mapping[str, Run]) -> dict[str, float]:
    return {name: run.seconds for name, run in running.items()}


def _start(name: str, force: bool, launcher: str, environment: Mapping[str, str]) -> subprocess.Popen:
    command = [*shlex.split(launcher), sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", name]
    command += ["--force"] if force else []
    with log_of(name).open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-S", guard.__file__, str(os.getpid()), *command],
            **{"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log},
            start_new_session=True,
            env=environment,
        )


def log_of(name: str) -> Path:
    return LOGS / f"{name.replace('/', '_')}.log"


@contextmanager
def _stopping(running: Mapping[str, Run]) -> Iterator[None]:
    """Stop all running stages when the `with` block ends. Within the block, SIGTERM raises KeyboardInterrupt."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        for run in running.values():
            run.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + STOP_SECONDS
        for run in running.values():
            with suppress(subprocess.TimeoutExpired):
                run.process.wait(max(0.0, deadline - time.monotonic()))
            run.process.terminate()
            run.process.wait()


# --- Display ---


class Display:
    """Progress on stderr: one line per finished stage, and a status line that is updated in place in a terminal."""

    def __init__(self, total: int) -> None:
        self.total, self.count = total, 0
        self.terminal = sys.stderr.isatty()
        self.shown = 0.0  # time of the last status line

    def ended(self, run: Run) -> None:
        self.count += 1
        self.clear()
        print(f"[{self.count}/{self.total}] {run.stage.name}: {_outcome(run)}", file=sys.stderr, flush=True)

    def status(self, running: Iterable[Run], left: float) -> None:
        now = time.monotonic()
        if now - self.shown < (1.0 if self.terminal else STATUS_SECONDS):
            return
        self.shown = now
        names = ", ".join(f"{run.stage.name} {duration(round(run.seconds))}" for run in running)
        line = f"running: {names}; about {duration(round(left))} left"
        if self.terminal:
            line = "\r\x1b[K" + line[: shutil.get_terminal_size().columns - 1]
        print(line, end="" if self.terminal else "\n", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self.terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _outcome(run: Run) -> str:
    if run.process.returncode:
        return f"FAILED after {duration(round(run.seconds))}, see {log_of(run.stage.name)}"
    text = log_of(run.stage.name).read_text(encoding="utf-8", errors="replace")
    if "didn't change, skipping" in text:
        return "unchanged"
    return "restored from the cache" if "is cached - skipping run" in text else duration(run.seconds)


def _failure(failed: Sequence[str]) -> str:
    """Print the last lines of the log of the first failed stage, and return an error message with the cause."""
    first, *others = failed
    lines = log_of(first).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    print(f"--- end of {log_of(first)} ---", *lines[-TAIL:], sep="\n", file=sys.stderr)
    # The stage's own error, or else that of DVC, whose message on a failed stage only repeats the command.
    reasons = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    reasons = reasons or [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    reason = f": {reasons[-1]}" if reasons else f" (see {log_of(first)})"
    more = f"; also failed or skipped: {', '.join(others)}" if others else ""
    return f"stage {first} failed{reason}{more}"
