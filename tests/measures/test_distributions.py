"""Fréchet distance, precision and recall equal independent references."""

import numpy as np
import pytest
from scipy import linalg

from triptych.measures.distributions import FrechetReference, Manifold, moments, precision_recall
from triptych.measures.intervals import Resampling


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def correlated(count: int, seed: int) -> np.ndarray:
    return numbers(count, 8, seed=seed) @ numbers(8, 8, seed=100 + seed) + seed


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    return FrechetReference(b).distance(a)


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
        found = reference.estimate(features, Resampling(0, 0.95, 100, "test"), "frechet")
        assert found.value == reference.distance(features)
        assert 0 <= found.low < found.value < found.high
        widths.append(found.high - found.low)
    assert widths[1] < 0.6 * widths[0]


def test_manifolds_are_balls_to_the_kth_neighbour() -> None:
    rng = np.random.default_rng(0)
    generated, real = rng.normal(0.3, 1.2, (90, 4)), rng.normal(0, 1, (110, 4))

    def covered(points: np.ndarray, manifold: np.ndarray, k: int) -> list[bool]:
        radii = [sorted(np.linalg.norm(manifold - centre, axis=1))[k] for centre in manifold]
        return [
            any(np.linalg.norm(p - centre) <= radius for centre, radius in zip(manifold, radii, strict=True))
            for p in points
        ]

    precision, recall = precision_recall(Manifold(generated, 3), Manifold(real, 3))
    assert precision.tolist() == covered(generated, real, 3)
    assert recall.tolist() == covered(real, generated, 3)


def test_a_collapsed_generator_is_precise_and_recalls_nothing() -> None:
    rng = np.random.default_rng(1)
    real = rng.normal(size=(500, 8))
    collapsed = real[:1] + 1e-3 * rng.normal(size=(200, 8))
    precision, recall = precision_recall(Manifold(collapsed, 3), Manifold(real, 3))
    assert precision.mean() == 1
    assert recall.mean() < 0.02


def test_blocks_do_not_change_radii(monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.random.default_rng(2).normal(size=(300, 5))
    whole = Manifold(features, 4).squared_radii
    monkeypatch.setattr("triptych.measures.distributions.BLOCK", 7)
    np.testing.assert_allclose(Manifold(features, 4).squared_radii, whole)
