"""Throw-away projects in which benchmarks run the stages as they are, each a process of its own, without DVC."""

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
    """A folder with this project's code and the given params, which is removed at the end.

    Args:
        params: the whole of them.
        revision: of git, whose code it is; None for that of the working tree, by which the params are checked first.

    Raises:
        InputError: the params are wrong, git does not run here, or there is no such revision.
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
    """Gives a project other params."""
    (folder / PARAMS).write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def params_of(revision: str | None = None) -> dict:
    """What params.yaml holds, of the working tree or of a revision of git.

    Raises:
        InputError: see `thrown_away`.
    """
    if revision is None:
        return read_yaml(ROOT / PARAMS)
    return parse(_git("show", f"{revision}:{PARAMS}").decode(), PARAMS)


def _copy_code(folder: Path) -> None:
    """The files of the code that git tracks, or would."""
    for path in filter(None, _git("ls-files", "-co", "--exclude-standard", "-z", *CODE).decode().split("\0")):
        if (ROOT / path).is_file():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes((ROOT / path).read_bytes())


def _git(*arguments: str) -> bytes:
    try:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout
    except OSError as error:
        raise InputError(f"git does not run here ({error})") from None
    except subprocess.CalledProcessError as error:
        raise InputError(f"git {arguments[0]}: {' '.join(error.stderr.decode().split())}") from None


@contextmanager
def running(folder: Path, script: str, *arguments: str, own_session: bool = False) -> Iterator[psutil.Popen]:
    """A script of `stages` at work in a project, as dvc.yaml has it; what is left of it at the end is stopped.

    Args:
        folder: the project; what the script says goes to its log.
        script: its name, e.g. `train_vae`.
        arguments: of the script.
        own_session: whether it gets a session of its own, as an application that another terminal has started.
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
    """Waits for the end of a script.

    Raises:
        InputError: it failed; with the last line that it said.
    """
    if process.wait():
        said = (folder / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise InputError(f"{' '.join(process.args[1:])} failed: {said[-1] if said else 'without a word'}")


def run(folder: Path, script: str, *arguments: str) -> None:
    """A script of `stages` from its start to its end; see `running` and `ended_well`."""
    with running(folder, script, *arguments) as process:
        ended_well(process, folder)


def unwind_when_terminated() -> None:
    """Lets SIGTERM end this process as an exception does, so that what it started is stopped and its folders go."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def _stop(process: psutil.Popen) -> None:
    """Ends a process, if it has not ended yet, and all that it has started."""
    with suppress(psutil.NoSuchProcess):
        for each in (process, *process.children(recursive=True)):
            each.kill()
    process.wait()
