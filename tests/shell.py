"""Run commands in separate processes with a time limit."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

PROGRAMS = Path(sys.executable).parent


def run(
    folder: Path,
    *command: str,
    environment: Mapping[str, str] = os.environ,
    seconds: float = 800,
    programs: Path = PROGRAMS,
) -> str:
    """Run a command in a folder and return its stdout. PATH begins with `programs`, then this Python's programs.

    Output goes to files: a pipe would stay open as long as a process that the command leaves behind holds it, such as
    the workers of `dvc queue start`.

    Raises:
        AssertionError: the command failed.
        subprocess.TimeoutExpired: it exceeded the limit and was killed with its children.
    """
    path = {"PATH": os.pathsep.join(map(str, dict.fromkeys([programs, PROGRAMS, environment["PATH"]])))}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        settings = {"cwd": folder, "env": {**environment, **path}, "stdin": subprocess.DEVNULL}
        process = subprocess.Popen(command, **settings, stdout=out, stderr=err, start_new_session=True)
        try:
            status = process.wait(seconds)
        except BaseException:  # including pytest's time limit
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        out.seek(0)
        err.seek(0)
        printed, complaints = out.read(), err.read()
    assert status == 0, f"{' '.join(command)}:\n{printed[-3000:]}\n{complaints[-6000:]}"
    return printed


def left_behind(folder: Path) -> list[psutil.Process]:
    """Return the processes whose working directory is the folder or below it."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder.resolve()):
                found.append(process)
        except psutil.Error:  # it has ended or belongs to another user
            continue
    return found


def end_left_behind(folder: Path, seconds: float = 10) -> None:
    """Kill the processes whose working directory is the folder or below it.

    Raises:
        TimeoutError: some are still running after the limit.
    """
    until = time.monotonic() + seconds
    while processes := left_behind(folder):
        if time.monotonic() > until:
            raise TimeoutError(f"still running in {folder}: {processes}")
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.05)
