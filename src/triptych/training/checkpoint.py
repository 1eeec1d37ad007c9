"""Checkpoints that stay intact if the process is killed. Their folder is not an output of a DVC stage.

A checkpoint is a safetensors file. Tensors have their paths in the state as names; the header has all other values.
"""

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from triptych.core.errors import InputError
from triptych.core.files import written_whole
from triptych.nn.weights import separate

ROOT = Path("checkpoints")


def code_digest() -> str:
    """Return a hash of the source code of all loaded triptych modules and of the running script."""
    modules = [module for name, module in sys.modules.items() if name.startswith("triptych") or name == "__main__"]
    paths = {path for module in modules if (path := getattr(module, "__file__", None))}
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()


def run_key(**identity: object) -> str:
    """Return the name of a run's checkpoint folder: a hash of `identity` (its params, data, code and machine)."""
    text = json.dumps(identity, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def flatten(state: object, path: str = "") -> tuple[dict, dict[str, Tensor]]:
    """Split a nested state into a JSON tree and a dict from path to tensor. Each path begins with `path`."""
    if isinstance(state, Tensor):
        return {"tensor": path}, {path: state}
    if not isinstance(state, dict | list | tuple):
        return {"value": state}, {}
    items = state.items() if isinstance(state, dict) else enumerate(state)
    trees: list[list] = []
    tensors: dict[str, Tensor] = {}
    for key, value in items:
        tree, more = flatten(value, f"{path}/{key}")
        trees.append([key, tree])
        tensors |= more
    return {"keys" if isinstance(state, dict) else "items": trees}, tensors


def unflatten(tree: dict, tensors: dict[str, Tensor]) -> Any:
    """Return the nested state that `flatten` split into `tree` and `tensors`. Tuples become lists."""
    if "tensor" in tree:
        return tensors[tree["tensor"]]
    if "keys" in tree:
        return {key: unflatten(value, tensors) for key, value in tree["keys"]}
    if "items" in tree:
        return [unflatten(value, tensors) for _, value in tree["items"]]
    return tree["value"]


@contextmanager
def only_writer(stage: str, leads: bool = True, root: Path = ROOT) -> Iterator[None]:
    """Hold the lock file of `stage` in the folder `root` during the `with` block. Do nothing if `leads` is False.

    Raises InputError if another process holds the lock.
    """
    if not leads:
        yield
        return
    (root / stage).mkdir(parents=True, exist_ok=True)
    with (root / stage / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"stage {stage} is running in another process; wait for that process or stop it") from None
        except OSError as error:
            print(f"warning: {lock.name}: cannot be locked ({error.strerror}); run {stage} only once", file=sys.stderr)
        yield


class Checkpoints:
    """The two newest checkpoints of the run `key`. If the newer one is damaged, the older one is loaded."""

    def __init__(self, stage: str, key: str, leads: bool = True, root: Path = ROOT) -> None:
        self.folder = root / stage / key
        self.latest, self.previous = (self.folder / f"{name}.safetensors" for name in ("latest", "previous"))
        self.leads = leads
        if leads:
            self.folder.mkdir(parents=True, exist_ok=True)

    def save(self, state: dict) -> None:
        """Write `state` as a checkpoint. If writing fails, print a warning and keep the previous checkpoint."""
        if not self.leads:
            return
        tree, tensors = flatten(state)
        try:
            with written_whole(self.latest) as partial:
                save_file(separate(tensors), partial, metadata={"state": json.dumps(tree)})
                with partial.open("rb") as file:
                    os.fsync(file.fileno())
                if self.latest.exists():
                    self.latest.replace(self.previous)
        except (OSError, SafetensorError) as error:
            print(f"warning: checkpoint not written ({error}); the previous one is kept", file=sys.stderr)

    def load(self, device: torch.device) -> dict | None:
        """Return the newest undamaged state, with its tensors on `device`, or None if there is no such state."""
        for path in (self.latest, self.previous):
            if not path.exists():
                continue
            try:
                with safe_open(path, framework="pt", device=str(device)) as file:
                    tree = json.loads(file.metadata()["state"])
                    return unflatten(tree, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
            except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
                print(f"warning: {path} is damaged ({error}); trying the previous checkpoint", file=sys.stderr)
        return None
