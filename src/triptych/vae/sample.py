"""What is drawn from a trained VAE: samples, reconstructions, and paths through its latent space.

The decoder computes in float32, whatever the training did: its images differ by grey levels in lower precision.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from triptych.data.drawn import Drawn
from triptych.data.storage import Dataset
from triptych.machine.device import Machine
from triptych.machine.processes import merged
from triptych.machine.randomness import ImageNoise
from triptych.measures.sampling_params import SamplingParams, VAESampling
from triptych.nn.weights import load_model, load_weights, snapshot_files
from triptych.training.objective import to_float, to_uint8
from triptych.vae.model import VAE
from triptych.vae.prior import fit

SHOWN = 64  # images of a sample sheet
RECONSTRUCTED = 32  # test images of a reconstruction sheet
TRAVERSED = 8  # latents of the figure of traversals


def batches(images: np.ndarray, size: int, device: torch.device) -> Iterator[Tensor]:
    """uint8 images (N, C, H, W) as float in [-1, 1] on the device, `size` at a time."""
    for start in range(0, len(images), size):
        yield to_float(torch.from_numpy(np.array(images[start : start + size])).to(device))


@dataclass(frozen=True)
class Codec:
    """A VAE's two directions on many images, which stay on the CPU as uint8 (N, C, H, W) and visit it in batches."""

    network: VAE
    device: torch.device
    batch_size: int

    @torch.inference_mode()
    def posterior(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and log-variance of q(z|x), each (N, latents) float32."""
        parts = [self.network.encode(batch) for batch in batches(images, self.batch_size, self.device)]
        mu, log_var = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
        return mu, log_var

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Posterior means (N, latents), float32."""
        return self.posterior(images)[0]

    @torch.inference_mode()
    def decode(self, z: np.ndarray | Tensor) -> np.ndarray:
        """Means of p(x|z) from z (N, latents)."""
        parts = torch.as_tensor(z).to(self.device).split(self.batch_size)
        return torch.cat([to_uint8(self.network.decode(part)).cpu() for part in parts]).numpy()


def prior_draws(count: int, latents: int, seed: int) -> Tensor:
    """z ~ N(0, I), (count, latents): z of image i depends on the seed and i alone, so that sheets show the same z."""
    return ImageNoise(seed, "samples", range(count), (latents,), "cpu").normal()


def interpolation_paths(mu: np.ndarray, labels: np.ndarray, pairs: int, steps: int) -> np.ndarray:
    """(pairs, steps, latents) straight lines between posterior means of the images of `class_pairs`."""
    first, second = class_pairs(labels, pairs).T
    share = np.linspace(0, 1, steps, dtype=np.float32)[None, :, None]
    return mu[first, None] * (1 - share) + mu[second, None] * share


def class_pairs(labels: np.ndarray, count: int) -> np.ndarray:
    """(pairs, 2) places of images of different class; `count` of them, or all that there are.

    The images of the first half are paired with those of the second. Where that gives too few, as of labels that
    alternate, with those one place on, then two, and so on. Where no classes are told apart, any two make a pair.
    """
    half, found = len(labels) // 2, np.empty((0, 2), np.int64)
    if len(np.unique(labels)) < 2:
        return np.arange(2 * half).reshape(2, half).T[:count]
    for step in (half, *(step for step in range(1, len(labels)) if step != half)):
        first = np.flatnonzero(labels[:-step] != labels[step:])
        found = np.concatenate([found, np.stack([first, first + step], axis=1)])[:count]
        if len(found) == count:
            break
    return found


def traversal_paths(mu: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Paths (TRAVERSED, steps, latents) along the latents that carry most, around the first image; and those latents.

    Under a standard normal prior, a latent whose mean varies most over the data holds most information.
    """
    strongest = np.argsort(-mu.var(axis=0))[:TRAVERSED]
    values = np.linspace(-3, 3, steps, dtype=np.float32)
    paths = np.repeat(np.repeat(mu[:1, None], len(strongest), axis=0), len(values), axis=1)
    for row, latent in enumerate(strongest):
        paths[row, :, latent] = values
    return paths, strongest


def draw(model: Path, snapshots: Path, dataset: Dataset, params: SamplingParams, seed: int, place: Machine) -> Drawn:
    """Everything that is drawn from a trained VAE.

    Args:
        model: folder of the trained network.
        snapshots: folder of the weights after each snapshot epoch.
        dataset: what it was trained on; a prior is fitted to its training images, its test images are encoded.
        params: how much to draw.
        seed: of the draws.
        place: where to compute.

    Returns:
        The arrays, images in uint8 (N, C, H, W): `originals`, the test images that are reconstructed; `samples` from
        N(0, I), and `fitted_samples` from the fitted prior; `samples_<epoch>` and `reconstructions_<epoch>` after each
        snapshot epoch; `posterior_means` of all test images, (N, latents) float32; `interpolations` (pairs, steps, C,
        H, W); `traversals` (latents, steps, C, H, W) and the latents `traversed`. The tensors `prior`, the mixture. And
        a row of timing for each prior: sampler, steps, seconds_per_image, threads, and for a fitted one fit_seconds.

    Raises:
        InputError: a file is missing, damaged, or of another architecture; or a prior cannot be fitted.
    """
    network, _ = load_model(model, VAE, place.device)
    codec, how = Codec(network, place.device, params.batch_size), params.vae
    clock = time.perf_counter()
    prior = fit(*codec.posterior(dataset.train.images), how.fitted_prior, seed)
    fit_seconds = time.perf_counter() - clock
    samples, row = _decoded(codec, "decoder", prior_draws(how.samples, network.mu.out_features, seed))
    fitted, fitted_row = _decoded(codec, "decoder, fitted prior", prior.draw(how.samples, seed))
    originals = np.array(dataset.test.images[:RECONSTRUCTED])
    parts = {"paths": partial(_paths, codec, dataset, how)} | {
        f"epoch {epoch}": partial(_after_epoch, codec, epoch, weights, originals, seed)
        for epoch, weights in snapshot_files(snapshots).items()
    }
    arrays = {"originals": originals, "samples": samples, "fitted_samples": fitted, **merged("sample@vae", parts)}
    return Drawn(arrays, [row, fitted_row | {"fit_seconds": fit_seconds}], {"prior": vars(prior)})


def _decoded(codec: Codec, name: str, z: np.ndarray | Tensor) -> tuple[np.ndarray, dict]:
    """The images of z, and their row of timing."""
    clock = time.perf_counter()
    images = codec.decode(z)
    seconds = (time.perf_counter() - clock) / len(z)
    return images, {"sampler": name, "steps": 1, "seconds_per_image": seconds, "threads": torch.get_num_threads()}


def _paths(codec: Codec, dataset: Dataset, how: VAESampling) -> dict[str, np.ndarray]:
    """Posterior means of the test images, and images along paths between and around them."""
    mu, labels = codec.encode(dataset.test.images), np.asarray(dataset.test.labels)
    between = interpolation_paths(mu, labels, how.interpolation_pairs, how.interpolation_steps)
    around, traversed = traversal_paths(mu, how.interpolation_steps)
    return {
        "posterior_means": mu,
        "interpolations": _decoded_paths(codec, between, dataset),
        "traversals": _decoded_paths(codec, around, dataset),
        "traversed": traversed,
    }


def _decoded_paths(codec: Codec, paths: np.ndarray, dataset: Dataset) -> np.ndarray:
    """(paths, steps, C, H, W) uint8 of paths (paths, steps, latents), of which there may be none."""
    images = np.empty((*paths.shape[:2], *dataset.test.images.shape[1:]), np.uint8)
    for place, path in enumerate(paths):
        images[place] = codec.decode(path)
    return images


def _after_epoch(codec: Codec, epoch: int, weights: Path, originals: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Samples and reconstructions by the weights of an epoch, which replace those before."""
    load_weights(weights, codec.network)
    return {
        f"samples_{epoch}": codec.decode(prior_draws(SHOWN, codec.network.mu.out_features, seed)),
        f"reconstructions_{epoch}": codec.decode(codec.encode(originals)),
    }
