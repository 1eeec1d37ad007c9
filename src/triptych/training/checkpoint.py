"""Checkpoints that survive a kill at any moment, outside DVC's outputs and keyed by params, data and code.

A checkpoint is one safetensors file: every tensor of the run's state under its path, and the rest as JSON in the
header. It is written beside its place and renamed into it; the one before stays until then, and after.
"""

import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from triptych.core.errors import InputError

ROOT = Path("checkpoints")


def code_digest() -> str:
    """Hash of the source of every triptych module that this process has loaded, and of the script it runs."""
    paths = {m.__file__ for n, m in sys.modules.items() if n.startswith("triptych") and getattr(m, "__file__", None)}
    script = getattr(sys.modules["__main__"], "__file__", None)
    digest = hashlib.sha256()
    for path in sorted(paths | ({script} if script else set())):
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()


def run_key(**identity: object) -> str:
    """What a run is: a short hash of its params, data and code. A checkpoint of another run is never resumed."""
    text = json.dumps(identity, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def flatten(state: object, path: str = "") -> tuple[object, dict[str, Tensor]]:
    """A nested state as (JSON-able tree, tensors by path); each tensor leaves a {"tensor": path} in the tree."""
    if isinstance(state, Tensor):
        return {"tensor": path}, {path: state}
    if isinstance(state, dict):
        parts = {str(key): flatten(value, f"{path}/{key}") for key, value in state.items()}
        tensors = {name: tensor for _, found in parts.values() for name, tensor in found.items()}
        return {"keys": [[key, isinstance(key, int), parts[str(key)][0]] for key in state]}, tensors
    if isinstance(state, list | tuple):
        parts = [flatten(value, f"{path}/{index}") for index, value in enumerate(state)]
        tensors = {name: tensor for _, found in parts for name, tensor in found.items()}
        return {"items": [tree for tree, _ in parts]}, tensors
    return {"value": state}, {}


def unflatten(tree: dict, tensors: dict[str, Tensor]) -> object:
    """The inverse of `flatten` (tuples come back as lists)."""
    if "tensor" in tree:
        return tensors[tree["tensor"]]
    if "keys" in tree:
        return {int(key) if number else key: unflatten(value, tensors) for key, number, value in tree["keys"]}
    if "items" in tree:
        return [unflatten(value, tensors) for value in tree["items"]]
    return tree["value"]


@contextmanager
def only_writer(stage: str, leads: bool = True, root: Path = ROOT) -> Iterator[None]:
    """Holds the stage's exclusive lock; the operating system lets go of it when the process dies.

    Args:
        stage: e.g. `vae` or `ssl/simsiam`.
        leads: whether this process writes; the others of a launch hold nothing.

    Raises:
        InputError: another process is already training this stage.
    """
    if not leads:
        yield
        return
    (root / stage).mkdir(parents=True, exist_ok=True)
    with (root / stage / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"stage {stage}: another process is training it now; wait for it or stop it") from None
        yield


class Checkpoints:
    """The checkpoints of one run: a stage trained once, with one seed.

    Args:
        stage: e.g. `vae` or `ssl/simsiam`.
        key: see `run_key`.
        leads: whether this process writes.
    """

    def __init__(self, stage: str, key: str, leads: bool = True, root: Path = ROOT) -> None:
        self.folder = root / stage / key
        self.leads = leads
        if leads:
            self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def latest(self) -> Path:
        """The newest checkpoint."""
        return self.folder / "latest.safetensors"

    @property
    def previous(self) -> Path:
        """The one before, for when the newest is damaged."""
        return self.folder / "previous.safetensors"

    def save(self, state: dict) -> bool:
        """Writes the state; on a full disk says so, keeps the previous one and returns False."""
        if not self.leads:
            return True
        tree, tensors = flatten(state)
        temporary = self.folder / "writing.tmp"
        try:
            save_file(
                # Copies: two names may share one tensor, which the format refuses.
                {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()},
                temporary,
                metadata={"state": json.dumps(tree)},
            )
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        except (OSError, SafetensorError) as error:
            temporary.unlink(missing_ok=True)
            print(f"warning: checkpoint not written ({error}); the one before stays", file=sys.stderr)
            return False
        if self.latest.exists():
            self.latest.replace(self.previous)
        temporary.replace(self.latest)
        return True

    def load(self, device: torch.device) -> dict | None:
        """The newest whole checkpoint of this very run, or None."""
        for path in (self.latest, self.previous):
            if not path.exists():
                continue
            try:
                with safe_open(path, framework="pt", device=str(device)) as file:
                    tree = json.loads(file.metadata()["state"])
                    return unflatten(tree, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
            except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
                print(f"warning: {path} is damaged ({error}); trying the one before", file=sys.stderr)
        return None

    def discard(self) -> None:
        """Removes this run's checkpoints: it has ended and its outputs are written."""
        if self.leads:
            shutil.rmtree(self.folder, ignore_errors=True)
