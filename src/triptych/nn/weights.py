"""Trained networks on disk: `model.safetensors` and `config.json`. Loading never runs code from a file."""

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


def save_weights(path: Path, network: nn.Module) -> None:
    """Writes the network's state to one safetensors file, see `save_tensors`."""
    # Copies: the format refuses names that share memory, as tied weights do.
    state = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }
    save_tensors(path, state)


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes named tensors to one safetensors file, see `written_whole`.

    Raises:
        InputError: the disk is full, or the file cannot be written.
    """
    try:
        with written_whole(path) as partial:
            save_file(dict(tensors), partial)
    except SafetensorError as error:
        raise InputError(f"{path}: cannot be written ({error})") from None


def load_weights(path: Path, network: nn.Module) -> None:
    """Fills a network from a safetensors file.

    Raises:
        InputError: the file is missing, truncated, or from another architecture.
    """
    try:
        network.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise InputError(f"{path}: no such model; `dvc repro` trains it") from None
    except SafetensorError as error:
        raise InputError(f"{path}: not a whole safetensors file ({error})") from None
    except RuntimeError as error:
        raise InputError(f"{path}: weights of another architecture ({' '.join(str(error).split())[:200]})") from None


def save_model(folder: Path, network: nn.Module, config: dict) -> None:
    """Writes `network`, and a config that holds under "network" the keyword arguments that build it."""
    save_weights(folder / "model.safetensors", network)
    write_json(folder / "config.json", config)


def seed_folder(folder: Path, seed: int) -> Path:
    """Where the model of a further seed lies, below that of the first."""
    return folder / f"seed_{seed}"


def load_model(folder: Path, kind: type[Network], device: torch.device) -> tuple[Network, dict]:
    """The network of `kind` saved in `folder`, in eval mode on `device`, channels last, and its config.

    Raises:
        InputError: a file is missing, damaged, or of another architecture.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        network = kind(**config["network"])
    except FileNotFoundError:
        raise InputError(f"{folder}/config.json: no such model; `dvc repro` trains it") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}/config.json: not a config of {kind.__name__} ({error})") from None
    load_weights(folder / "model.safetensors", network)
    return network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last), config


def snapshot_files(folder: Path) -> dict[int, Path]:
    """Each epoch whose weights were kept, in rising order, and its file.

    Raises:
        InputError: the folder holds none.
    """
    found = {int(path.stem.removeprefix("epoch_")): path for path in sorted(folder.glob("epoch_*.safetensors"))}
    if not found:
        raise InputError(f"{folder}: no weights of any epoch; `dvc repro` trains them")
    return found
