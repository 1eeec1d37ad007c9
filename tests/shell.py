"""Commands in processes of their own, which cannot hold up the tests for ever."""

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


def run(folder: Path, *command: str, environment: Mapping[str, str] = os.environ, seconds: float = 800) -> str:
    """What a command prints that must end well, in a folder and with the programs of this Python's environment.

    Its output goes to files. A pipe would be open for as long as any process has it that the command leaves behind, as
    `dvc queue start` leaves its workers.

    Raises:
        AssertionError: it failed.
        subprocess.TimeoutExpired: it took longer than so many seconds, and was ended with all that it had started.
    """
    path = {"PATH": f"{PROGRAMS}{os.pathsep}{environment['PATH']}"}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        settings = {"cwd": folder, "env": {**environment, **path}, "stdin": subprocess.DEVNULL}
        process = subprocess.Popen(command, **settings, stdout=out, stderr=err, start_new_session=True)
        try:
            status = process.wait(seconds)
        except BaseException:  # pytest's own limit among them
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        out.seek(0)
        err.seek(0)
        printed, complaints = out.read(), err.read()
    assert status == 0, f"{' '.join(command)}:\n{printed[-3000:]}\n{complaints[-6000:]}"
    return printed


def left_behind(folder: Path) -> list[psutil.Process]:
    """The processes that work in a folder or below."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder.resolve()):
                found.append(process)
        except psutil.Error:  # it has ended, or is not ours
            continue
    return found


def end_left_behind(folder: Path, seconds: float = 10) -> None:
    """Ends the processes that work in a folder or below.

    Raises:
        TimeoutError: some are still there after so many seconds.
    """
    until = time.monotonic() + seconds
    while processes := left_behind(folder):
        if time.monotonic() > until:
            raise TimeoutError(f"in {folder} still work {processes}")
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.05)
