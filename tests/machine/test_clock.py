"""Clock of a stage: ordered times, written on success by the leading process."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from triptych.machine.processes import stage_clock

SRC = Path(__file__).parents[2] / "src"


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RANK", raising=False)


def times(path: str) -> list[float]:
    *moments, (memory, megabytes) = json.loads(Path(path).read_text()).items()
    assert [name for name, _ in moments] == ["started", "imported", "ended"]
    assert memory == "peak_megabytes" and 5 < megabytes < 10_000
    return [moment for _, moment in moments]


def test_times_are_ordered():
    code = "from triptych.machine.processes import stage_clock\nwith stage_clock('ssl/simsiam'): pass"
    before = time.time()
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(SRC)}, check=True)
    after = time.time()
    started, imported, ended = times("metrics/clock/ssl/simsiam.json")
    assert before - 0.001 <= started <= imported <= ended <= after + 0.001
    assert imported - started > 0.02, "a new Python takes longer than that to import json alone"


def test_a_script_ends_quietly_and_at_once():
    """Finalising an interpreter that has imported torch's compiler takes a second and prints leaks of triton."""
    code = "import torch._dynamo, atexit\nfrom triptych.machine.processes import run_script\n"
    code += "atexit.register(print, 'exit handler')\nrun_script('vae', lambda: print('work'))"
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(SRC)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "work\nexit handler\n", "")
    assert times("metrics/clock/vae.json")


def test_a_script_reports_errors_in_one_line_and_writes_no_clock():
    code = "from triptych.core.errors import InputError\nfrom triptych.machine.processes import run_script\n"
    code += "def main(): raise InputError('bad input')\nrun_script('vae', main)"
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(SRC)}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "error: bad input\n")
    assert not Path("metrics").exists()


def test_an_error_writes_nothing_and_keeps_an_earlier_clock():
    with pytest.raises(ValueError), stage_clock("vae"):
        raise ValueError
    assert not Path("metrics").exists()
    with stage_clock("vae"):
        pass
    earlier = times("metrics/clock/vae.json")
    with pytest.raises(SystemExit), stage_clock("vae"):
        sys.exit(2)
    assert times("metrics/clock/vae.json") == earlier


def test_only_the_leading_process_writes(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with stage_clock("vae"):
        pass
    assert not Path("metrics").exists()
    monkeypatch.setenv("RANK", "0")
    with stage_clock("vae"):
        pass
    assert times("metrics/clock/vae.json")
