"""The commands that a page of docs/ shows, to be run as they stand."""

import os
import re
from pathlib import Path

import shell

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```sh ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> dict[str, str]:
    """The page's blocks of shell commands by the word behind `sh`; those without one under "", joined."""
    found: dict[str, str] = {}
    for name, commands in BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8")):
        found[name] = found.get(name, "") + commands
    assert found, f"docs/{page} shows no commands"
    return found


def run(commands: str, folder: Path, **more: str) -> str:
    """What a shell prints that runs them there, with this environment activated; the first that fails ends it."""
    environment = os.environ | {
        "PYTHONPATH": str(folder / "src"),
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "user.name",
        "GIT_CONFIG_VALUE_0": "test",
        "GIT_CONFIG_KEY_1": "user.email",
        "GIT_CONFIG_VALUE_1": "test@localhost",
    }
    return shell.run(folder, "bash", "-eu", "-o", "pipefail", "-c", commands, environment=environment | more)
