"""Comparison of the feature distributions of generated and real images.

The measures are the Fréchet distance (Heusel et al. 2017, arXiv:1706.08500) and improved precision and recall
(Kynkäänniemi et al. 2019, arXiv:1904.06991). The features are from the penultimate layer of the reference classifier,
not from Inception. The distance is therefore not FID, and values can be compared only for the same classifier.
"""

import numpy as np

from triptych.measures.estimate import Estimate
from triptych.measures.intervals import Resampling

BLOCK = 1024  # points whose distances to all others are in memory at once


def moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (d,) and covariance (d, d) of features (N, d), in float64."""
    wide = features.astype(np.float64)
    mean = wide.mean(axis=0)
    centred = wide - mean
    return mean, centred.T @ centred / (len(wide) - 1)


class FrechetReference:
    """Reference for Fréchet distances: features (M, d) of real images."""

    def __init__(self, features: np.ndarray) -> None:
        self.mean, self.covariance = moments(features)
        values, vectors = np.linalg.eigh(self.covariance)
        self.root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T

    def distance(self, features: np.ndarray) -> float:
        """Return the Fréchet distance ||m1 - m2||² + Tr(C1 + C2 - 2 (C1 C2)^½) to features (N, d)."""
        mean, covariance = moments(features)
        # (C1 C2)^½ has the trace of (C1^½ C2 C1^½)^½, which is symmetric: no complex numbers, no iteration.
        cross = np.sqrt(np.linalg.eigvalsh(self.root @ covariance @ self.root).clip(min=0)).sum()
        offset = np.square(mean - self.mean).sum()
        return float(offset + np.trace(covariance) + np.trace(self.covariance) - 2 * cross)

    def estimate(self, features: np.ndarray, resampling: Resampling, purpose: str) -> Estimate:
        """Return the distance to features (N, d) with a bootstrap interval. The reference is not resampled."""
        value = self.distance(features)
        return resampling.recentred(value, lambda rows: self.distance(features[rows]), len(features), purpose)


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the squared Euclidean distances (N, M) of points (N, d) to points (M, d), in float64."""
    squares = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1)
    return np.maximum(squares - 2 * a @ b.T, 0)


class Manifold:
    """Union of balls around features (N, d). The radius of a ball is the distance to the k-th nearest other point.

    All pairs are compared, so the time is proportional to N². Pass a subset if there are many points.
    """

    def __init__(self, features: np.ndarray, k: int) -> None:
        self.features = features.astype(np.float64)
        # Index k, because the distance of a point to itself, 0, is at index 0.
        radii = [np.partition(squared_distances(b, self.features), k, axis=1)[:, k] for b in _blocks(self.features)]
        self.squared_radii = np.concatenate(radii)

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Return a boolean (M,) for each of the points (M, d): True if the manifold contains the point."""
        blocks = _blocks(points.astype(np.float64))
        return np.concatenate([(squared_distances(b, self.features) <= self.squared_radii).any(axis=1) for b in blocks])


def _blocks(points: np.ndarray) -> list[np.ndarray]:
    return [points[start : start + BLOCK] for start in range(0, len(points), BLOCK)]


def precision_recall(generated: Manifold, real: Manifold) -> tuple[np.ndarray, np.ndarray]:
    """Return a boolean per generated point and per real point. Their means are precision and recall.

    The boolean of a point is True if the other manifold contains the point.
    """
    return real.contains(generated.features), generated.contains(real.features)
