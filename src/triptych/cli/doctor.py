"""What this machine and this checkout have: for `triptych doctor`."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from triptych.cli import profiles
from triptych.core.errors import InputError
from triptych.core.schema import read_yaml
from triptych.data.storage import load_card
from triptych.params import check

PACKAGES = ("triptych", "torch", "torchvision", "dvc", "numpy", "pandas", "seaborn", "matplotlib", "pydantic")
TOOLS = ("git", "make", "dvc")


def examine(params: Path = profiles.PARAMS) -> dict:
    """Device, threads, versions, the state of params.yaml, and the data found. Nothing here raises on bad input."""
    return {
        **_hardware(),
        "free_disk_gib": round(shutil.disk_usage(Path.cwd()).free / 2**30, 1),
        "versions": _versions(),
        "tools": {name: shutil.which(name) is not None for name in TOOLS},
        "params": _params(params),
        "data": _data(params),
    }


def machine() -> dict:
    """What a run's numbers depend on beside params: hardware, versions, and the commit, where git knows it."""
    return {**_hardware(), "versions": _versions(), "commit": _commit()}


def _hardware() -> dict:
    return {
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "processor": _processor(),
        "cpus": os.cpu_count(),
        **_device(),
    }


def _processor() -> str:
    """The name of the CPU, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _versions() -> dict[str, str | None]:
    return {name: _version(name) for name in PACKAGES}


def _commit() -> str | None:
    """The commit of this checkout, with a `+` where files that git tracks differ from it."""
    try:
        done = [
            subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno", "src", "stages", "dvc.yaml"])
        ]
    except (OSError, subprocess.CalledProcessError):
        return None
    return done[0] + ("+" if done[1] else "")


def _device() -> dict:
    """What `runtime.device: auto` takes here."""
    import torch  # a command that needs no torch should not wait for it

    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    else:
        device = "mps" if torch.backends.mps.is_available() else "cpu"
    return {"device": device, "threads": torch.get_num_threads()}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _params(path: Path) -> dict:
    try:
        check(path)
        return {"path": path.as_posix(), "problem": None, "profile": profiles.active(path.parent)}
    except InputError as error:
        return {"path": path.as_posix(), "problem": str(error), "profile": None}


def _data(params: Path) -> dict[str, str]:
    """Each dataset of params.yaml: what lies prepared, or why nothing does."""
    try:
        sections = read_yaml(params).get("data")
    except InputError:
        return {}
    return {name: _prepared(Path("data") / name) for name in sections} if isinstance(sections, dict) else {}


def _prepared(folder: Path) -> str:
    try:
        card = load_card(folder)
    except InputError as error:
        return str(error)
    counts = ", ".join(f"{card[key]:,} {key.split('_')[0]}" for key in ("train_images", "test_images") if key in card)
    return f"{card['name']}: {counts} images"
