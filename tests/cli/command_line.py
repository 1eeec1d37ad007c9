"""Run the command line as a user does, without starting a process."""

import os
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from subprocess import CompletedProcess
from unittest.mock import patch

import pytest

from triptych.cli import app as cli

ROOT = Path(__file__).parents[2]


def triptych(*arguments: str) -> CompletedProcess:
    """Run `triptych` in the working directory, 120 columns wide."""
    out, err = StringIO(), StringIO()
    wide = patch.dict(os.environ, COLUMNS="120")
    with wide, redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        cli.app(list(arguments))
    return CompletedProcess(["triptych", *arguments], ended.value.code or 0, out.getvalue(), err.getvalue())


def refused(*arguments: str) -> str:
    """Return the error line of a command that must fail."""
    done = triptych(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr
