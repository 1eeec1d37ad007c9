"""Outputs of stages that params.yaml no longer has are deleted, and DVC restores them from its cache."""

import subprocess
from pathlib import Path

import pytest
import yaml
from shell import run

from triptych.cli.leftovers import remove_leftovers

PIPELINE = {
    "stages": {
        "train": {
            "foreach": "${variants}",
            "do": {
                "cmd": "mkdir -p models numbers && echo ${key} > models/${key} && echo 1 > numbers/${key}.json",
                "params": ["variants.${key}"],
                "outs": ["models/${key}"],
                "plots": [{"numbers/${key}.json": {"cache": False}}],
            },
        }
    }
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a project in which DVC has run the stages of two variants."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    run(tmp_path, "dvc", "init", "-q")
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(PIPELINE))
    use(tmp_path, "kept", "gone")
    run(tmp_path, "dvc", "repro", "-q")
    return tmp_path


def use(root: Path, *names: str) -> None:
    (root / "params.yaml").write_text(yaml.safe_dump({"variants": {name: {"method": "a"} for name in names}}))


def files(root: Path) -> set[str]:
    return {
        path.relative_to(root).as_posix() for name in ("models", "numbers") for path in (root / name).glob("[a-z]*")
    }


def test_only_outputs_of_removed_stages_are_deleted_and_the_cache_restores_them(root: Path):
    of_kept, of_gone = ({f"models/{name}", f"numbers/{name}.json"} for name in ("kept", "gone"))
    assert remove_leftovers(root) == [] and files(root) == of_kept | of_gone
    (root / "numbers/own.json").write_text("{}")
    use(root, "kept")
    assert set(remove_leftovers(root)) == of_gone
    assert files(root) == of_kept | {"numbers/own.json"}
    assert list(yaml.safe_load((root / "dvc.lock").read_text())["stages"]) == ["train@kept"]
    assert "didn't change" in run(root, "dvc", "repro")
    use(root, "kept", "gone")
    assert "'train@gone' is cached - skipping run" in run(root, "dvc", "repro")
    assert files(root) >= of_gone


def test_without_a_lock_nothing_is_deleted(root: Path):
    (root / "dvc.lock").unlink()
    assert remove_leftovers(root) == [] and len(files(root)) == 4
