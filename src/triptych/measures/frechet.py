"""Fréchet distance between feature sets (Heusel et al. 2017, arXiv:1706.08500), in the judge's penultimate features.

It is not FID: the features are the judge's, not Inception's, so its numbers compare within one dataset and judge.
"""

import numpy as np

from triptych.measures.estimate import Estimate
from triptych.measures.intervals import Resampling


def moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and covariance (d, d) of (N, d) features, in float64."""
    wide = features.astype(np.float64)
    mean = wide.mean(axis=0)
    centred = wide - mean
    return mean, centred.T @ centred / (len(wide) - 1)


def symmetric_root(matrix: np.ndarray) -> np.ndarray:
    """The square root of a symmetric positive semi-definite matrix, by its eigenvalues."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T


class FrechetReference:
    """A fixed set of features (M, d) to measure distances from; its matrix root is taken once."""

    def __init__(self, features: np.ndarray) -> None:
        self.mean, self.covariance = moments(features)
        self.root = symmetric_root(self.covariance)

    def distance(self, features: np.ndarray) -> float:
        """||m1 - m2||² + Tr(C1 + C2 - 2 (C1 C2)^½) to a set of features (N, d)."""
        mean, covariance = moments(features)
        # (C1 C2)^½ has the trace of (C1^½ C2 C1^½)^½, which is symmetric: no complex numbers, no iteration.
        cross = np.sqrt(np.linalg.eigvalsh(self.root @ covariance @ self.root).clip(min=0)).sum()
        offset = np.square(mean - self.mean).sum()
        return float(offset + np.trace(covariance) + np.trace(self.covariance) - 2 * cross)


def frechet_distance(features: np.ndarray, reference: np.ndarray) -> float:
    """The Fréchet distance between two sets of features (N, d) and (M, d)."""
    return FrechetReference(reference).distance(features)


def estimated_distance(
    features: np.ndarray, reference: FrechetReference, resampling: Resampling, purpose: str
) -> Estimate:
    """The Fréchet distance with its bootstrap interval over the generated images, the reference held fixed.

    Args:
        features: of the generated images, (N, d).
        reference: the real ones.
        resampling: how the interval is made; `purpose` names its stream.
    """
    return resampling.recentred(
        reference.distance(features), lambda rows: reference.distance(features[rows]), len(features), purpose
    )
