"""The fitted prior: recovers a known mixture, reproducible, and draws are independent of their number."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

from triptych.core.errors import InputError
from triptych.core.schema import validate
from triptych.vae.params import FittedPrior
from triptych.vae.prior import Mixture, QuadraticMixture, fit, load_mixture, posterior_draws

MEANS = np.array([[-4.0, 0.0], [3.0, 3.0], [3.0, -3.0]])
COVARIANCES = np.array([[[1.0, 0.6], [0.6, 1.0]], [[0.5, 0.0], [0.0, 2.0]], [[1.5, -0.5], [-0.5, 0.7]]])
WEIGHTS = np.array([0.5, 0.3, 0.2])
MIXTURE = Mixture(WEIGHTS, MEANS, np.linalg.cholesky(COVARIANCES))


def settings(**changes: object) -> FittedPrior:
    given = {"components": 3, "covariance": "full", "draws": 1, "iterations": 100} | changes
    return validate(FittedPrior, given, "sampling.vae.fitted_prior", Path("test"))


def points(count: int = 4000) -> np.ndarray:
    """Return draws of MIXTURE by numpy's own generator."""
    stream = np.random.default_rng(0)
    components = stream.choice(3, count, p=WEIGHTS)
    return np.stack([stream.multivariate_normal(MEANS[k], COVARIANCES[k]) for k in components]).astype(np.float32)


def certain(mu: np.ndarray) -> np.ndarray:
    """Return the log-variance of posteriors of almost zero width."""
    return np.full_like(mu, -30)


def log_density(mixture: Mixture, z: np.ndarray) -> np.ndarray:
    """Return the log-density by scipy, one Gaussian at a time."""
    parts = [
        weight * multivariate_normal(mean, factor @ factor.T).pdf(z)
        for weight, mean, factor in zip(mixture.weights, mixture.means, mixture.factors, strict=True)
    ]
    return np.log(np.sum(parts, axis=0))


def test_draws_are_of_the_mixture():
    """Compare the first two moments with their closed form, also of the well separated Gaussian alone."""
    z = MIXTURE.draw(40_000, seed=1)
    mean = WEIGHTS @ MEANS
    outer = COVARIANCES + MEANS[:, :, None] * MEANS[:, None, :]
    np.testing.assert_allclose(z.mean(axis=0), mean, atol=0.06)
    np.testing.assert_allclose(np.cov(z.T), np.tensordot(WEIGHTS, outer, 1) - np.outer(mean, mean), atol=0.15)
    apart = z[z[:, 0] < -0.5]
    assert len(apart) / len(z) == pytest.approx(WEIGHTS[0], abs=0.01)
    np.testing.assert_allclose(apart.mean(axis=0), MEANS[0], atol=0.04)
    np.testing.assert_allclose(np.cov(apart.T), COVARIANCES[0], atol=0.05)


def test_a_draw_does_not_depend_on_the_number_of_draws():
    assert np.array_equal(MIXTURE.draw(100, seed=1), MIXTURE.draw(333, seed=1)[:100])
    assert not np.array_equal(MIXTURE.draw(100, seed=1), MIXTURE.draw(100, seed=2))


@pytest.mark.parametrize("covariance", ["full", "tied", "diag"])
def test_the_fit_is_as_likely_as_scikit_learn_s(covariance):
    z = points()
    result = fit(z, certain(z), settings(covariance=covariance), seed=0)
    reference = GaussianMixture(3, covariance_type=covariance, random_state=7, n_init=3).fit(z)
    assert log_density(result, z).mean() == pytest.approx(reference.score(z), abs=0.01)


def test_matrix_products_take_the_same_steps_as_scikit_learn():
    z = points() @ np.array([[1.0, 0.3], [-0.4, 2.0]])
    ours, reference = (
        kind(4, covariance_type="full", random_state=7, max_iter=30, tol=1e-9).fit(z)
        for kind in (QuadraticMixture, GaussianMixture)
    )
    assert ours.n_iter_ == reference.n_iter_ and ours.lower_bound_ == pytest.approx(reference.lower_bound_, rel=1e-9)
    assert np.allclose(ours.means_, reference.means_, atol=1e-8)
    assert np.allclose(ours.covariances_, reference.covariances_, atol=1e-8)
    assert np.allclose(ours.weights_, reference.weights_, atol=1e-9)


def test_the_fit_recovers_the_mixture_of_its_points():
    z = points()
    result = fit(z, certain(z), settings(), seed=0)
    order = np.lexsort((-result.means[:, 1], result.means[:, 0] > 0))
    np.testing.assert_allclose(result.means[order], MEANS, atol=0.15)
    np.testing.assert_allclose(result.weights[order], WEIGHTS, atol=0.02)


def test_the_width_of_posteriors_is_fitted():
    """If all means are equal, the fit has the variance of q(z|x), here 0.25 and 4."""
    mu = np.zeros((3000, 2), dtype=np.float32)
    log_var = np.tile(np.log([0.25, 4.0]), (3000, 1)).astype(np.float32)
    result = fit(mu, log_var, settings(components=1, draws=3), seed=0)
    np.testing.assert_allclose((result.factors[0] @ result.factors[0].T).diagonal(), [0.25, 4.0], rtol=0.05)


def test_additional_draws_follow_the_first_ones_and_differ():
    mu, log_var = np.zeros((50, 2), dtype=np.float32), np.zeros((50, 2), dtype=np.float32)
    three = posterior_draws(mu, log_var, 3, seed=0)
    assert three.shape == (150, 2) and np.array_equal(three[:100], posterior_draws(mu, log_var, 2, seed=0))
    assert not np.array_equal(three[:50], three[50:100])


def test_equal_seeds_fit_equal_bits():
    z = points(500)
    one, other, third = (fit(z, certain(z), settings(), seed=seed) for seed in (0, 0, 1))
    assert all(np.array_equal(vars(one)[name], vars(other)[name]) for name in vars(one))
    assert not np.array_equal(one.means, third.means)


def test_more_gaussians_than_draws_are_refused_in_one_line():
    z = points(5)
    with pytest.raises(InputError, match=r"fitted_prior.components must be smaller than .* \(5, .* got 8"):
        fit(z, certain(z), settings(components=8), seed=0)


@pytest.mark.parametrize("content", [b"", b"no safetensors", "another"])
def test_a_file_that_is_not_a_mixture_is_refused_in_one_line(content, tmp_path):
    path = tmp_path / "prior.safetensors"
    if isinstance(content, str):
        save_file({content: WEIGHTS}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match="prior.safetensors: damaged or not a mixture of Gaussians") as error:
        load_mixture(path)
    assert "\n" not in str(error.value)


def test_a_missing_prior_is_refused_in_one_line(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_mixture(tmp_path / "prior.safetensors")
