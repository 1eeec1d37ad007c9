"""Run scripts in separate processes that start at once.

A new Python takes seconds to import torch. One process imports it, and each script runs in a fork of that process.
"""

import multiprocessing
import os
import runpy
import sys
import tempfile
from pathlib import Path
from subprocess import CompletedProcess

SERVER = multiprocessing.get_context("forkserver")
# Libraries alone, for a checkpoint belongs to the code that its process has loaded; the first optimiser of a process
# imports torch._dynamo.
LIBRARIES = "torch._dynamo numba pandas pydantic safetensors.torch scipy.stats seaborn sklearn.mixture yaml"
SERVER.set_forkserver_preload(LIBRARIES.split())


def _run(script: Path, arguments: tuple[str, ...], folder: Path, out: Path, err: Path, before: Path) -> None:
    os.chdir(folder)
    for path, descriptor in ((out, 1), (err, 2)):
        with path.open("wb") as file:
            os.dup2(file.fileno(), descriptor)
    sys.argv = [str(script), *arguments]
    runpy.run_path(str(before))
    runpy.run_path(str(script), run_name="__main__")


def run_script(script: Path, *arguments: str, folder: Path, before: str = "") -> CompletedProcess[str]:
    """Run a script in a folder, after the statements `before` in the same process."""
    with tempfile.TemporaryDirectory() as written:
        out, err, first = (Path(written) / name for name in ("out", "err", "before.py"))
        first.write_text(before)
        process = SERVER.Process(target=_run, args=(script, arguments, folder, out, err, first))
        process.start()
        try:
            process.join()
        finally:
            process.kill()  # where a limit of pytest's ends the test; one that has ended stays as it is
        return CompletedProcess([str(script), *arguments], process.exitcode, out.read_text(), err.read_text())
