"""Improved precision and recall (Kynkäänniemi et al. 2019, arXiv:1904.06991), in blocks of bounded memory.

Time grows with the square of the number of points, because all pairs are compared: pass a subset of many.
"""

import numpy as np

BLOCK = 1024


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, M) squared Euclidean distances of (N, d) and (M, d), float64."""
    squares = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1)
    return np.maximum(squares - 2 * a @ b.T, 0)


def squared_radii(features: np.ndarray, neighbours: int) -> np.ndarray:
    """(N,) squared distance of each point to its `neighbours`-th nearest other point."""
    wide = features.astype(np.float64)
    # Its own distance, 0, comes first.
    blocks = (wide[start : start + BLOCK] for start in range(0, len(wide), BLOCK))
    return np.concatenate([np.partition(squared_distances(b, wide), neighbours, axis=1)[:, neighbours] for b in blocks])


class Manifold:
    """Union of balls around the features (N, d), each reaching to its k-th nearest other point.

    Args:
        features: see above.
        neighbours: k.
    """

    def __init__(self, features: np.ndarray, neighbours: int) -> None:
        self.features = features.astype(np.float64)
        self.squared_radii = squared_radii(features, neighbours)

    def holds(self, points: np.ndarray) -> np.ndarray:
        """Return (M,) True for each of the points (M, d) inside."""
        wide = points.astype(np.float64)
        blocks = (wide[start : start + BLOCK] for start in range(0, len(wide), BLOCK))
        return np.concatenate([(squared_distances(b, self.features) <= self.squared_radii).any(axis=1) for b in blocks])


def precision_recall(generated: Manifold, real: Manifold) -> tuple[np.ndarray, np.ndarray]:
    """Find the generated points in the real manifold, and the real points in the generated one.

    Returns:
        Booleans, one for each generated and one for each real point; their means are precision and recall.
    """
    return real.holds(generated.features), generated.holds(real.features)
