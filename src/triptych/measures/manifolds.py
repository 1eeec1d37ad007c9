"""Improved precision and recall (Kynkäänniemi et al. 2019, arXiv:1904.06991), in blocks of bounded memory."""

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


def within(points: np.ndarray, features: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """(N,) whether each point lies in a ball around any of the features (M, d) with squared radii (M,)."""
    points, features = points.astype(np.float64), features.astype(np.float64)
    blocks = (points[start : start + BLOCK] for start in range(0, len(points), BLOCK))
    return np.concatenate([(squared_distances(b, features) <= radii).any(axis=1) for b in blocks])


def precision_recall(generated: np.ndarray, real: np.ndarray, neighbours: int) -> tuple[np.ndarray, np.ndarray]:
    """Which generated points lie in the real manifold, and which real points in the generated one.

    Args:
        generated, real: features (N, d) and (M, d).
        neighbours: k of the balls that make a manifold.

    Returns:
        Booleans (N,) and (M,); their means are precision and recall.
    """
    inside_real = within(generated, real, squared_radii(real, neighbours))
    inside_generated = within(real, generated, squared_radii(generated, neighbours))
    return inside_real, inside_generated
