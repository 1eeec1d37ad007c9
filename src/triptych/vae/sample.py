"""Stage `sample@vae`: samples, reconstructions, and paths through the latent space.

The decoder computes in float32 whatever the precision of training: lower precision moves its images by grey levels.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from triptych.core.files import write_arrays
from triptych.data.storage import Dataset
from triptych.machine.device import Machine
from triptych.machine.randomness import ImageNoise
from triptych.nn.weights import load_model, load_weights, save_tensors, snapshot_files
from triptych.training.objective import float_batches, to_uint8
from triptych.vae.model import VAE
from triptych.vae.params import SamplingParams
from triptych.vae.prior import fit

SHOWN = 64  # images of a sample sheet
RECONSTRUCTED = 32  # test images of a reconstruction sheet
TRAVERSED = 8  # latents of the figure of traversals


@dataclass(frozen=True)
class Codec:
    """Encoder and decoder of a VAE for uint8 images (N, C, H, W) on the CPU, in batches on `device`."""

    network: VAE
    device: torch.device
    batch_size: int

    @torch.inference_mode()
    def posterior(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and log-variance of q(z|x), each (N, latents) float32."""
        batches = [self.network.encode(batch) for batch in float_batches(images, self.batch_size, self.device)]
        mu, log_var = (torch.cat(tensors).cpu().numpy() for tensors in zip(*batches, strict=True))
        return mu, log_var

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Posterior means (N, latents), float32."""
        return self.posterior(images)[0]

    @torch.inference_mode()
    def decode(self, z: np.ndarray | Tensor) -> np.ndarray:
        """Means of p(x|z) of z (N, latents)."""
        batches = torch.as_tensor(z).to(self.device).split(self.batch_size)
        return torch.cat([to_uint8(self.network.decode(batch)).cpu() for batch in batches]).numpy()


def prior_draws(count: int, latents: int, seed: int) -> Tensor:
    """z ~ N(0, I), (count, latents); z of image i depends on the seed and i alone, so that sheets show the same z."""
    return ImageNoise(seed, "samples", range(count), (latents,), "cpu").normal()


def interpolation_paths(mu: np.ndarray, labels: np.ndarray, pairs: int, steps: int) -> np.ndarray:
    """(pairs, steps, latents) straight lines between posterior means of the images of `class_pairs`."""
    first, second = class_pairs(labels, pairs).T
    share = np.linspace(0, 1, steps, dtype=np.float32)[None, :, None]
    return mu[first, None] * (1 - share) + mu[second, None] * share


def class_pairs(labels: np.ndarray, count: int) -> np.ndarray:
    """(pairs, 2) indices of images of different class; at most `count`.

    Images of the first half are paired with those of the second. If that gives too few pairs, as for alternating
    labels, images one index apart are paired, then two, and so on. With fewer than two classes any two images pair.
    """
    half, pairs = len(labels) // 2, np.empty((0, 2), np.int64)
    if len(np.unique(labels)) < 2:
        return np.arange(2 * half).reshape(2, half).T[:count]
    for step in (half, *(step for step in range(1, len(labels)) if step != half)):
        first = np.flatnonzero(labels[:-step] != labels[step:])
        pairs = np.concatenate([pairs, np.stack([first, first + step], axis=1)])[:count]
        if len(pairs) == count:
            break
    return pairs


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


def draw(
    folder: Path, model: Path, snapshots: Path, dataset: Dataset, params: SamplingParams, seed: int, machine: Machine
) -> list[dict]:
    """Write prior.safetensors, the fitted mixture, and images.npz to `folder`, with images in uint8 (…, C, H, W):

    - `samples` (N) from N(0, I), and `fitted_samples` (N) from the fitted prior;
    - `originals` (n), the first test images, and `posterior_means` (M, latents) of all test images;
    - `epoch_samples` and `epoch_reconstructions` (E, n) after each of `epochs` (E,);
    - `interpolations` (pairs, steps), and `traversals` (latents, steps) of the latents `traversed`.

    Args:
        folder: output folder.
        model: folder of the trained network.
        snapshots: folder of the weights after each snapshot epoch.
        dataset: the prior is fitted to its training images; its test images are encoded.
        params: section `sampling`.
        seed: of the draws.
        machine: where to compute.

    Returns:
        Timing rows for each prior: sampler, steps, seconds_per_image, threads, and fit_seconds for the fitted one.

    Raises:
        InputError: a file is missing, damaged or of another architecture; or a prior cannot be fitted.
    """
    network, _ = load_model(model, VAE, machine.device)
    kept, codec, settings = snapshot_files(snapshots), Codec(network, machine.device, params.batch_size), params.vae
    latents = network.mu.out_features
    start = time.perf_counter()
    prior = fit(*codec.posterior(dataset.train.images), settings.fitted_prior, seed)
    fit_seconds = time.perf_counter() - start
    samples, row = _timed(codec, "decoder", prior_draws(settings.samples, latents, seed))
    fitted_samples, fitted_row = _timed(codec, "decoder, fitted prior", prior.draw(settings.samples, seed))
    originals, steps = np.array(dataset.test.images[:RECONSTRUCTED]), settings.interpolation_steps
    mu = codec.encode(dataset.test.images)
    between = interpolation_paths(mu, np.asarray(dataset.test.labels), settings.interpolation_pairs, steps)
    around, traversed = traversal_paths(mu, steps)
    arrays = {
        "originals": originals,
        "samples": samples,
        "fitted_samples": fitted_samples,
        "posterior_means": mu,
        "interpolations": _decoded_paths(codec, between, dataset),
        "traversals": _decoded_paths(codec, around, dataset),
        "traversed": traversed,
        "epochs": np.array(list(kept)),
    }
    epoch_samples, epoch_reconstructions = [], []
    for weights in tqdm(kept.values(), desc="sample@vae"):
        load_weights(weights, network)  # replaces the final weights
        epoch_samples.append(codec.decode(prior_draws(SHOWN, latents, seed)))
        epoch_reconstructions.append(codec.decode(codec.encode(originals)))
    arrays |= {"epoch_samples": np.stack(epoch_samples), "epoch_reconstructions": np.stack(epoch_reconstructions)}
    write_arrays(folder / "images.npz", arrays)
    save_tensors(folder / "prior.safetensors", {name: torch.from_numpy(array) for name, array in vars(prior).items()})
    return [row, fitted_row | {"fit_seconds": fit_seconds}]


def _timed(codec: Codec, name: str, z: np.ndarray | Tensor) -> tuple[np.ndarray, dict]:
    """Images of z, and their row of timing."""
    start = time.perf_counter()
    images = codec.decode(z)
    seconds = (time.perf_counter() - start) / len(z)
    return images, {"sampler": name, "steps": 1, "seconds_per_image": seconds, "threads": torch.get_num_threads()}


def _decoded_paths(codec: Codec, paths: np.ndarray, dataset: Dataset) -> np.ndarray:
    """(paths, steps, C, H, W) uint8 of paths (paths, steps, latents); there may be no paths."""
    images = np.empty((*paths.shape[:2], *dataset.test.images.shape[1:]), np.uint8)
    for i, path in enumerate(paths):
        images[i] = codec.decode(path)
    return images
