"""Fit a mixture of Gaussians to the latents after training. The mixture replaces the prior N(0, I).

The decoder is trained on samples from the aggregate posterior q(z), the average of q(z|x) over the training images. If
q(z) differs from N(0, I), samples from N(0, I) can lie where the decoder was not trained. Ex-post density estimation
(Ghosh et al. 2020, arXiv:1903.12436, section 4) fits a density to q(z) and samples from this density.
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
from sklearn.mixture._gaussian_mixture import _compute_precision_cholesky
from threadpoolctl import threadpool_limits

from triptych.core.errors import InputError
from triptych.core.seeds import fold
from triptych.measures.images import ImageNoise
from triptych.vae.params import FittedPrior


@dataclass(frozen=True)
class Mixture:
    """Mixture of K Gaussians over the latent vector z."""

    weights: np.ndarray  # (K,); their sum is 1
    means: np.ndarray  # (K, latents)
    factors: np.ndarray  # (K, latents, latents), lower Cholesky factors of the covariances

    def draw(self, count: int, seed: int) -> np.ndarray:
        """Draw float32 samples (count, latents). For a fixed seed, row i does not depend on `count`."""
        latents = self.means.shape[1]
        noise = ImageNoise(seed, "fitted prior", range(count), (latents + 1,), "cpu").normal().double().numpy()
        # The first random number of each image, converted to a uniform one, chooses its Gaussian.
        component = np.searchsorted(np.cumsum(self.weights[:-1]), ndtr(noise[:, 0]))
        steps = np.einsum("nij,nj->ni", self.factors[component], noise[:, 1:])
        return (self.means[component] + steps).astype(np.float32)


def load_mixture(path: Path) -> Mixture:
    """Load a mixture from a safetensors file. Raises InputError if the file is missing, damaged, or not a mixture."""
    try:
        return Mixture(**load_file(path))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run `dvc repro sample@vae` to fit the prior") from None
    except (SafetensorError, TypeError) as error:
        raise InputError(f"{path}: damaged or not a mixture of Gaussians ({' '.join(str(error).split())})") from None


class QuadraticMixture(GaussianMixture):
    """Gaussian mixture with full covariances that is fitted several times faster than scikit-learn's GaussianMixture.

    With P = Σ⁻¹, log N(x; μ, Σ) = -(d log 2π - log det P + xᵀPx - 2 xᵀPμ + μᵀPμ) / 2 is linear in the d components of x
    and their products. Matrix products therefore compute both steps of expectation maximisation.
    """

    def fit(self, X: np.ndarray, y: None = None) -> "QuadraticMixture":
        """Fit the mixture to N samples X (N, d), and return the fitted mixture itself. `y` is ignored."""
        self._rows, self._columns = np.tril_indices(X.shape[1])
        self._products = X[:, self._rows] * X[:, self._columns]  # (N, d * (d + 1) / 2)
        super().fit(X)
        del self._products
        return self

    def _estimate_log_prob(self, X: np.ndarray, xp: object = None) -> np.ndarray:
        precisions = self.precisions_cholesky_ @ self.precisions_cholesky_.transpose(0, 2, 1)
        weights = precisions[:, self._rows, self._columns] * np.where(self._rows == self._columns, 1, 2)
        along = np.einsum("kij,kj->ki", precisions, self.means_)
        squares = self._products @ weights.T - 2 * X @ along.T + (along * self.means_).sum(axis=1)
        log_det = 2 * np.log(np.diagonal(self.precisions_cholesky_, axis1=1, axis2=2)).sum(axis=1)
        return -(X.shape[1] * np.log(2 * np.pi) - log_det + squares) / 2

    def _m_step(self, X: np.ndarray, log_resp: np.ndarray, xp: object = None) -> None:
        responsibilities = np.exp(log_resp)
        counts = responsibilities.sum(axis=0) + 10 * np.finfo(np.float64).eps  # as in scikit-learn
        self.weights_ = counts / counts.sum()
        self.means_ = responsibilities.T @ X / counts[:, None]
        covariances = np.empty((len(counts), X.shape[1], X.shape[1]))
        covariances[:, self._rows, self._columns] = responsibilities.T @ self._products / counts[:, None]
        covariances[:, self._columns, self._rows] = covariances[:, self._rows, self._columns]
        covariances -= self.means_[:, :, None] * self.means_[:, None]
        self.covariances_ = covariances + self.reg_covar * np.eye(X.shape[1])
        self.precisions_cholesky_ = _compute_precision_cholesky(self.covariances_, "full")


def fit(mu: np.ndarray, log_var: np.ndarray, settings: FittedPrior, seed: int) -> Mixture:
    """Fit a mixture of Gaussians by expectation maximisation to samples from q(z|x) for N images x.

    `mu` and `log_var` (N, latents) are the means and log-variances of q(z|x).

    Raises InputError if there are not more samples than Gaussians, or if a covariance is singular.
    """
    draws = posterior_draws(mu, log_var, settings.draws, seed)
    if len(draws) <= settings.components:
        raise InputError(
            "sampling.vae.fitted_prior.components must be smaller than the number of posterior samples "
            f"({len(draws)}, which is training images x fitted_prior.draws), got {settings.components}"
        )
    mixture_class = QuadraticMixture if settings.covariance == "full" else GaussianMixture
    mixture = mixture_class(
        settings.components,
        covariance_type=settings.covariance,
        max_iter=settings.iterations,
        random_state=fold(seed, "mixture") % 2**32,
    )
    # One thread, because several threads add numbers in a varying order.
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # `iterations` may end the fit before convergence
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
    """Draw `draws` samples from N(mu, exp(log_var)) for each of N images, as an array (draws * N, latents)."""
    noise = ImageNoise(seed, "aggregate posterior", range(len(mu)), mu.shape[1:], "cpu")
    sigma = np.exp(log_var.astype(np.float64) / 2)
    return np.concatenate([mu + sigma * noise.normal().double().numpy() for _ in range(draws)])
