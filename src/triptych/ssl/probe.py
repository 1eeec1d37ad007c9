"""Classification by frozen features: nearest neighbours, a linear probe, and baselines that need no training.

The field's linear probe is trained by SGD (He et al. 2020, arXiv:1911.05722, section 4.1). The problem is convex, and a
small penalty makes its optimum unique, so L-BFGS finds it without learning rate, schedule or seed. Features are
standardised by the train set, so that the penalty has the same meaning at any scale, and not augmented.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.nn import functional

from triptych.core.seeds import fold
from triptych.data.storage import Dataset
from triptych.machine.processes import run_parts
from triptych.measures import needs
from triptych.measures.neighbours import knn_classes
from triptych.measures.params import EvaluationParams, KNNParams
from triptych.nn.backbones import build_backbone
from triptych.nn.fast.norm import standardised
from triptych.nn.params import BackboneParams
from triptych.ssl.shared.network import SiameseNetwork
from triptych.training.objective import to_float

PROBE_ITERATIONS = 1000  # upper limit; features of an encoder reach their optimum in far fewer
# Limit on raw pixels, where the optimum takes minutes. It does not understate them: on the default images accuracy
# falls from 13.6 % after 20 iterations to 12.0 % after 100.
PIXEL_ITERATIONS = 50
NORM_IMAGES = 2000  # training images for the batch norm statistics of an untrained encoder

CLASSIFIERS = ("knn", "linear")
# Features that need no training: raw pixels, pixels as the encoder receives them, and the encoder's random start.
UNTRAINED = ("raw_pixel", "pixel", "random_init")
BASELINES = tuple(f"{features}_{classifier}" for features in UNTRAINED for classifier in CLASSIFIERS)


def in_float64(x: Tensor) -> Tensor:
    return x.detach().to("cpu" if x.device.type == "mps" else x.device, torch.float64)


# --- Features ---


@torch.inference_mode()
def encode(network: SiameseNetwork, images: np.ndarray, device: torch.device, batch_size: int) -> dict[str, Tensor]:
    """Return features (N, d), "backbone", and embeddings (N, dim), "projector", of uint8 images in eval mode."""
    network.eval()
    backbone = backbone_features(network.backbone, images, device, batch_size)
    projector = [network.projector(rows).float() for rows in backbone.split(batch_size)]
    return {"backbone": backbone, "projector": torch.cat(projector)}


@torch.inference_mode()
def backbone_features(backbone: nn.Module, images: np.ndarray, device: torch.device, batch_size: int) -> Tensor:
    backbone.eval()
    starts = range(0, len(images), batch_size)
    batches = (torch.as_tensor(np.array(images[start : start + batch_size])).to(device) for start in starts)
    return torch.cat([backbone(to_float(batch)).float() for batch in batches])


# --- Classifiers: features (…, d) of training and test images -> (N,) True where a test image is correct ---


def knn_correct(train: Tensor, test: Tensor, dataset: Dataset, knn: KNNParams) -> np.ndarray:
    labels = torch.from_numpy(np.array(dataset.train.labels))
    predicted = knn_classes(test, train, labels, knn.neighbours, knn.temperature)
    return predicted.cpu().numpy() == np.asarray(dataset.test.labels)


def linear_correct(
    train: Tensor, test: Tensor, dataset: Dataset, penalty: float, iterations: int = PROBE_ITERATIONS
) -> np.ndarray:
    labels = torch.from_numpy(np.array(dataset.train.labels))
    predicted = fit_probe(train, labels, penalty, iterations).classes(test)
    return predicted.cpu().numpy() == np.asarray(dataset.test.labels)


@dataclass(frozen=True)
class LinearProbe:
    """Linear classifier of standardised features: weights theta (d + 1, classes), the last row the bias."""

    mean: Tensor
    scale: Tensor
    theta: Tensor

    def classes(self, features: Tensor) -> Tensor:
        x = with_bias((in_float64(features).to(self.mean.device) - self.mean) / self.scale)
        return (x @ self.theta).argmax(dim=1)


def with_bias(x: Tensor) -> Tensor:
    return torch.cat([x, x.new_ones(len(x), 1)], dim=1)


@torch.no_grad()
def fit_probe(
    features: Tensor, labels: Tensor, penalty: float, iterations: int = PROBE_ITERATIONS, tolerance: float = 1e-6
) -> LinearProbe:
    """Minimise mean cross-entropy + penalty / 2 ‖weights‖², the bias unpenalised, by L-BFGS in float64.

    Images of class -1 are ignored. The penalty is 1 / (C N) in scikit-learn's terms. L-BFGS stops if no entry of the
    gradient exceeds the tolerance.
    """
    if not penalty > 0:
        raise ValueError(f"penalty = {penalty} must be positive: without it separable classes have no optimum")
    x = in_float64(features)
    labels = labels.to(x.device, torch.int64)
    # Indexing copies, so x can be standardised in place: pixels of many images take gigabytes.
    x, labels = x[labels >= 0], labels[labels >= 0]
    if not len(x):
        raise ValueError("no image is labelled, so there is nothing to fit")
    if not bool(torch.isfinite(x).all()):
        raise ValueError("features hold values that are not finite")

    mean, std = x.mean(dim=0), x.std(dim=0, correction=0)
    # A spread that is only float32 rounding would be blown up to noise of size 1: an infinite scale silences it.
    rounding = torch.finfo(torch.float32).eps * torch.linalg.vector_norm(x, ord=torch.inf, dim=0)
    scale = torch.where(std > rounding, std, torch.inf)
    x = with_bias(x.sub_(mean).div_(scale))
    shape = (x.shape[1], int(labels.max()) + 1)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        # The gradient by hand: features are made in inference mode, which autograd refuses.
        theta = torch.from_numpy(flat).to(x.device).view(shape)
        log_p = functional.log_softmax(x @ theta, dim=1)
        weights = theta.clone()
        weights[-1] = 0
        loss = functional.nll_loss(log_p, labels) + penalty / 2 * weights.square().sum()
        residual = log_p.exp() - functional.one_hot(labels, shape[1])
        gradient = x.T @ residual / len(x) + penalty * weights
        return float(loss), gradient.flatten().cpu().numpy()

    limits = {"maxiter": iterations, "maxfun": 2 * iterations, "gtol": tolerance, "ftol": 0.0, "maxcor": 20}
    optimum = minimize(objective, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options=limits)
    return LinearProbe(mean, scale, torch.from_numpy(optimum.x).to(x.device).view(shape))


# --- Baselines ---


def measure_baselines(
    backbone: BackboneParams,
    seeds: range,
    dataset: Dataset,
    settings: EvaluationParams,
    device: torch.device,
    at_once: int = 1,
) -> dict[str, np.ndarray]:
    """Return (seeds, N) booleans per entry of BASELINES, True where a test image is correct; {} without two classes.

    Baselines on pixels have one row, as no seed changes them.
    """
    if needs.two_classes(dataset):
        return {}
    standardise = getattr(backbone, "standardise", False)
    tasks = {
        "pixels": partial(pixels_correct, standardise, dataset, settings, device),
        "raw pixels": partial(pixels_correct, False, dataset, settings, device),
        **{f"seed {seed}": partial(untrained_correct, backbone, seed, dataset, settings, device) for seed in seeds},
    }
    pixels, raw_pixels, *untrained = run_parts("ssl_baselines", tasks, at_once).values()
    runs = dict(zip(UNTRAINED, ([raw_pixels], [pixels], untrained), strict=True))
    return {
        f"{features}_{classifier}": np.stack([run[classifier] for run in runs[features]])
        for features in UNTRAINED
        for classifier in CLASSIFIERS
    }


def pixels_correct(
    standardise: bool, dataset: Dataset, settings: EvaluationParams, device: torch.device
) -> dict[str, np.ndarray]:
    splits = [to_float(torch.from_numpy(np.array(split.images)).to(device)) for split in (dataset.train, dataset.test)]
    pixels = [(standardised(images) if standardise else images).flatten(1) for images in splits]
    return _both_correct(*pixels, dataset, settings, PIXEL_ITERATIONS)


def untrained_correct(
    backbone: BackboneParams, seed: int, dataset: Dataset, settings: EvaluationParams, device: torch.device
) -> dict[str, np.ndarray]:
    encoder = untrained_encoder(backbone, seed, dataset, settings.batch_size, device)
    splits = (dataset.train, dataset.test)
    features = [backbone_features(encoder, split.images, device, settings.batch_size) for split in splits]
    return _both_correct(*features, dataset, settings, PROBE_ITERATIONS)


@torch.no_grad()
def untrained_encoder(
    backbone: BackboneParams, seed: int, dataset: Dataset, batch_size: int, device: torch.device
) -> nn.Module:
    """Return the encoder as it is before a seed's first step, its batch norm with statistics of training images.

    With the initial statistics it would not be the function that training starts from, and the baseline too low.
    """
    torch.manual_seed(fold(seed, "weights"))
    encoder = build_backbone(in_channels=dataset.train.images.shape[1], **backbone.model_dump())
    encoder.to(device, memory_format=torch.channels_last)
    images = torch.from_numpy(np.array(dataset.train.images[:NORM_IMAGES])).to(device)
    torch.optim.swa_utils.update_bn([to_float(batch) for batch in images.split(batch_size)], encoder)
    return encoder


def _both_correct(
    train: Tensor, test: Tensor, dataset: Dataset, settings: EvaluationParams, iterations: int
) -> dict[str, np.ndarray]:
    return {
        "knn": knn_correct(train, test, dataset, settings.ssl.knn),
        "linear": linear_correct(train, test, dataset, settings.ssl.probe_penalty, iterations),
    }
