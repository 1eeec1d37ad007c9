"""The weights that a training stage kept on its way: one `epoch_0001.safetensors` an epoch."""

from pathlib import Path

from triptych.core.errors import InputError


def snapshot_files(folder: Path) -> dict[int, Path]:
    """Each epoch whose weights were kept, in rising order, and its file.

    Raises:
        InputError: the folder holds none.
    """
    found = {int(path.stem.removeprefix("epoch_")): path for path in sorted(folder.glob("epoch_*.safetensors"))}
    if not found:
        raise InputError(f"{folder}: no weights of any epoch; `dvc repro` trains them")
    return found
