"""`triptych repro`: stages side by side, in a small pipeline of shell commands."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from triptych.cli.jobs import (
    MEGABYTES,
    SECONDS,
    Stage,
    available_megabytes,
    expected_cost,
    seconds_left,
    usable_cpus,
)

# Each stage notes its start and end in `trace`. Tests in which b and c have to last replace their sleep.
PIPELINE = """
stages:
  a: {cmd: "echo +a >> trace; echo a > a; echo -a >> trace", outs: [a]}
  b: {cmd: "echo +b >> trace; sleep 0; cat a > b; echo -b >> trace", deps: [a, source], outs: [b]}
  c: {cmd: "echo +c >> trace; sleep 0; cat a > c; echo -c >> trace", deps: [a], outs: [c]}
  d: {cmd: "echo +d >> trace; cat b c > d; echo -d >> trace", deps: [b, c], outs: [d]}
"""


@pytest.fixture(scope="module")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("initialised")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=folder, check=True)
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "source").write_text("1")
    return folder


@pytest.fixture
def project(initialised: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(initialised, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def start(*arguments: str, **options: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "triptych", "repro", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def repro(*arguments: str) -> tuple[int, str, str]:
    process = start(*arguments)
    out, error = process.communicate(timeout=120)
    return process.returncode, out, error


def trace() -> list[str]:
    return Path("trace").read_text().split() if Path("trace").exists() else []


def change(stage: str, before: str, after: str) -> None:
    text = Path("dvc.yaml").read_text()
    lines = [line.replace(before, after) if line.startswith(f"  {stage}:") else line for line in text.splitlines()]
    Path("dvc.yaml").write_text("\n".join(lines))


def wait_until(condition: object, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, trace()
        time.sleep(0.05)


def left_behind(project: Path) -> list[psutil.Process]:
    """Return the processes that work in the project's folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.cwd() == str(project) and process.status() != "zombie":
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def test_stages_run_side_by_side_in_the_order_of_the_graph(project):
    change("b", "sleep 0", "until grep -q +c trace; do sleep .1; done")
    change("c", "sleep 0", "until grep -q +b trace; do sleep .1; done")
    code, _, error = repro("--jobs", "2")
    assert code == 0, error
    events = trace()
    assert max(events.index("+b"), events.index("+c")) < min(events.index("-b"), events.index("-c"))
    assert events[:2] == ["+a", "-a"] and events[-2:] == ["+d", "-d"] and len(events) == 8
    assert Path("d").read_text() == "a\na\n" and "[4/4] d" in error
    assert subprocess.run([sys.executable, "-m", "dvc", "status", "-q"], check=False).returncode == 0
    assert repro("--jobs", "2")[1] == "Data and pipelines are up to date.\n" and len(trace()) == 8


def test_one_job_leaves_what_two_jobs_and_dvc_leave(project):
    locks = []
    for command in (["triptych", "repro", "--jobs", "1"], ["triptych", "repro", "--jobs", "2"], ["dvc", "repro"]):
        for name in ("a", "b", "c", "d", "trace", "dvc.lock"):
            Path(name).unlink(missing_ok=True)
        subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True)
        locks.append(Path("dvc.lock").read_text())
    assert [sorted(lock.splitlines()) for lock in locks[1:]] == [sorted(locks[0].splitlines())] * 2


def test_only_what_changed_runs_again(project):
    repro("--jobs", "2")
    Path("trace").unlink()
    Path("source").write_text("2")
    code, stages, estimate = repro("--dry", "--jobs", "2")
    assert stages.split() == ["b", "d"] and estimate.startswith("about 10 s with --jobs 2") and not trace()
    code, _, error = repro("--jobs", "2")
    assert (code, trace()) == (0, ["+b", "-b"]) and "d: unchanged" in error


def test_a_target_runs_with_what_it_needs_and_force_runs_all(project):
    assert repro("c")[0] == 0 and trace() == ["+a", "-a", "+c", "-c"]
    assert repro("--force", "c")[0] == 0 and len(trace()) == 8
    assert repro("nothing")[0] == 2


def test_a_failure_skips_its_dependents_and_its_error_is_the_last_line(project):
    change("b", "sleep 0", "echo 'error: bad b' >&2; exit 2")
    code, _, error = repro("--jobs", "2")
    assert code == 2 and trace() == ["+a", "-a", *trace()[2:5]] and set(trace()[2:]) == {"+b", "+c", "-c"}
    assert error.splitlines()[-1] == "error: stage b failed: bad b; also failed or skipped: d"
    change("b", "echo 'error: bad b' >&2; exit 2", "true")
    assert repro("--jobs", "2")[0] == 0
    assert trace().count("+c") == 1, "what had finished does not run again"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_leaves_no_process_and_the_next_one_goes_on(project, number):
    change("b", "sleep 0", "sleep 60")
    process = start("--jobs", "2")
    wait_until(lambda: "+b" in trace() and "-c" in trace())
    process.send_signal(number)
    assert process.wait(30) in (130, -signal.SIGKILL)
    wait_until(lambda: not left_behind(project))
    change("b", "sleep 60", "true")
    code, _, error = repro("--jobs", "2")
    assert code == 0, error
    assert trace().count("+a") == 1


def test_a_list_of_files_in_use_that_a_killed_process_left_half_written_stops_no_run(project):
    Path(".dvc/tmp").mkdir(exist_ok=True)
    Path(".dvc/tmp/rwlock").write_text('{"write": {')
    code, _, error = repro("a")
    assert code == 0 and trace() == ["+a", "-a"], error


def test_a_launcher_stands_in_front_of_each_stage(project):
    Path("launch").write_text('#!/bin/sh\necho "launched $1" >> launched\nshift\nexec "$@"\n')
    Path("launch").chmod(0o755)
    assert repro("--launcher", f"{project}/launch -c4", "c")[0] == 0
    assert Path("launched").read_text() == "launched -c4\n" * 2


def test_stages_that_do_not_fit_into_memory_wait(project, monkeypatch):
    from triptych.cli import jobs

    change("b", "sleep 0", "sleep 1")
    change("c", "sleep 0", "sleep 1")
    monkeypatch.setattr(jobs, "available_megabytes", lambda: 2 * jobs.MEGABYTES)  # 90 % of it holds only one
    jobs.run_stages(jobs.stale_stages(), 2)
    events = trace()
    assert events.index("-b") < events.index("+c") or events.index("-c") < events.index("+b")


def test_a_stage_that_never_ran_is_expected_to_take_as_long_as_the_longest_of_its_group():
    records = {"ssl@a": (30.0, 900.0), "ssl@b": (50.0, 800.0), "ssl@new": None, "vae": None}
    assert [expected_cost(name, records) for name in ("ssl@a", "ssl@new", "vae")] == [
        *((30.0, 900.0), (50.0, 900.0), (SECONDS, MEGABYTES)),
    ]


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "100000 100000"}, 1),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
)
def test_the_quota_of_a_container_limits_the_cpus(tmp_path, files, cpus):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert usable_cpus(tmp_path) == (cpus or allowed)


def test_the_memory_of_a_container_limits_what_is_available(tmp_path):
    (tmp_path / "memory.max").write_text(f"{2**30}\n")
    (tmp_path / "memory.current").write_text(f"{2**29}\n")
    assert available_megabytes(tmp_path) == 512
    (tmp_path / "memory.max").write_text("max\n")
    assert available_megabytes(tmp_path) > 512


def test_the_time_left_is_that_of_the_schedule():
    stages = [Stage("a", set(), 10, path_seconds=30), Stage("b", {"a"}, 20, path_seconds=20), Stage("c", set(), 15)]
    assert seconds_left(stages, {}, 2) == 30
    assert seconds_left(stages, {}, 1) == 45
    assert seconds_left(stages, {"a": 4.0, "c": 0.0}, 2) == 26
