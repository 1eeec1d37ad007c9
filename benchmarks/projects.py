"""Temporary projects in which benchmarks run stages, each in its own process, without DVC."""

import io
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import yaml

from triptych.core.errors import InputError
from triptych.core.schema import parse, read_yaml
from triptych.params import validated

ROOT = Path(__file__).parents[1]
PARAMS = Path("params.yaml")
CODE = ("src", "stages")
LOG = "log.txt"


@contextmanager
def thrown_away(params: dict, revision: str | None = None) -> Iterator[Path]:
    """Yield a temporary folder with this project's code and the given params.

    Args:
        params: contents of params.yaml.
        revision: git revision of the code; None uses the working tree and validates the params.

    Raises InputError if the params are invalid, git fails, or there is no such revision.
    """
    if revision is None:
        validated(params, PARAMS)
    with tempfile.TemporaryDirectory(prefix="triptych-") as name:
        folder = Path(name)
        if revision is None:
            _copy_code(folder)
        else:
            with tarfile.open(fileobj=io.BytesIO(_git("archive", "--format=tar", revision, *CODE))) as archive:
                archive.extractall(folder, filter="data")
        write_params(folder, params)
        yield folder


def write_params(folder: Path, params: dict) -> None:
    (folder / PARAMS).write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def params_of(revision: str | None = None) -> dict:
    """Return the contents of params.yaml in the working tree or in a revision of git.

    Raises InputError as `thrown_away` does.
    """
    if revision is None:
        return read_yaml(ROOT / PARAMS)
    return parse(_git("show", f"{revision}:{PARAMS}").decode(), PARAMS)


def _copy_code(folder: Path) -> None:
    """Copy the code files of the working tree that git does not ignore."""
    for path in filter(None, _git("ls-files", "-co", "--exclude-standard", "-z", *CODE).decode().split("\0")):
        if (ROOT / path).is_file():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes((ROOT / path).read_bytes())


def _git(*arguments: str) -> bytes:
    try:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout
    except OSError as error:
        raise InputError(f"cannot run git ({error})") from None
    except subprocess.CalledProcessError as error:
        raise InputError(f"git {arguments[0]}: {' '.join(error.stderr.decode().split())}") from None


@contextmanager
def running(folder: Path, script: str, *arguments: str, own_session: bool = False) -> Iterator[psutil.Popen]:
    """Run a script of `stages` in a project, and stop it and its children at the end.

    Args:
        folder: the project; the script's output goes to its log.
        script: name of the script, for example `train_vae`.
        arguments: arguments of the script.
        own_session: True to start a new session, as an application in another terminal would have.
    """
    command = [sys.executable, f"stages/{script}.py", *arguments]
    environment = os.environ | {"PYTHONPATH": "src"}
    with (folder / LOG).open("wb") as log:
        process = psutil.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=own_session
        )
    try:
        yield process
    finally:
        _stop(process)


def ended_well(process: psutil.Popen, folder: Path) -> None:
    """Wait for the end of a script. Raises InputError with the last line of its log if it failed."""
    if process.wait():
        said = (folder / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise InputError(f"{' '.join(process.args[1:])} failed: {said[-1] if said else 'no output'}")


def run(folder: Path, script: str, *arguments: str) -> None:
    """Run a script of `stages` to its end; see `running` and `ended_well`."""
    with running(folder, script, *arguments) as process:
        ended_well(process, folder)


def unwind_when_terminated() -> None:
    """Turn SIGTERM into an exception, so that child processes are stopped and temporary folders removed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def _stop(process: psutil.Popen) -> None:
    """Kill a process and its children, if they are still running."""
    with suppress(psutil.NoSuchProcess):
        for each in (process, *process.children(recursive=True)):
            each.kill()
    process.wait()
