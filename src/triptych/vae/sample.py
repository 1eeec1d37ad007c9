"""Stage `sample@vae`: generate samples, reconstructions, interpolations and latent traversals with a trained VAE.

The decoder always computes in float32, because a lower precision would change pixel values.
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
from triptych.measures.images import ImageNoise, float_batches, to_uint8
from triptych.nn.weights import load_model, load_weights, save_tensors, snapshot_files
from triptych.vae.model import VAE
from triptych.vae.params import SamplingParams
from triptych.vae.prior import fit

SHOWN = 64  # samples per sheet
RECONSTRUCTED = 32  # test images per sheet of reconstructions
TRAVERSED = 8  # latents in the figure of traversals


@dataclass(frozen=True)
class Codec:
    """Encode uint8 images to latents with a VAE, and decode latents to uint8 images, in batches of `batch_size`."""

    network: VAE
    device: torch.device
    batch_size: int

    @torch.inference_mode()
    def posterior(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean and log-variance of q(z|x) for uint8 images (N, C, H, W), as float32 arrays (N, latents)."""
        batches = [self.network.encode(batch) for batch in float_batches(images, self.batch_size, self.device)]
        mu, log_var = (torch.cat(tensors).cpu().numpy() for tensors in zip(*batches, strict=True))
        return mu, log_var

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Return the mean of q(z|x) for uint8 images (N, C, H, W), as a float32 array (N, latents)."""
        return self.posterior(images)[0]

    @torch.inference_mode()
    def decode(self, z: np.ndarray | Tensor) -> np.ndarray:
        """Return the mean of p(x|z), as uint8 images (N, C, H, W), for latent vectors z (N, latents)."""
        batches = torch.as_tensor(z).to(self.device).split(self.batch_size)
        return torch.cat([to_uint8(self.network.decode(batch)).cpu() for batch in batches]).numpy()


def prior_draws(count: int, latents: int, seed: int) -> Tensor:
    """Draw float32 samples (count, latents) from N(0, I). For a fixed seed, row i does not depend on `count`."""
    return ImageNoise(seed, "samples", range(count), (latents,), "cpu").normal()


def interpolation_paths(mu: np.ndarray, labels: np.ndarray, pairs: int, steps: int) -> np.ndarray:
    """Return straight paths (P, steps, latents) between the posterior means of the images of P pairs.

    `mu` (N, latents) contains the means. `class_pairs` selects at most `pairs` pairs of images by their labels.
    """
    first, second = class_pairs(labels, pairs).T
    share = np.linspace(0, 1, steps, dtype=np.float32)[None, :, None]
    return mu[first, None] * (1 - share) + mu[second, None] * share


def class_pairs(labels: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of at most `count` pairs of images from different classes, as an array (pairs, 2).

    Images i and i + N // 2 (of N) are paired first. If this gives too few pairs, images i and i + 1 are paired, then
    images i and i + 2, and so on. If all labels are equal, images i and i + N // 2 of the same class are paired.
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
    """Return paths (L, steps, latents) along L latents, and the indices (L,) of these latents.

    `mu` (N, latents) contains the posterior means of N images. At most TRAVERSED latents with the largest variance are
    selected. Along each path, one latent varies from -3 to 3, and the others keep the values of the first image.
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
    """Generate images with the VAE, and write images.npz and prior.safetensors (the fitted prior) to `folder`.

    `model` is the folder of the trained network. `snapshots` is the folder of its weights after selected epochs.
    images.npz contains the posterior means of the test images (`posterior_means`) and arrays of uint8 images:
    - `samples` from N(0, I), `fitted_samples` from the fitted prior, and `originals` (the first test images);
    - `epoch_samples` and `epoch_reconstructions`: samples and reconstructions after each epoch in the array `epochs`;
    - `interpolations` between test images, and `traversals` of the latents with the indices in the array `traversed`.

    Raises InputError if a file is missing or invalid, or if the prior cannot be fitted.

    Returns:
        One dict per prior with the seconds per image. The dict of the fitted prior also contains `fit_seconds`.
    """
    network, _ = load_model(model, VAE, machine.device)
    codec, settings = Codec(network, machine.device, params.batch_size), params.vae
    weights_of = snapshot_files(snapshots)
    latents = network.mu.out_features
    start = time.perf_counter()
    prior = fit(*codec.posterior(dataset.train.images), settings.fitted_prior, seed)
    fit_seconds = time.perf_counter() - start
    samples, row = _timed(codec, "decoder", prior_draws(settings.samples, latents, seed))
    fitted_samples, fitted_row = _timed(codec, "decoder, fitted prior", prior.draw(settings.samples, seed))
    originals, steps = np.array(dataset.test.images[:RECONSTRUCTED]), settings.interpolation_steps
    mu = codec.encode(dataset.test.images)
    shape = dataset.test.images.shape[1:]

    def decoded(paths: np.ndarray) -> np.ndarray:
        images = [codec.decode(path) for path in paths]
        return np.array(images, np.uint8).reshape(*paths.shape[:2], *shape)  # also without any path

    between = interpolation_paths(mu, np.asarray(dataset.test.labels), settings.interpolation_pairs, steps)
    around, traversed = traversal_paths(mu, steps)
    arrays = {
        "originals": originals,
        "samples": samples,
        "fitted_samples": fitted_samples,
        "posterior_means": mu,
        "interpolations": decoded(between),
        "traversals": decoded(around),
        "traversed": traversed,
        "epochs": np.array(list(weights_of)),
    }
    epoch_samples, epoch_reconstructions = [], []
    for weights in tqdm(weights_of.values(), desc="sample@vae"):
        load_weights(weights, network)  # replaces the final weights
        epoch_samples.append(codec.decode(prior_draws(SHOWN, latents, seed)))
        epoch_reconstructions.append(codec.decode(codec.encode(originals)))
    arrays |= {"epoch_samples": np.stack(epoch_samples), "epoch_reconstructions": np.stack(epoch_reconstructions)}
    write_arrays(folder / "images.npz", arrays)
    save_tensors(folder / "prior.safetensors", {name: torch.from_numpy(array) for name, array in vars(prior).items()})
    return [row, fitted_row | {"fit_seconds": fit_seconds}]


def _timed(codec: Codec, name: str, z: np.ndarray | Tensor) -> tuple[np.ndarray, dict]:
    start = time.perf_counter()
    images = codec.decode(z)
    seconds = (time.perf_counter() - start) / len(z)
    return images, {"sampler": name, "steps": 1, "seconds_per_image": seconds, "threads": torch.get_num_threads()}
