"""Classification of frozen features by nearest neighbours and linear probes, and baselines without a trained encoder.

Linear probes are usually trained by SGD (He et al. 2020, arXiv:1911.05722, section 4.1). Here, they are fitted by
L-BFGS, because the problem is convex. A small penalty makes the optimum unique, so that no learning rate, schedule or
seed is needed. Images are not augmented. Features are standardised, so that the penalty does not depend on their scale.
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
from triptych.machine.tasks import run_tasks
from triptych.measures import needs
from triptych.measures.images import float_batches, in_float64
from triptych.measures.neighbours import knn_classes
from triptych.measures.params import EvaluationParams, KNNParams
from triptych.nn.backbones import build_backbone
from triptych.nn.fast.norm import standardised
from triptych.nn.params import BackboneParams
from triptych.ssl.shared.network import SiameseNetwork
from triptych.training.objective import to_float

PROBE_ITERATIONS = 1000  # upper limit; the optimum for features of an encoder needs far fewer
# Limit for pixels, for which the optimum takes minutes. The limit does not understate their accuracy, which on the
# default images falls from 13.6 % after 20 iterations to 12.0 % after 100.
PIXEL_ITERATIONS = 50
NORM_IMAGES = 2000  # number of training images for the batch norm statistics of an untrained encoder

CLASSIFIERS = ("knn", "linear")
# Features without training: raw pixels, pixels as standardised by the encoder, and a randomly initialised encoder.
UNTRAINED = ("raw_pixel", "pixel", "random_init")
BASELINES = tuple(f"{features}_{classifier}" for features in UNTRAINED for classifier in CLASSIFIERS)


# --- Features ---


@torch.inference_mode()
def encode(network: SiameseNetwork, images: np.ndarray, device: torch.device, batch_size: int) -> dict[str, Tensor]:
    """Return features of N uint8 images: "backbone" of shape (N, d) and "projector" of shape (N, dim)."""
    network.eval()
    backbone = backbone_features(network.backbone, images, device, batch_size)
    projector = [network.projector(rows).float() for rows in backbone.split(batch_size)]
    return {"backbone": backbone, "projector": torch.cat(projector)}


@torch.inference_mode()
def backbone_features(backbone: nn.Module, images: np.ndarray, device: torch.device, batch_size: int) -> Tensor:
    backbone.eval()
    return torch.cat([backbone(batch).float() for batch in float_batches(images, batch_size, device)])


# --- Classifiers: from features (..., d) of training and test images to a mask (N,) of correct test images ---


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
    """Linear classifier of features standardised by `mean` and `scale`. The last row of `theta` is the bias."""

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
    """Fit a linear probe: minimise mean cross-entropy + penalty / 2 ‖weights‖² by L-BFGS in float64.

    `features` has shape (N, d), and `labels` (N,). Images with label -1 are ignored, and the bias is not penalised. The
    equivalent C of scikit-learn is 1 / (N penalty). L-BFGS takes at most `iterations` steps, and stops earlier when no
    element of the gradient exceeds `tolerance` in absolute value. Raises ValueError for non-finite features.
    """
    if not penalty > 0:
        raise ValueError(f"penalty must be positive, got {penalty}; without a penalty, the loss may have no minimum")
    x = in_float64(features)
    labels = labels.to(x.device, torch.int64)
    # Indexing copies, so that x can be standardised in place. Pixels of many images take gigabytes.
    x, labels = x[labels >= 0], labels[labels >= 0]
    if not len(x):
        raise ValueError("the linear probe needs at least one labelled image")
    if not bool(torch.isfinite(x).all()):
        raise ValueError("features contain non-finite values")

    mean, std = x.mean(dim=0), x.std(dim=0, correction=0)
    # If the spread is only float32 rounding, dividing by it would amplify noise; an infinite scale gives 0 instead.
    rounding = torch.finfo(torch.float32).eps * torch.linalg.vector_norm(x, ord=torch.inf, dim=0)
    scale = torch.where(std > rounding, std, torch.inf)
    x = with_bias(x.sub_(mean).div_(scale))
    shape = (x.shape[1], int(labels.max()) + 1)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        # The gradient is computed by hand, because autograd does not support tensors of inference mode.
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
    """Return a mask of correctly classified test images, of shape (seeds, N), for each name in BASELINES.

    The masks of pixel baselines have one row, because they do not depend on the seed. The dict is empty if the dataset
    has fewer than two classes. Up to `at_once` baselines are computed in parallel.
    """
    if needs.two_classes(dataset):
        return {}
    standardise = getattr(backbone, "standardise", False)
    tasks = {
        "pixels": partial(pixels_correct, standardise, dataset, settings, device),
        "raw pixels": partial(pixels_correct, False, dataset, settings, device),
        **{f"seed {seed}": partial(untrained_correct, backbone, seed, dataset, settings, device) for seed in seeds},
    }
    pixels, raw_pixels, *untrained = run_tasks("ssl_baselines", tasks, at_once).values()
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
    """Return an encoder with random weights, drawn with `seed`, and batch norm statistics from training images.

    With the initial statistics of batch norm, features would be poorly scaled and the baseline too weak.
    """
    torch.manual_seed(fold(seed, "weights"))
    encoder = build_backbone(in_channels=dataset.train.images.shape[1], **backbone.model_dump())
    encoder.to(device, memory_format=torch.channels_last)
    torch.optim.swa_utils.update_bn(float_batches(dataset.train.images[:NORM_IMAGES], batch_size, device), encoder)
    return encoder


def _both_correct(
    train: Tensor, test: Tensor, dataset: Dataset, settings: EvaluationParams, iterations: int
) -> dict[str, np.ndarray]:
    return {
        "knn": knn_correct(train, test, dataset, settings.ssl.knn),
        "linear": linear_correct(train, test, dataset, settings.ssl.probe_penalty, iterations),
    }
