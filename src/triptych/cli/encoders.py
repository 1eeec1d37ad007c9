"""Compute features of images with a trained self-supervised encoder, and find the most similar training images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

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
SIDE = 128  # minimum pixels per side of an image in the picture of neighbours

Layer = Literal["backbone", "projector"]
Batched = TypeVar("Batched", list[Path], np.ndarray)


@dataclass(frozen=True)
class Encoder:
    """A trained encoder in eval mode on `device`. `shape` is the shape (C, H, W) of its input images."""

    network: SiameseNetwork
    shape: tuple[int, int, int]
    device: torch.device

    def features(self, images: np.ndarray, layer: Layer = "backbone") -> np.ndarray:
        """Return the output of `layer` for uint8 images (N, C, H, W), as a float32 array of shape (N, d)."""
        return encode(self.network, images, self.device, BATCH)[layer].cpu().numpy()


class Features(NamedTuple):
    """Features of N image files, as an array `values` (N, d). `skipped` maps a reason to the files skipped for it."""

    paths: list[str]
    values: np.ndarray
    skipped: dict[str, list[str]]


def encoder_folder(name: str, seed_run: int = 0) -> Path:
    """Return the folder of an encoder's training run: models/ssl/<name>, or a subfolder seed_<n> if `seed_run` > 0."""
    trained = sorted(path.parent.name for path in MODELS.glob("*/config.json"))
    if not trained:
        raise InputError(
            f"{MODELS}: no trained encoder; train one with `dvc repro ssl@simsiam`, or fetch it with "
            "`dvc pull models/ssl/simsiam`"
        )
    if name not in trained:
        raise InputError(f"{MODELS}: no encoder '{name}'{did_you_mean(name, trained)}")
    later = (path.parent for path in (MODELS / name).glob("seed_[0-9]*/config.json"))
    folders = [MODELS / name, *sorted(later, key=lambda folder: int(folder.name.removeprefix("seed_")))]
    if not 0 <= seed_run < len(folders):
        raise InputError(
            f"{MODELS / name}: no training run {seed_run}; --seed-run must be from 0 to {len(folders) - 1}"
        )
    return folders[seed_run]


def load_encoder(name: str = "simsiam", seed_run: int = 0) -> Encoder:
    """Load the encoder `name`, on a CUDA GPU if there is one. `seed_run` is the index of its training run, from 0."""
    folder, device, shape = encoder_folder(name, seed_run), choose_device("auto"), dataset_shape("ssl")
    network, config = load_model(folder, SiameseNetwork, device)
    channels = config["network"]["in_channels"]
    if channels != shape[0]:
        raise InputError(
            f"{folder}: trained on {channels}-channel images, but {DATA} has {shape[0]}-channel images; "
            f"retrain the encoder with `dvc repro ssl@{name}`"
        )
    return Encoder(network, shape, device)


def dataset_shape(dataset: str) -> tuple[int, int, int]:
    """Return the shape (C, H, W) of the images in data/<dataset>, read from its card.json or from metrics/data.json."""
    folder = Path("data") / dataset
    card = load_card(folder) if (folder / "card.json").exists() else Results().metrics("data").values[dataset]
    return tuple(card["shape"])


def list_files(paths: Sequence[Path]) -> Listing:
    """List the image files in `paths`. A folder in `paths` contains images, or one subfolder of images per class."""
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
            listing.skip(entry[0], "file name is not UTF-8")
    if not listing.images:
        raise InputError(f"{', '.join(map(str, paths))}: no images found")
    return listing


def features(encoder: Encoder, paths: Sequence[Path], layer: Layer = "backbone") -> Features:
    """Compute features of the readable images in `paths`, which contains image files and folders of images."""
    listing = list_files(paths)
    files = [path for path, _ in listing.images]
    names, values = [], []
    for batch in _batches(files):
        images, readable = read_images(batch, encoder.shape[-1], listing)
        if readable.any():
            names += [str(path) for path, fine in zip(batch, readable, strict=True) if fine]
            values.append(encoder.features(with_channels(images[readable], encoder.shape[0]), layer))
    skipped = {reason: list(map(str, paths)) for reason, paths in sorted(listing.skipped.items())}
    if not names:
        reason, unreadable = next(iter(skipped.items()))
        raise InputError(f"none of the {len(unreadable)} images can be read: {reason} (first: {unreadable[0]})")
    return Features(names, np.concatenate(values), skipped)


def _batches(items: Batched) -> Iterator[Batched]:
    with bar("encoding", len(items), "image") as progress:
        for start in range(0, len(items), BATCH):
            batch = items[start : start + BATCH]
            yield batch
            progress.update(len(batch))


def write_features(path: Path, table: Features) -> None:
    """Write features to a .parquet, .csv or .npz file. The extension of `path` selects the format.

    Tables have the columns `path`, `f0`, `f1` and so on. An .npz file has the arrays `path` and `features`.
    """
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


def neighbours(encoder: Encoder, image: Path, count: int, layer: Layer = "backbone") -> tuple[np.ndarray, list[dict]]:
    """Find the `count` training images that are most similar to `image`, by the features that `layer` selects.

    Returns a uint8 array (1 + count, C, H, W) with the image and its neighbours, and a list with one dict per
    neighbour. The dict contains `index`, `similarity` and `label`. The label is None if the dataset has no labels.
    """
    query = read_image(image, encoder.shape)[None]
    dataset = load(DATA)
    train = dataset.train
    if count > len(train.images):
        raise InputError(
            f"--count {count}: must be at most {len(train.images)}, the number of training images in {DATA}"
        )
    bank = np.concatenate([encoder.features(batch, layer) for batch in _batches(train.images)])
    similarities, indices = nearest(encoder.features(query, layer)[0], bank, count)
    labels = [dataset.classes[train.labels[index]] if dataset.labelled else None for index in indices]
    entries = [
        {"index": index, "similarity": cosine, "label": label}
        for index, cosine, label in zip(indices.tolist(), similarities.tolist(), labels, strict=True)
    ]
    return np.concatenate([query, train.images[indices]]), entries


def nearest(query: np.ndarray, bank: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cosine similarities and indices of the `count` rows of `bank` that are most similar to `query`.

    `bank` has shape (N, d), and `query` has shape (d,). The most similar row comes first. Ties are in order of index.
    """
    directions = functional.normalize(torch.from_numpy(bank), dim=1)
    cosines = directions @ functional.normalize(torch.from_numpy(query), dim=0)
    similarities, indices = cosines.clamp(-1, 1).sort(descending=True, stable=True)
    return similarities[:count].numpy(), indices[:count].numpy()


def neighbours_picture(images: np.ndarray) -> np.ndarray:
    """Return a uint8 picture (height, width, 3) that shows images (N, C, H, W) enlarged and in one row."""
    factor = -(-SIDE // images.shape[-1])
    return grid(images.repeat(factor, axis=2).repeat(factor, axis=3), columns=len(images))
