"""A project in which no stage has run."""

import shutil
import subprocess
from pathlib import Path

import pytest

from triptych.cli import profiles

ROOT = Path(__file__).parents[2]


def committed(folder: Path, message: str = "Numbers") -> None:
    """Commit all files in a folder that is, or becomes, a git repository."""
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "-q"], ["add", "-A"], [*who, "commit", "-q", "--no-verify", "-m", message]):
        subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def commit(tmp_path: Path):
    """Return a function that commits all files in the test's folder."""
    return lambda: committed(tmp_path)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a repository with the real profiles and params.yaml; it becomes the working directory."""
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    (tmp_path / "params.yaml").write_text(profiles.default_text(ROOT), encoding="utf-8")
    committed(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path
