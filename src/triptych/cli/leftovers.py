"""Delete outputs of stages that the pipeline no longer has, such as the encoders of another profile."""

import shutil
from pathlib import Path

from triptych.core.errors import InputError

LOCK = "dvc.lock"


def remove_leftovers(root: Path = Path()) -> list[str]:
    """Delete outputs of stages in dvc.lock that the pipeline no longer has, and return their paths.

    Otherwise, stages that read whole folders would use the old outputs. The stages are also deleted from dvc.lock, but
    the run cache of DVC keeps their results. Raises InputError for an invalid dvc.yaml.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.utils.serialize import modify_yaml

    try:
        with Repo(str(root)) as repo:
            stages = {stage.name for stage in repo.index.stages}
            used = {Path(out.fs_path) for out in repo.index.outs}
            root = Path(repo.root_dir)
    except DvcException as error:
        raise InputError(f"dvc.yaml: {' '.join(str(error).split())}") from None
    if not (root / LOCK).exists():
        return []
    deleted = []
    with modify_yaml(root / LOCK) as lock:
        for name in [name for name in lock.get("stages", {}) if name not in stages]:
            for out in lock["stages"].pop(name).get("outs", []):
                path = root / out["path"]
                if path.is_relative_to(root) and path.exists() and not _holds(path, used):
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
                    deleted.append(out["path"])
    return deleted


def _holds(path: Path, used: set[Path]) -> bool:
    """Return True if `path` is, contains or lies in one of the paths `used`."""
    return any(one.is_relative_to(path) or path.is_relative_to(one) for one in used)
