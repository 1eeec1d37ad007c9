"""The command line: errors of one line and exit code 2, help with a working example, and a fast start."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
from command_line import ROOT, refused, triptych
from test_cli_report import ran

from triptych import __version__
from triptych.cli.app import app
from triptych.cli.doctor import MACHINES

COMMANDS = ("", "profile", "profile list", "profile use", "profile check", "report", "archive", "doctor")


def test_doctor_describes_machine_params_and_data(project: Path):
    state = json.loads(triptych("doctor", "--json").stdout)
    assert state["threads"] >= 1
    assert state["versions"]["torch"] and state["versions"]["triptych"] == __version__
    assert state["params"] == {"path": "params.yaml", "problem": None, "profile": "default"}
    assert "data/generative/card.json: no such file" in state["data"]["generative"]
    assert state["bfloat16"] in (True, False)


def test_doctor_lists_the_machines_of_the_readme(project: Path):
    said, readme = triptych("doctor").stdout, (ROOT / "README.md").read_text(encoding="utf-8")
    for name, times in MACHINES.items():
        assert f"| {name} | {times[0]} | {times[1]} |" in readme
        assert [line.split("  ")[0] for line in said.splitlines() if times[0] in line].count(name) == 1


def test_doctor_reports_what_would_stop_other_commands(project: Path):
    Path("params.yaml").write_text("seed: zero\n")
    done = triptych("doctor")
    assert done.returncode == 0
    assert "'seed' is 'zero'" in done.stdout or "is missing" in done.stdout
    Path("params.yaml").unlink()
    assert "no such file" in triptych("doctor").stdout


def test_wrong_usage_is_one_line(project: Path):
    for arguments in ("repot", "profile use", "report --jsn", "doctor now"):
        assert "--help" in refused(*arguments.split()), arguments


@pytest.mark.parametrize("command", COMMANDS)
def test_the_example_in_the_help_of_each_command_works(project: Path, command: str):
    ran(project)
    described = triptych(*command.split(), "--help")
    assert described.returncode == 0
    example = " ".join(described.stdout.split("Example: triptych ")[1].split())
    done = triptych(*example.split(" && ")[0].split(" | ")[0].split())
    assert done.returncode == 0 and done.stdout, done.stderr


def test_the_help_of_every_command_shows_no_types_of_python():
    commands = ["", *leaves(typer.main.get_command(app))]
    assert {"report", "sample vae", "profile check"} <= set(commands)
    for command in commands:
        text = triptych(*command.split(), "--help").stdout
        assert not re.search(r"<|list\[|\b(int|float|str|bool)\b", text), command


def leaves(group, above: str = "") -> list[str]:
    """Return the full names of all commands, including those in groups."""
    names = []
    for name, command in getattr(group, "commands", {}).items():
        names += [f"{above}{name}", *leaves(command, f"{above}{name} ")]
    return names


def test_a_bare_command_shows_its_help(project: Path):
    for command in ("", "profile", "sample"):
        done = triptych(*command.split())
        assert done.returncode == 0 and "Commands:" in done.stdout, command


def test_the_version_is_defined_once():
    assert triptych("--version").stdout == f"triptych {__version__}\n"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"] and project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "triptych.__version__"}


def python(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True)


def test_the_command_is_also_a_module(project: Path):
    assert python("-m", "triptych", "profile", "list").stdout.startswith("* default")
    wrong = python("-m", "triptych", "profile", "use")
    assert wrong.returncode == 2 and wrong.stderr.count("\n") == 1 and not wrong.stdout


def test_the_command_line_starts_without_slow_imports():
    slow = "{'torch', 'pandas', 'matplotlib', 'jinja2', 'dvc', 'pydantic', 'numpy'}"
    done = python("-c", f"import sys, triptych.cli.app; print(sorted({slow} & set(sys.modules)))")
    assert done.returncode == 0 and done.stdout == "[]\n", done.stderr
