"""Systems with threads bound to one core, or without shared memory, locks or processes; and Windows."""

import errno
import fcntl
import multiprocessing
import os
import subprocess
import sys

import pytest

from triptych.core.errors import InputError
from triptych.machine import processes
from triptych.machine.processes import side_by_side
from triptych.training.checkpoint import only_writer
from triptych.training.processes import in_workers

FORK = multiprocessing.get_context("fork").__class__

forks = pytest.mark.skipif(not processes.AVAILABLE, reason="tasks are forked, on Linux alone")


@forks
def test_children_use_all_cores_though_openmp_bound_their_parent_to_one():
    code = """
import os
import triptych, torch
from triptych.machine.processes import side_by_side
torch.ones(1000000).sum()
count = lambda: len(os.sched_getaffinity(0))
print(count(), *(cores for _, cores in side_by_side([count] * 2, 2)))
"""
    environment = os.environ | {"OMP_PROC_BIND": "true", "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    parent, *children = map(int, done.stdout.split())
    assert children == [len(os.sched_getaffinity(0))] * 2
    assert parent <= children[0]


@forks
def test_without_shared_memory_tasks_run_one_after_another(monkeypatch, capsys):
    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FORK, "Value", fail)
    assert list(side_by_side([lambda: 3, lambda: 4], 2)) == [(0, 3), (1, 4)]
    assert capsys.readouterr().err == (
        "warning: no shared memory ([Errno 28] No space left on device), so tasks run one after another\n"
    )


@forks
def test_workers_without_shared_memory_are_refused_in_one_line(monkeypatch):
    def fail(*arguments: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(FORK, "Semaphore", fail)
    with pytest.raises(InputError, match="make /dev/shm writable, or set workers: 1"):
        in_workers(lambda rank: None, 2)


@forks
def test_a_limit_on_processes_is_named(monkeypatch):
    def fail(process: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(multiprocessing.get_context("fork").Process, "start", fail)
    with pytest.raises(
        InputError, match="no child process .Resource temporarily unavailable.; raise `ulimit -u`, or set threads: 1"
    ):
        list(side_by_side([lambda: 3, lambda: 4], 2))


def test_a_file_system_without_locks_gives_a_warning(monkeypatch, capsys, tmp_path):
    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", fail)
    with only_writer("vae", root=tmp_path):
        pass
    assert capsys.readouterr().err == (
        f"warning: {tmp_path}/vae/lock: cannot be locked (Operation not supported); run vae only once\n"
    )


def test_windows_is_told_to_use_wsl(monkeypatch, capsys):
    from triptych.cli.app import app

    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit) as ended:
        app(["doctor"])
    assert ended.value.code == 2 and "on Windows, use WSL" in capsys.readouterr().err
