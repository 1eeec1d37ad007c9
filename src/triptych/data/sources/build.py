"""Where images come from: each source that params.yaml can name, in the one form of `triptych.data.storage`."""

from dataclasses import replace

import numpy as np
import torch

from triptych.data.sources import arrays, folder, public, streetdigits
from triptych.data.sources.params import PADDED, SMALL, Folder, Source, StreetDigits, Torchvision
from triptych.data.storage import SPLITS, Dataset, Split, validate
from triptych.machine.randomness import generator


def build(params: Source, seed: int) -> Dataset:
    """The dataset that `params` describe. Images that are not drawn here are shuffled.

    Many a source has its classes one after another; so shuffled, the first images of a split are as good as any.

    Args:
        params: one source of the `data` section.
        seed: decides what is drawn, which images a subset keeps, and the order.

    Raises:
        InputError: anything wrong with the data; one line that names the file and what is wrong with it.
    """
    if isinstance(params, StreetDigits):
        dataset, where = _drawn(params, seed), params.name
        validate(dataset, least_images=1, where=where)
        return dataset
    if isinstance(params, Torchvision):
        dataset, where = public.opened(params, seed), f"{params.root} ({params.name})"
    elif isinstance(params, Folder):
        dataset, where = folder.opened(params), params.root
    else:
        dataset, where = arrays.opened(params), params.root
    validate(dataset, least_images=1, where=where)
    return _shuffled(_padded(dataset), seed)


def _drawn(params: StreetDigits, seed: int) -> Dataset:
    train = Split(*streetdigits.draw(params.train, seed, "train", params))
    test = Split(*streetdigits.draw(params.test, seed, "test", params))
    return Dataset(
        train,
        test,
        classes=streetdigits.CLASSES,
        source=f"drawn by triptych.data.sources.streetdigits, seed {seed}",
        licence="free; the glyphs are from the free fonts that matplotlib ships (DejaVu, STIX, Computer Modern)",
        name=params.name,
    )


def _shuffled(dataset: Dataset, seed: int) -> Dataset:
    """The images of each split in an order of chance, a function of the seed and their number."""

    def shuffled(name: str, split: Split) -> Split:
        order = torch.randperm(len(split.images), generator=generator("cpu", seed, "order of images", name)).numpy()
        return Split(split.images[order], split.labels[order])

    return replace(dataset, **{name: shuffled(name, getattr(dataset, name)) for name in SPLITS})


def _padded(dataset: Dataset) -> Dataset:
    """Images of SMALL pixels a side framed by their own border pixels; others as they are."""
    if dataset.train.images.shape[-1] != SMALL:
        return dataset
    by = (PADDED - SMALL) // 2

    def framed(split: Split) -> Split:
        return Split(np.pad(split.images, ((0, 0), (0, 0), (by, by), (by, by)), mode="edge"), split.labels)

    said = f"{dataset.source}; framed from {SMALL} x {SMALL} to {PADDED} x {PADDED} by its border pixels"
    return replace(dataset, **{name: framed(getattr(dataset, name)) for name in SPLITS}, source=said)
