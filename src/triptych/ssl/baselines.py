"""What classifies the test images without any training: pixels, and the encoder at its random start.

A method has learned something when it is clearly above all of them.
"""

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from triptych.core.seeds import fold
from triptych.data.storage import Dataset
from triptych.machine.processes import run_parts
from triptych.measures import needs
from triptych.measures.params import EvaluationParams
from triptych.nn.backbones import build_backbone, standardised
from triptych.nn.params import BackboneParams
from triptych.ssl.probe import PROBE_ITERATIONS
from triptych.ssl.representation import backbone_features, knn_correct, linear_correct
from triptych.training.objective import to_float

# Of LBFGS on thousands of pixels, where the optimum is minutes away. Stopping early does not belittle pixels: on the
# default's images their accuracy falls on the way, from 13.6 % after 20 iterations to 12.0 % after 100.
PIXEL_ITERATIONS = 50
NORM_IMAGES = 2000  # training images, or all if there are fewer, of which batch norm takes its statistics


def measure_baselines(
    backbone: BackboneParams,
    seeds: range,
    dataset: Dataset,
    settings: EvaluationParams,
    device: torch.device,
    at_once: int = 1,
) -> dict[str, np.ndarray]:
    """All of them by name, e.g. `pixel_knn_correct`: (seeds, N) whether each test image is classified rightly.

    What no seed changes has one row. Without two classes there is nothing. On a CPU, `at_once` are measured side by
    side.
    """
    if needs.two_classes(dataset):
        return {}
    received = partial(pixel_hits, "pixel", getattr(backbone, "standardise", False), dataset, settings, device)
    raw = partial(pixel_hits, "raw_pixel", False, dataset, settings, device)
    parts = {"pixels": received, "raw pixels": raw}
    parts |= {f"seed {seed}": partial(untrained_hits, backbone, seed, dataset, settings, device) for seed in seeds}
    as_received, as_they_are, *untrained = run_parts("ssl_baselines", parts, at_once).values()
    return {key: hits[None] for key, hits in (as_they_are | as_received).items()} | {
        key: np.stack([hits[key] for hits in untrained]) for key in untrained[0]
    }


def pixel_hits(
    name: str, standardise: bool, dataset: Dataset, settings: EvaluationParams, device: torch.device
) -> dict[str, np.ndarray]:
    """Which test images are classified rightly by pixels: as they are, or standardised as the encoder receives them.

    Each (N,), and its name begins with `name`.
    """
    splits = [to_float(torch.from_numpy(np.array(split.images)).to(device)) for split in (dataset.train, dataset.test)]
    pixels = [(standardised(images) if standardise else images).flatten(1) for images in splits]
    found = _classified(*pixels, dataset, settings, PIXEL_ITERATIONS)
    return {f"{name}_{key}": hits for key, hits in found.items()}


def untrained_hits(
    backbone: BackboneParams, seed: int, dataset: Dataset, settings: EvaluationParams, device: torch.device
) -> dict[str, np.ndarray]:
    """The same by the encoder at the weights from which the training of a seed starts; each (N,).

    Its batch norm has the statistics of training images. With their initial values, which are those of no image, it
    would not be the function that training starts from, and this floor would be too low.
    """
    network = untrained_encoder(backbone, dataset.train.images.shape[1], seed)
    network.to(device, memory_format=torch.channels_last)
    estimate_norm(network, torch.from_numpy(np.array(dataset.train.images[:NORM_IMAGES])).to(device), settings)
    splits = (dataset.train, dataset.test)
    train, test = (backbone_features(network, split.images, device, settings.batch_size) for split in splits)
    return {f"random_init_{key}": hits for key, hits in _classified(train, test, dataset, settings).items()}


def untrained_encoder(backbone: BackboneParams, in_channels: int, seed: int) -> nn.Module:
    """The encoder with its weights before the first step of a seed's training."""
    torch.manual_seed(fold(seed, "weights"))
    return build_backbone(in_channels=in_channels, **backbone.model_dump())


@torch.no_grad()
def estimate_norm(network: nn.Module, images: Tensor, settings: EvaluationParams) -> None:
    """Sets the running statistics of batch norm to their mean over batches of uint8 images (N, C, H, W)."""
    torch.optim.swa_utils.update_bn([to_float(part) for part in images.split(settings.batch_size)], network)


def _classified(
    train: Tensor, test: Tensor, dataset: Dataset, settings: EvaluationParams, iterations: int = PROBE_ITERATIONS
) -> dict[str, np.ndarray]:
    return {
        "knn_correct": knn_correct(train, test, dataset, settings.ssl.knn),
        "linear_correct": linear_correct(train, test, dataset, settings.ssl.probe_penalty, iterations),
    }
