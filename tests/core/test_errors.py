"""User errors are one line and exit code 2. A full disk or a closed pipe leaves existing files unchanged."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"
PREFIX = """
import sys
from pathlib import Path
from triptych.core.errors import InputError, one_line_errors
from triptych.core.files import write_text
with one_line_errors():
"""


def run(body: str, folder: Path, **how: object) -> subprocess.CompletedProcess[str]:
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    environment = os.environ | {"PYTHONPATH": str(SRC)} | how.pop("environment", {})
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | how
    command = [sys.executable, "-c", PREFIX + lines]
    return subprocess.run(command, text=True, cwd=folder, env=environment, timeout=60, **settings)


def test_wrong_input_is_one_line(tmp_path):
    done = run('raise InputError("params.yaml: wrong")', tmp_path)
    assert (done.returncode, done.stderr) == (2, "error: params.yaml: wrong\n")


def test_an_internal_error_keeps_its_traceback(tmp_path):
    assert "Traceback" in run("1 / 0", tmp_path).stderr
    assert "Traceback" in run('open("nowhere")', tmp_path).stderr


INTERRUPTED_COMMAND = """
import sys
from triptych.cli import doctor
from triptych.cli.app import app
def examine():
    raise KeyboardInterrupt
doctor.examine = examine
sys.argv = ["triptych", "doctor"]
app()
"""


def test_ctrl_c_prints_what_happens_next(tmp_path):
    done = run("raise KeyboardInterrupt", tmp_path)
    assert (done.returncode, done.stderr) == (130, "interrupted: the next run resumes from the last checkpoint\n")
    done = run("pass\n" + INTERRUPTED_COMMAND, tmp_path)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_a_file_that_grows_too_large_is_one_line_and_the_old_one_stays(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    body = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
write_text("a.txt", "new" * 1000)
"""
    done = run(body, tmp_path)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert "file too large; existing files are unchanged" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"] and (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_an_output_on_a_full_disk_is_one_line(tmp_path):
    with Path("/dev/full").open("w") as full:
        done = run('print("x" * 100)', tmp_path, stdout=full)
    assert (done.returncode, done.stderr) == (2, "error: no space left on device; existing files are unchanged\n")


def test_a_closed_pipe_ends_the_process_silently(tmp_path):
    reads, writes = os.pipe()
    os.close(reads)
    done = run('for _ in range(100): print("x" * 1000)', tmp_path, stdout=writes)
    os.close(writes)
    assert (done.returncode, done.stderr) == (1, "")


def test_characters_that_the_output_cannot_encode_are_escaped(tmp_path):
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = run('print("Fr\\u00e9chet", "\\udcff")', tmp_path, environment=ascii_only)
    assert (done.returncode, done.stdout) == (0, "Fr\\xe9chet \\udcff\n")
    done = run('raise InputError("caf\\u00e9")', tmp_path, environment=ascii_only)
    assert (done.returncode, done.stderr) == (2, "error: caf\\xe9\n")
