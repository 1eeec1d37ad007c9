"""The command line: errors of one line and exit code 2, help with an example, no waiting for what is not needed."""

import json
import subprocess
import sys
from pathlib import Path

from command_line import refused, triptych


def test_doctor_tells_of_the_machine_the_params_and_the_data(project: Path):
    found = json.loads(triptych("doctor", "--json").stdout)
    assert found["threads"] >= 1
    assert found["versions"]["torch"]
    assert found["params"] == {"path": "params.yaml", "problem": None, "profile": "default"}
    assert "data/generative/card.json: no such file" in found["data"]["generative"]


def test_doctor_says_what_would_stop_other_commands(project: Path):
    Path("params.yaml").write_text("seed: zero\n")
    done = triptych("doctor")
    assert done.returncode == 0
    assert "'seed' is 'zero'" in done.stdout or "is missing" in done.stdout
    Path("params.yaml").unlink()
    assert "no such file" in triptych("doctor").stdout


def test_wrong_usage_is_one_line(project: Path):
    for arguments in ("repot", "profile use", "report --jsn", "doctor now"):
        assert "--help" in refused(*arguments.split()), arguments


def test_help_shows_an_example_of_every_command(project: Path):
    for command in ("", "profile", "profile list", "profile use", "profile check", "report", "doctor"):
        done = triptych(*command.split(), "--help")
        assert done.returncode == 0 and "Example: triptych" in done.stdout, command


def test_a_bare_command_shows_its_help(project: Path):
    for command in ("", "profile"):
        done = triptych(*command.split())
        assert done.returncode == 0 and "Commands:" in done.stdout, command


def python(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True)


def test_the_command_is_also_a_module(project: Path):
    assert python("-m", "triptych", "profile", "list").stdout.startswith("* default")
    wrong = python("-m", "triptych", "profile", "use")
    assert wrong.returncode == 2 and wrong.stderr.count("\n") == 1 and not wrong.stdout


def test_the_command_line_starts_without_what_takes_long_to_import():
    slow = "{'torch', 'pandas', 'matplotlib', 'jinja2', 'dvc'}"
    done = python("-c", f"import sys, triptych.cli; print(sorted({slow} & set(sys.modules)))")
    assert done.returncode == 0 and done.stdout == "[]\n", done.stderr
