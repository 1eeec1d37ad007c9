"""Text files keep LF line endings on every platform."""

from pathlib import Path

from shell import run

ROOT = Path(__file__).parents[2]


def test_a_clone_that_converts_line_endings_gets_lf(tmp_path):
    """Git for Windows sets core.autocrlf, which would change every hash that DVC compares and break shell scripts."""
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "-q", "-c", "core.autocrlf=true", str(ROOT), str(clone))
    names = ("Makefile", "dvc.yaml", "params.yaml", ".ci/run", "src/triptych/__init__.py")
    assert [name for name in names if b"\r" in (clone / name).read_bytes()] == []
    assert run(clone, "git", "status", "--porcelain") == ""
