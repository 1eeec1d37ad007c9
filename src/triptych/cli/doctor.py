"""Collect facts about the machine and the project, for `triptych doctor` and `triptych archive`."""

import os
import platform
import re
import shutil
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import triptych
from triptych.cli import profiles
from triptych.core.errors import InputError
from triptych.core.schema import read_yaml
from triptych.data.storage import SPLITS, load_card
from triptych.params import check

PACKAGES = ("torch", "torchvision", "dvc", "numpy", "pandas", "seaborn", "matplotlib", "pydantic")
TOOLS = ("git", "make", "dvc")
# Machines on which the profiles were run from nothing: wall-clock time of `make repro`, and of `make full` after it.
MACHINES = {
    "2 AMD EPYC cores with bfloat16 instructions": ("17 min", "37 min"),
    "the same cores without them (AVX2, float32)": ("29 min", "not measured"),
}


def examine(params: Path = profiles.PARAMS) -> dict[str, Any]:
    """Return facts about the hardware, the packages, the file `params` and the datasets, including any problems."""
    return {
        **_hardware(),
        "free_disk_gib": round(shutil.disk_usage(Path.cwd()).free / 2**30, 1),
        "versions": _versions(),
        "tools": {name: shutil.which(name) is not None for name in TOOLS},
        "params": _params(params),
        "data": _data(params),
        "machines": {name: {"make repro": default, "make full": full} for name, (default, full) in MACHINES.items()},
    }


def machine() -> dict[str, Any]:
    """Return facts that can affect results: the hardware, the package versions and the git commit."""
    return {**_hardware(), "versions": _versions(), "commit": _commit()}


def _hardware() -> dict[str, Any]:
    import torch

    from triptych.machine.device import computes_in_bfloat16

    device = "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        processor = re.search(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
        name = processor[1].strip() if processor else ""
    except OSError:
        name = platform.processor()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "processor": name,
        "cpus": os.cpu_count(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else device,
        "threads": torch.get_num_threads(),
        "bfloat16": computes_in_bfloat16(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
    }


def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {"triptych": triptych.__version__} | dict.fromkeys(PACKAGES)
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def _commit() -> str | None:
    """Return the current commit hash, with `+` for uncommitted changes to pipeline files, or None if git fails."""
    commands = ["rev-parse", "HEAD"], ["status", "--porcelain", "-uno", "src", "stages", "dvc.yaml"]
    try:
        commit, changes = (
            subprocess.run(["git", *command], capture_output=True, text=True, check=True).stdout.strip()
            for command in commands
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changes else "")


def _params(path: Path) -> dict[str, str | None]:
    state = {"path": path.as_posix(), "problem": None, "profile": None}
    try:
        check(path)
        return state | {"profile": profiles.active(path.parent)}
    except InputError as error:
        return state | {"problem": str(error)}


def _data(params: Path) -> dict[str, str]:
    try:
        sections = read_yaml(params).get("data")
    except InputError:
        return {}
    states = {}
    for name in sections if isinstance(sections, dict) else ():
        try:
            card = load_card(Path("data") / name)
            counts = [f"{card[f'{split}_images']:,} {split}" for split in SPLITS if f"{split}_images" in card]
            states[name] = f"{card['name']}: {', '.join(counts)} images"
        except InputError as error:
            states[name] = str(error)
    return states
