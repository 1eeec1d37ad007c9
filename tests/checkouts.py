"""Copies of this project that tests may change."""

import shutil
from pathlib import Path

from shell import run

ROOT = Path(__file__).parents[1]
RESULTS = ("metrics/", "plots/", "dvc.lock")


def check_out(folder: Path) -> None:
    """Copy all tracked and untracked files except results into a folder, as a repository with one commit."""
    for name in filter(None, run(ROOT, "git", "ls-files", "-co", "--exclude-standard", "-z").split("\0")):
        if (ROOT / name).is_file() and not name.startswith(RESULTS):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    run(folder, "git", "init", "-q")
    run(folder, "git", "add", "-A")
    run(folder, "git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", "as it is")
