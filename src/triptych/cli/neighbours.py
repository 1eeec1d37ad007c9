"""The training images nearest to an image in the features of a trained encoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch.nn import functional

from triptych.cli.encoders import DATA, Encoder
from triptych.core.errors import InputError
from triptych.core.files import written_whole
from triptych.data.sources.folder import read_image
from triptych.data.storage import load

SIDE = 128  # pixels of a shown image, at least
GAP, CAPTION = 8, 22  # pixels between images, and below each for its words
LETTERS = 11  # of a class's name that fit beside the similarity


@dataclass(frozen=True)
class Neighbour:
    """A training image: its index, its cosine similarity to the query, and its class, None without labels."""

    index: int
    similarity: float
    label: str | None


@dataclass(frozen=True)
class Found:
    """The nearest first. query: (C, H, W) uint8 as the encoder sees it; images: (count, C, H, W) uint8."""

    query: np.ndarray
    neighbours: list[Neighbour]
    images: np.ndarray


def neighbours(encoder: Encoder, image: Path, count: int, layer: str = "backbone") -> Found:
    """The `count` training images of the third study that are nearest to an image.

    Raises:
        InputError: the image cannot be read, the dataset is missing, or it holds fewer images.
    """
    try:
        query = encoder.fitted(read_image(image, encoder.shape[-1])[None])
    except InputError as reason:
        raise InputError(f"{image}: {reason if image.exists() else 'no such file'}") from None
    dataset = load(DATA)
    train = dataset.train
    if count > len(train.images):
        raise InputError(f"--count is {count}; {DATA} holds {len(train.images)} training images")
    similarities, indices = nearest(
        encoder.features(query, layer)[0], encoder.features_of_many(train.images, layer), count
    )
    names = [dataset.classes[train.labels[index]] if dataset.labelled else None for index in indices]
    found = [
        Neighbour(int(index), float(similarity), name)
        for index, similarity, name in zip(indices, similarities, names, strict=True)
    ]
    return Found(query[0], found, np.array(train.images[indices]))


def nearest(query: np.ndarray, bank: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosine similarities and indices, both (count,), of the rows of a bank (N, d) nearest to a query (d,).

    Of equally near rows the first is the nearer.
    """
    directions = functional.normalize(torch.from_numpy(bank), dim=1)
    cosines = directions @ functional.normalize(torch.from_numpy(query), dim=0)
    similarities, indices = cosines.clamp(-1, 1).sort(descending=True, stable=True)
    return similarities[:count].numpy(), indices[:count].numpy()


def draw(path: Path, found: Found) -> None:
    """Writes a PNG: the query at the left, then its neighbours, each over its class and similarity."""
    names = [(one.label or "")[:LETTERS] for one in found.neighbours]
    words = [f"{name} {one.similarity:.3f}".strip() for name, one in zip(names, found.neighbours, strict=True)]
    picture = _strip([found.query, *found.images], ["query", *words])
    with written_whole(path) as partial:
        picture.save(partial, format="PNG")


def _strip(images: Sequence[np.ndarray], captions: Sequence[str]) -> Image.Image:
    """Images (C, H, W) side by side, enlarged by a whole factor, each over its caption."""
    channels, height, width = images[0].shape
    scale = -(-SIDE // width)
    step = width * scale + GAP
    strip = Image.new("RGB", (len(images) * step + GAP, height * scale + 2 * GAP + CAPTION), "white")
    pen = ImageDraw.Draw(strip)
    for number, (image, caption) in enumerate(zip(images, captions, strict=True)):
        pixels = np.broadcast_to(image.transpose(1, 2, 0), (height, width, 3))
        shown = Image.fromarray(np.ascontiguousarray(pixels)).resize(
            (width * scale, height * scale), Image.Resampling.NEAREST
        )
        left = GAP + number * step
        strip.paste(shown, (left, GAP))
        pen.text((left, height * scale + GAP + 4), caption, fill="black", font_size=13)
    return strip
