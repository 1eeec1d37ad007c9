"""Files of trained networks: `model.safetensors` and `config.json`. Unlike pickled files, they contain no code."""

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
    """Return the folder for the files of `seed`: `folder` itself for the seed `first`, otherwise a subfolder."""
    return folder if seed == first else folder / f"seed_{seed}"


def snapshot_file(folder: Path, epoch: int) -> Path:
    return folder / f"epoch_{epoch:04d}.safetensors"


def snapshot_files(folder: Path) -> dict[int, Path]:
    """Return a dict from epoch to snapshot file, in epoch order. Raises InputError if `folder` has no snapshots."""
    files = {int(path.stem.removeprefix("epoch_")): path for path in sorted(folder.glob("epoch_*.safetensors"))}
    if not files:
        raise InputError(f"{folder}: no snapshots found; run `dvc repro` to create them")
    return files


def separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors to the CPU. Each copy has memory of its own, because safetensors does not support shared memory."""
    return {n: t.detach().cpu().clone(memory_format=torch.contiguous_format) for n, t in tensors.items()}


def save_weights(path: Path, network: nn.Module) -> None:
    save_tensors(path, separate(network.state_dict()))


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors to a safetensors file atomically. Raises InputError if safetensors cannot write the file."""
    try:
        with written_whole(path) as partial:
            save_file(dict(tensors), partial)
    except SafetensorError as error:
        raise InputError(f"{path}: cannot be written ({error})") from None


def load_weights(path: Path, network: nn.Module) -> None:
    """Load weights into a network. Raises InputError if the file is missing or damaged, or does not fit the network."""
    try:
        network.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run `dvc repro` to train the model") from None
    except SafetensorError as error:
        raise InputError(f"{path}: truncated or invalid safetensors file ({error})") from None
    except RuntimeError as error:
        raise InputError(f"{path}: the weights do not fit the network ({' '.join(str(error).split())[:200]})") from None


def save_model(folder: Path, network: nn.Module, config: dict) -> None:
    """Write a network and its config to `folder`. `config["network"]` contains the arguments of the network's class."""
    save_weights(folder / "model.safetensors", network)
    write_json(folder / "config.json", config)


def load_model(folder: Path, network_class: type[Network], device: torch.device) -> tuple[Network, dict]:
    """Load a trained network, on `device` and in eval mode, and its config. Raises InputError for invalid files."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        network = network_class(**config["network"])
    except FileNotFoundError:
        raise InputError(f"{folder}/config.json: no such file; run `dvc repro` to train the model") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}/config.json: not a valid config of {network_class.__name__} ({error})") from None
    load_weights(folder / "model.safetensors", network)
    return network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last), config
