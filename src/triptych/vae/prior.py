"""A prior fitted after training: a mixture of Gaussians in place of N(0, I).

The decoder has learned to decode the aggregate posterior q(z), the mean of q(z|x) over the training images. Where q(z)
differs from N(0, I), samples of N(0, I) lie in regions that the decoder has never seen. Ex-post density estimation
(Ghosh et al. 2020, arXiv:1903.12436, section 4) fits a density to q(z) and draws from that instead.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file
from scipy.special import ndtr
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from triptych.core.errors import InputError
from triptych.core.seeds import fold
from triptych.machine.randomness import ImageNoise
from triptych.vae.params import FittedPrior


@dataclass(frozen=True)
class Mixture:
    """A mixture of K Gaussians over z.

    Attributes:
        weights: (K,) shares, which sum to 1.
        means: (K, latents).
        factors: (K, latents, latents) lower triangular; factor times its transpose is the covariance.
    """

    weights: np.ndarray
    means: np.ndarray
    factors: np.ndarray

    def draw(self, count: int, seed: int) -> np.ndarray:
        """(count, latents) float32; z of image i is a function of the mixture, the seed and i."""
        latents = self.means.shape[1]
        noise = ImageNoise(seed, "fitted prior", range(count), (latents + 1,), "cpu").normal().double().numpy()
        # The first number of each image, made uniform, chooses its Gaussian.
        component = np.searchsorted(np.cumsum(self.weights[:-1]), ndtr(noise[:, 0]))
        steps = np.einsum("nij,nj->ni", self.factors[component], noise[:, 1:])
        return (self.means[component] + steps).astype(np.float32)


def load_mixture(path: Path) -> Mixture:
    """Load a mixture from a file of tensors; raise InputError if it is missing, damaged, or holds something else."""
    try:
        return Mixture(**load_file(path))
    except FileNotFoundError:
        raise InputError(f"{path}: no such prior; `dvc repro` fits it") from None
    except (SafetensorError, TypeError) as error:
        raise InputError(f"{path}: not a mixture of Gaussians ({' '.join(str(error).split())})") from None


def fit(mu: np.ndarray, log_var: np.ndarray, settings: FittedPrior, seed: int) -> Mixture:
    """Fit a mixture by expectation maximisation to draws of q(z|x) of each image.

    Args:
        mu, log_var: (N, latents) of q(z|x), one row per training image.
        settings: number and covariance of the Gaussians, and number of draws per image.
        seed: of the draws and of where the search starts.

    Raises:
        InputError: fewer draws than Gaussians, or Gaussians that shrink to a point.
    """
    draws = posterior_draws(mu, log_var, settings.draws, seed)
    if len(draws) <= settings.components:
        raise InputError(
            f"sampling.vae.fitted_prior.components: {settings.components} Gaussians need more than {len(draws)} draws"
        )
    mixture = GaussianMixture(
        settings.components,
        covariance_type=settings.covariance,
        max_iter=settings.iterations,
        random_state=fold(seed, "mixture") % 2**32,
    )
    # One thread: several add up in another order each time.
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # `iterations` may stop the search early
        try:
            mixture.fit(draws)
        except ValueError as error:
            raise InputError(f"sampling.vae.fitted_prior: {' '.join(str(error).split())}") from None
    covariances = mixture.covariances_
    if settings.covariance == "diag":
        covariances = np.stack([np.diag(row) for row in covariances])
    if settings.covariance == "tied":
        covariances = np.repeat(covariances[None], settings.components, axis=0)
    return Mixture(mixture.weights_, mixture.means_, np.linalg.cholesky(covariances))


def posterior_draws(mu: np.ndarray, log_var: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """(draws N, latents) float64 of z = μ + σ ε, `draws` per row: together draws of the aggregate posterior."""
    noise = ImageNoise(seed, "aggregate posterior", range(len(mu)), mu.shape[1:], "cpu")
    sigma = np.exp(log_var.astype(np.float64) / 2)
    return np.concatenate([mu + sigma * noise.normal().double().numpy() for _ in range(draws)])
