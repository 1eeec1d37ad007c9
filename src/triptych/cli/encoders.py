"""A trained encoder of the third study on a user's own images: features, one row for each image."""

import difflib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from triptych.cli.progress import bar
from triptych.core.errors import InputError
from triptych.core.files import write_arrays, written_whole
from triptych.data.sources.folder import Listed, list_images, read_images
from triptych.data.storage import load_card
from triptych.machine.device import choose_device
from triptych.nn.weights import load_model
from triptych.report.reader import Results
from triptych.ssl.probe import encode
from triptych.ssl.shared.network import SiameseNetwork

MODELS, DATA = Path("models/ssl"), Path("data/ssl")
LAYERS = ("backbone", "projector")
ENDINGS = (".parquet", ".csv", ".npz")
BATCH = 256  # images at once; bounds the memory


@dataclass(frozen=True)
class Encoder:
    """A trained encoder.

    Attributes:
        network: in eval mode, on the device.
        shape: (C, H, W) of the images that it was trained on.
        device: where it computes, in float32.
    """

    network: SiameseNetwork
    shape: tuple[int, int, int]
    device: torch.device

    def features(self, images: np.ndarray, layer: str) -> np.ndarray:
        """(N, d) float32 of uint8 images (N, C, H, W): those of the backbone, or the output of the projector."""
        return encode(self.network, images, self.device, BATCH)[layer].cpu().numpy()

    def features_of_many(self, images: np.ndarray, layer: str) -> np.ndarray:
        """The same of images that may be memory-mapped, with a progress bar."""
        parts = []
        with bar("encoding", len(images), "image") as progress:
            for start in range(0, len(images), BATCH):
                parts.append(self.features(images[start : start + BATCH], layer))
                progress.update(len(parts[-1]))
        return np.concatenate(parts)

    def fitted(self, images: np.ndarray) -> np.ndarray:
        """RGB images (N, 3, H, W) in the channels that the encoder takes: as they are, or Pillow's grey levels."""
        if self.shape[0] == 3:
            return images
        grey = [np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L")) for image in images]
        return np.stack(grey)[:, None]


@dataclass(frozen=True)
class Features:
    """Features of N images. paths: of each; values: (N, d) float32; left_out: reason -> files."""

    paths: list[str]
    values: np.ndarray
    left_out: dict[str, list[str]]


# --- which encoder ---


def encoder_folders(name: str) -> list[Path]:
    """Where the encoders of a variant lie, one a seed: the first in the variant's folder, the others below it.

    Raises:
        InputError: there is no such variant.
    """
    trained = sorted(path.parent.name for path in MODELS.glob("*/config.json"))
    if not trained:
        raise InputError(
            f"{MODELS}: no encoder yet; `dvc repro ssl@simsiam` trains one, `dvc pull models/ssl/simsiam` fetches it"
        )
    if name not in trained:
        near = difflib.get_close_matches(name, trained, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise InputError(f"{MODELS}: no encoder '{name}'{hint} (here are {', '.join(trained)})")
    further = (MODELS / name).glob("seed_[0-9]*/config.json")
    return [
        MODELS / name,
        *sorted((path.parent for path in further), key=lambda path: int(path.name.removeprefix("seed_"))),
    ]


def trained_encoder(name: str, seed_run: int = 0) -> Encoder:
    """The encoder of a variant, on a GPU where there is one.

    Args:
        name: of the variant in ssl.variants.
        seed_run: which of its trainings, counted from 0.

    Raises:
        InputError: there is no such variant or training, its files are missing or damaged, or it was trained on images
            of other channels than those that are here.
    """
    folders = encoder_folders(name)
    if not 0 <= seed_run < len(folders):
        raise InputError(f"{MODELS / name}: no training {seed_run}; there are 0 to {len(folders) - 1}")
    device, shape = choose_device("auto"), dataset_shape("ssl")
    network, config = load_model(folders[seed_run], SiameseNetwork, device)
    if config["network"]["in_channels"] != shape[0]:
        raise InputError(
            f"{MODELS / name}: trained on images of {config['network']['in_channels']} channels, and those of {DATA} "
            f"have {shape[0]}; `dvc repro ssl@{name}` trains it on these"
        )
    return Encoder(network, shape, device)


def dataset_shape(dataset: str) -> tuple[int, int, int]:
    """(C, H, W) of the images in data/<dataset>, from the card beside them, else from the one among the metrics.

    Raises:
        InputError: neither is there.
    """
    folder = Path("data") / dataset
    card = load_card(folder) if (folder / "card.json").exists() else Results().metrics("data").values[dataset]
    channels, height, width = card["shape"]
    return channels, height, width


# --- which images ---


def listed_images(given: Sequence[Path]) -> Listed:
    """The images among files and below folders, in the order in which they are given.

    A folder holds images, or folders of them; see `making.folder.list_images`.

    Raises:
        InputError: a path does not exist, a folder is refused, or there is no image.
    """
    listed = Listed()
    for path in given:
        if path.is_dir():
            below = list_images(path)
            listed.images += below.images
            for reason, files in below.left_out.items():
                listed.left_out.setdefault(reason, []).extend(files)
        elif path.exists():
            listed.images.append((path, ""))
        else:
            raise InputError(f"{path}: no such file or folder")
    spelt = [(path, name) for path, name in listed.images if _is_text(path)]
    for path in (path for path, _ in listed.images if not _is_text(path)):
        listed.leave_out(path, "its name is not UTF-8")
    listed.images = spelt
    if not listed.images:
        raise InputError(f"{', '.join(map(str, given))}: no images")
    return listed


def _is_text(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def features(encoder: Encoder, given: Sequence[Path], layer: str = "backbone") -> Features:
    """Features of every image that can be read, with a progress bar.

    Args:
        encoder: any.
        given: images, and folders of them.
        layer: one of LAYERS.

    Raises:
        InputError: see `listed_images`; or no image can be read.
    """
    listed = listed_images(given)
    paths, values = [], []
    for part, images in _read(encoder, listed):
        paths += part
        values.append(encoder.features(images, layer))
    left_out = {reason: list(map(str, files)) for reason, files in sorted(listed.left_out.items())}
    if not paths:
        reason, files = next(iter(left_out.items()))
        raise InputError(f"no image that can be read: {len(files)}, {reason}, {files[0]} among them")
    return Features(paths, np.concatenate(values), left_out)


def _read(encoder: Encoder, listed: Listed) -> Iterator[tuple[list[str], np.ndarray]]:
    """(paths, images) batch by batch; those that cannot be read are left out."""
    files = [path for path, _ in listed.images]
    with bar("encoding", len(files), "image") as progress:
        for start in range(0, len(files), BATCH):
            part = files[start : start + BATCH]
            images, good = read_images(part, encoder.shape[-1], listed)
            if good.any():
                yield [str(path) for path, fine in zip(part, good, strict=True) if fine], encoder.fitted(images[good])
            progress.update(len(part))


# --- the table ---


def refuse_output(path: Path, endings: Sequence[str], force: bool) -> None:
    """Refuses a file that cannot be written, before any work.

    Raises:
        InputError: it ends otherwise than in one of `endings`, is a folder, lies where none can be made, or is there
            already, unless it may be replaced by `force`.
    """
    if path.suffix.lower() not in endings:
        raise InputError(f"{path}: unknown ending; allowed are {', '.join(endings)}")
    if path.is_dir():
        raise InputError(f"{path}: a folder; name a file in it")
    if path.exists() and not force:
        raise InputError(f"{path}: exists already; --force replaces it, --out names another place")
    refuse_place(path)


def refuse_place(path: Path) -> None:
    """Refuses a path at which nothing can be made.

    Raises:
        InputError: the nearest thing above it that exists is no folder, or one that cannot be written to.
    """
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise InputError(f"{path}: cannot be made, {above} is {'read-only' if above.is_dir() else 'no folder'}")


def write_features(path: Path, found: Features) -> None:
    """Writes a table with the columns path, f0, f1, …; as .npz the arrays `path` (N,) and `features` (N, d).

    What is there is replaced.

    Raises:
        InputError: see `refuse_output`.
    """
    refuse_output(path, ENDINGS, force=True)
    if path.suffix.lower() == ".npz":
        write_arrays(path, {"path": np.array(found.paths), "features": found.values})
        return
    import pandas as pd

    table = pd.DataFrame(found.values, columns=[f"f{number}" for number in range(found.values.shape[1])])
    table.insert(0, "path", found.paths)
    with written_whole(path) as partial:
        if path.suffix.lower() == ".csv":
            table.to_csv(partial, index=False)
        else:
            table.to_parquet(partial, index=False)
