"""Precision and recall are those of balls around points, by the definition."""

import numpy as np
import pytest

from triptych.measures.manifolds import Manifold, precision_recall, squared_radii


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
    whole = squared_radii(features, 4)
    monkeypatch.setattr("triptych.measures.manifolds.BLOCK", 7)
    np.testing.assert_allclose(squared_radii(features, 4), whole)
