"""Copies of this project, in which tests do as they like."""

import shutil
from pathlib import Path

from shell import run

ROOT = Path(__file__).parents[1]
RESULTS = ("metrics/", "plots/", "dvc.lock")


def check_out(folder: Path, without: tuple[str, ...] = ()) -> None:
    """What git tracks of this checkout, or would track now, as a repository of one commit.

    Args:
        folder: where; it may be there, empty.
        without: how the paths begin that are left out.
    """
    for name in filter(None, run(ROOT, "git", "ls-files", "-co", "--exclude-standard", "-z").split("\0")):
        if (ROOT / name).is_file() and not name.startswith(without):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    run(folder, "git", "init", "-q")
    run(folder, "git", "add", "-A")
    run(folder, "git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", "as it is")
