"""The Fréchet distance equals an independent reference, and its interval holds it."""

import numpy as np
import pytest
from scipy import linalg

from triptych.measures.frechet import FrechetReference, estimated_distance, frechet_distance, moments
from triptych.measures.intervals import Resampling


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def correlated(count: int, seed: int) -> np.ndarray:
    return numbers(count, 8, seed=seed) @ numbers(8, 8, seed=100 + seed) + seed


def test_the_frechet_distance_is_that_of_the_matrix_square_root():
    a, b = correlated(300, 1), correlated(200, 2)
    (mean_a, cov_a), (mean_b, cov_b) = ((x.mean(axis=0), np.cov(x, rowvar=False)) for x in (a, b))
    root = linalg.sqrtm(cov_a @ cov_b).real
    expected = np.square(mean_a - mean_b).sum() + np.trace(cov_a + cov_b - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_the_frechet_distance_is_zero_between_equals_and_symmetric():
    a, b = correlated(300, 1), correlated(200, 2)
    scale = np.trace(moments(a)[1])
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6 * scale)
    assert frechet_distance(a, a[::-1]) == pytest.approx(0, abs=1e-6 * scale)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))


def test_a_shift_costs_its_square_and_a_scale_the_square_of_its_difference():
    a = correlated(500, 1)
    assert frechet_distance(a, a + 2.0) == pytest.approx(4.0 * a.shape[1], rel=1e-5)
    centred = a - a.mean(axis=0)
    assert frechet_distance(centred, 3 * centred) == pytest.approx(4 * np.trace(moments(a)[1]), rel=1e-5)


def test_fewer_images_than_features_and_dead_features_are_no_obstacle():
    few, many = numbers(5, 20).astype(np.float32), numbers(50, 20, seed=1).astype(np.float32)
    many[:, :7] = 0
    assert np.isfinite(frechet_distance(few, many)) and frechet_distance(few, many) > 0


def test_the_interval_of_the_frechet_distance_holds_the_estimate_and_narrows_with_more_images():
    reference, widths = FrechetReference(correlated(500, 2)), []
    for count in (60, 600):
        features = correlated(count, 1)
        found = estimated_distance(features, reference, Resampling(0, 0.95, 100, "test"), "frechet")
        assert found.value == reference.distance(features)
        assert 0 <= found.low < found.value < found.high
        widths.append(found.high - found.low)
    assert widths[1] < 0.6 * widths[0]
