"""Trained networks on disk: `model.safetensors` and `config.json`. Loading runs no code from a file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from triptych.core.errors import InputError
from triptych.core.files import write_json, written_whole

Network = TypeVar("Network", bound=nn.Module)


def seed_folder(folder: Path, seed: int, first: int) -> Path:
    """Return the folder for the files of a seed: `folder` itself for the first seed of a stage."""
    return folder if seed == first else folder / f"seed_{seed}"


def snapshot_file(folder: Path, epoch: int) -> Path:
    return folder / f"epoch_{epoch:04d}.safetensors"


def snapshot_files(folder: Path) -> dict[int, Path]:
    """Return the snapshot files by epoch, in increasing order. Raises InputError if there are none."""
    files = {int(path.stem.removeprefix("epoch_")): path for path in sorted(folder.glob("epoch_*.safetensors"))}
    if not files:
        raise InputError(f"{folder}: no snapshots found; create them with `dvc repro`")
    return files


def separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors to the CPU without shared memory, which safetensors does not support."""
    return {n: t.detach().cpu().clone(memory_format=torch.contiguous_format) for n, t in tensors.items()}


def save_weights(path: Path, network: nn.Module) -> None:
    save_tensors(path, separate(network.state_dict()))


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors to a safetensors file, atomically. Raises InputError if that fails."""
    try:
        with written_whole(path) as partial:
            save_file(dict(tensors), partial)
    except SafetensorError as error:
        raise InputError(f"{path}: cannot be written ({error})") from None


def load_weights(path: Path, network: nn.Module) -> None:
    """Load weights into a network. Raises InputError if the file is missing or damaged, or has other weights."""
    try:
        network.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise InputError(f"{path}: no such model; `dvc repro` trains it") from None
    except SafetensorError as error:
        raise InputError(f"{path}: truncated or invalid safetensors file ({error})") from None
    except RuntimeError as error:
        raise InputError(f"{path}: weights of another architecture ({' '.join(str(error).split())[:200]})") from None


def save_model(folder: Path, network: nn.Module, config: dict) -> None:
    """Write a network and its config, which has the keyword arguments of its class under "network"."""
    save_weights(folder / "model.safetensors", network)
    write_json(folder / "config.json", config)


def load_model(folder: Path, network_class: type[Network], device: torch.device) -> tuple[Network, dict]:
    """Load a network in eval mode and channels last, and its config. Raises InputError for missing or invalid files."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        network = network_class(**config["network"])
    except FileNotFoundError:
        raise InputError(f"{folder}/config.json: no such model; `dvc repro` trains it") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}/config.json: not a config of {network_class.__name__} ({error})") from None
    load_weights(folder / "model.safetensors", network)
    return network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last), config
