"""Trained encoders of the third study: features of a user's images, and the nearest training images.

Functions other than `write_features` return arrays and write no files.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from torch.nn import functional

from triptych.cli.images import bar, read_image, with_channels
from triptych.core.errors import InputError
from triptych.core.files import write_arrays, written_whole
from triptych.core.schema import nearest as did_you_mean
from triptych.data.sources.folder import Listing, list_images, read_images
from triptych.data.storage import load, load_card
from triptych.machine.device import choose_device
from triptych.nn.weights import load_model
from triptych.report.drawing import grid
from triptych.report.reader import Results
from triptych.ssl.probe import encode
from triptych.ssl.shared.network import SiameseNetwork

MODELS, DATA = Path("models/ssl"), Path("data/ssl")
ENDINGS = (".parquet", ".csv", ".npz")
BATCH = 256
SIDE = 128  # least pixels per side of an image in the picture of neighbours

Layer = Literal["backbone", "projector"]
Batched = TypeVar("Batched", list[Path], np.ndarray)


@dataclass(frozen=True)
class Encoder:
    """A trained encoder in eval mode on `device`, and (C, H, W) of the images that it takes."""

    network: SiameseNetwork
    shape: tuple[int, int, int]
    device: torch.device

    def features(self, images: np.ndarray, layer: Layer = "backbone") -> np.ndarray:
        """Return (N, d) float32 features of uint8 images (N, C, H, W)."""
        return encode(self.network, images, self.device, BATCH)[layer].cpu().numpy()


@dataclass(frozen=True)
class Features:
    """Features (N, d) float32 of N image files; left_out: reason -> files."""

    paths: list[str]
    values: np.ndarray
    left_out: dict[str, list[str]]


@dataclass(frozen=True)
class Neighbour:
    """A training image: index, cosine similarity to the query, and class (None without labels)."""

    index: int
    similarity: float
    label: str | None


def encoder_folder(name: str, seed_run: int = 0) -> Path:
    """Return the folder of an encoder: the first training of a variant is in its folder, others are in seed_<n>."""
    trained = sorted(path.parent.name for path in MODELS.glob("*/config.json"))
    if not trained:
        raise InputError(
            f"{MODELS}: no encoder yet; `dvc repro ssl@simsiam` trains one, `dvc pull models/ssl/simsiam` fetches it"
        )
    if name not in trained:
        raise InputError(f"{MODELS}: no encoder '{name}'{did_you_mean(name, trained)}")
    further = (path.parent for path in (MODELS / name).glob("seed_[0-9]*/config.json"))
    folders = [MODELS / name, *sorted(further, key=lambda folder: int(folder.name.removeprefix("seed_")))]
    if not 0 <= seed_run < len(folders):
        raise InputError(f"{MODELS / name}: no training run {seed_run}; valid values are 0 to {len(folders) - 1}")
    return folders[seed_run]


def load_encoder(name: str = "simsiam", seed_run: int = 0) -> Encoder:
    """Load the encoder of a variant, on a GPU if there is one; `seed_run` counts its trainings from 0."""
    folder, device, shape = encoder_folder(name, seed_run), choose_device("auto"), dataset_shape("ssl")
    network, config = load_model(folder, SiameseNetwork, device)
    channels = config["network"]["in_channels"]
    if channels != shape[0]:
        raise InputError(
            f"{MODELS / name}: trained on {channels}-channel images, but {DATA} has {shape[0]}-channel images; "
            f"`dvc repro ssl@{name}` trains it on these"
        )
    return Encoder(network, shape, device)


def dataset_shape(dataset: str) -> tuple[int, int, int]:
    """Return (C, H, W) of the images in data/<dataset>, from their card or from metrics/data.json."""
    folder = Path("data") / dataset
    card = load_card(folder) if (folder / "card.json").exists() else Results().metrics("data").values[dataset]
    channels, height, width = card["shape"]
    return channels, height, width


def list_files(paths: Sequence[Path]) -> Listing:
    """List images in the given order; a folder holds images or folders of them."""
    listing = Listing()
    for path in paths:
        if path.is_dir():
            below = list_images(path)
            listing.images += below.images
            for reason, files in below.skipped.items():
                listing.skipped.setdefault(reason, []).extend(files)
        elif path.exists():
            listing.images.append((path, ""))
        else:
            raise InputError(f"{path}: no such file or folder")
    for entry in list(listing.images):
        try:
            str(entry[0]).encode()
        except UnicodeEncodeError:
            listing.images.remove(entry)
            listing.skip(entry[0], "its name is not UTF-8")
    if not listing.images:
        raise InputError(f"{', '.join(map(str, paths))}: no images")
    return listing


def features(encoder: Encoder, paths: Sequence[Path], layer: Layer = "backbone") -> Features:
    """Return features of every readable image among files and folders."""
    listing = list_files(paths)
    files = [path for path, _ in listing.images]
    names, values = [], []
    for batch in _batches(files):
        images, readable = read_images(batch, encoder.shape[-1], listing)
        if readable.any():
            names += [str(path) for path, fine in zip(batch, readable, strict=True) if fine]
            values.append(encoder.features(with_channels(images[readable], encoder.shape[0]), layer))
    left_out = {reason: list(map(str, paths)) for reason, paths in sorted(listing.skipped.items())}
    if not names:
        reason, unreadable = next(iter(left_out.items()))
        raise InputError(f"none of the {len(unreadable)} images can be read: {reason} (first: {unreadable[0]})")
    return Features(names, np.concatenate(values), left_out)


def _batches(items: Batched) -> Iterator[Batched]:
    """Yield BATCH items at a time and show progress."""
    with bar("encoding", len(items), "image") as progress:
        for start in range(0, len(items), BATCH):
            batch = items[start : start + BATCH]
            yield batch
            progress.update(len(batch))


def write_features(path: Path, table: Features) -> None:
    """Write columns path, f0, f1, … (.parquet, .csv), or arrays `path` (N,) and `features` (N, d) (.npz)."""
    if path.suffix.lower() == ".npz":
        write_arrays(path, {"path": np.array(table.paths), "features": table.values})
        return
    import pandas as pd

    frame = pd.DataFrame(table.values, columns=[f"f{number}" for number in range(table.values.shape[1])])
    frame.insert(0, "path", table.paths)
    with written_whole(path) as partial:
        if path.suffix.lower() == ".csv":
            frame.to_csv(partial, index=False)
        else:
            frame.to_parquet(partial, index=False)


def neighbours(
    encoder: Encoder, image: Path, count: int, layer: Layer = "backbone"
) -> tuple[np.ndarray, list[Neighbour]]:
    """Return an image as the encoder sees it and the nearest training images, uint8 (1 + count, C, H, W)."""
    query = read_image(image, encoder.shape)[None]
    dataset = load(DATA)
    train = dataset.train
    if count > len(train.images):
        raise InputError(f"--count is {count}; {DATA} holds {len(train.images)} training images")
    bank = np.concatenate([encoder.features(batch, layer) for batch in _batches(train.images)])
    similarities, indices = nearest(encoder.features(query, layer)[0], bank, count)
    found = [
        Neighbour(int(index), float(cosine), dataset.classes[train.labels[index]] if dataset.labelled else None)
        for cosine, index in zip(similarities, indices, strict=True)
    ]
    return np.concatenate([query, train.images[indices]]), found


def nearest(query: np.ndarray, bank: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return cosine similarities and indices, both (count,), of the rows of `bank` (N, d) nearest to `query` (d,).

    Of rows at equal distance the first comes first.
    """
    directions = functional.normalize(torch.from_numpy(bank), dim=1)
    cosines = directions @ functional.normalize(torch.from_numpy(query), dim=0)
    similarities, indices = cosines.clamp(-1, 1).sort(descending=True, stable=True)
    return similarities[:count].numpy(), indices[:count].numpy()


def neighbours_picture(images: np.ndarray) -> np.ndarray:
    """Return one picture (height, width, 3) of the query and its neighbours, enlarged by a whole factor."""
    factor = -(-SIDE // images.shape[-1])
    return grid(images.repeat(factor, axis=2).repeat(factor, axis=3), columns=len(images))
