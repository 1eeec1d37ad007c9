"""Comparison of the feature distributions of generated and real images.

The measures are the Fréchet distance (Heusel et al. 2017, arXiv:1706.08500) and improved precision and recall
(Kynkäänniemi et al. 2019, arXiv:1904.06991). The features come from the penultimate layer of this project's own
classifier. The Fréchet distance is therefore not FID, and only distances from the same classifier are comparable.
"""

import numpy as np

from triptych.measures.estimate import Estimate
from triptych.measures.intervals import Resampling

BLOCK = 1024  # points whose distances to all others are in memory at once


def moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (d,) and the covariance matrix (d, d) of features (N, d), as float64 arrays."""
    wide = features.astype(np.float64)
    mean = wide.mean(axis=0)
    centred = wide - mean
    return mean, centred.T @ centred / (len(wide) - 1)


class FrechetReference:
    """Mean and covariance of the features (M, d) of real images, for the computation of Fréchet distances."""

    def __init__(self, features: np.ndarray) -> None:
        self.mean, self.covariance = moments(features)
        values, vectors = np.linalg.eigh(self.covariance)
        self.root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T

    def distance(self, features: np.ndarray) -> float:
        """Return the Fréchet distance between `features` (N, d) and the features of the real images."""
        mean, covariance = moments(features)
        # The distance between means m and covariances C is ||m1 - m2||² + Tr(C1 + C2 - 2 (C1 C2)^½).
        # (C1 C2)^½ has the trace of (C1^½ C2 C1^½)^½, which is symmetric: no complex numbers, no iteration.
        cross = np.sqrt(np.linalg.eigvalsh(self.root @ covariance @ self.root).clip(min=0)).sum()
        offset = np.square(mean - self.mean).sum()
        return float(offset + np.trace(covariance) + np.trace(self.covariance) - 2 * cross)

    def estimate(self, features: np.ndarray, resampling: Resampling, purpose: str) -> Estimate:
        """Return `distance(features)` with a bootstrap interval. `purpose` is the name of the random stream."""
        value = self.distance(features)
        return resampling.recentred(value, lambda rows: self.distance(features[rows]), len(features), purpose)


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the squared Euclidean distances (N, M) between the rows of `a` (N, d) and the rows of `b` (M, d)."""
    squares = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1)
    return np.maximum(squares - 2 * a @ b.T, 0)


class Manifold:
    """Union of balls in feature space, each centred on one row of `features` (N, d).

    The radius of a ball is the distance from its centre to the k-th nearest other row of `features`.
    """

    def __init__(self, features: np.ndarray, k: int) -> None:
        self.features = features.astype(np.float64)
        # Index k, because the distance of a point to itself, 0, is at index 0.
        radii = [np.partition(squared_distances(b, self.features), k, axis=1)[:, k] for b in _blocks(self.features)]
        self.squared_radii = np.concatenate(radii)

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Return a boolean array (M,) that is True where a row of `points` (M, d) lies in at least one ball."""
        blocks = _blocks(points.astype(np.float64))
        return np.concatenate([(squared_distances(b, self.features) <= self.squared_radii).any(axis=1) for b in blocks])


def _blocks(points: np.ndarray) -> list[np.ndarray]:
    return [points[start : start + BLOCK] for start in range(0, len(points), BLOCK)]


def precision_recall(generated: Manifold, real: Manifold) -> tuple[np.ndarray, np.ndarray]:
    """Return two boolean arrays. The mean of the first is the precision; the mean of the second is the recall.

    The first marks generated points in the real manifold. The second marks real points in the generated manifold.
    """
    return real.contains(generated.features), generated.contains(real.features)
