"""Extract the commands of a page of docs/ and run them unchanged."""

import os
import re
from pathlib import Path

import shell

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```sh ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> dict[str, str]:
    """Return the shell blocks of a page by the word after `sh`, joined; those without one under ""."""
    found: dict[str, str] = {}
    for name, commands in BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8")):
        found[name] = found.get(name, "") + commands
    assert found, f"docs/{page} shows no commands"
    return found


def run(commands: str, folder: Path, **more: str) -> str:
    """Run the commands in a folder with this environment activated, stop at the first failure, return the output.

    Programs in a folder `bin` next to it are found first (see preloaded.py).
    """
    environment = os.environ | {
        "PYTHONPATH": str(folder / "src"),
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "user.name",
        "GIT_CONFIG_VALUE_0": "test",
        "GIT_CONFIG_KEY_1": "user.email",
        "GIT_CONFIG_VALUE_1": "test@localhost",
    }
    command = ("bash", "-eu", "-o", "pipefail", "-c", commands)
    return shell.run(folder, *command, environment=environment | more, programs=folder.parent / "bin")
