"""Accuracies with their intervals, from which test images were classified rightly."""

from collections.abc import Mapping

import numpy as np

from triptych.measures.estimate import Estimate
from triptych.measures.intervals import Resampling


def accuracy_key(hits: str) -> str:
    """The number that the mean of hits is: `knn_correct` makes `knn_accuracy`."""
    return hits.replace("_correct", "_accuracy")


def accuracies(hits: Mapping[str, np.ndarray], resampling: Resampling) -> dict[str, Estimate]:
    """The accuracy of each of the named hits, (seeds, N) bool, uncertain in seeds and images."""
    return {accuracy_key(key): _accuracy(rows, resampling, key) for key, rows in hits.items()}


def _accuracy(rows: np.ndarray, resampling: Resampling, purpose: str) -> Estimate:
    found = resampling.seeded(rows, purpose)
    # Few seeds that differ make it wide; no accuracy lies beyond 0 or 1.
    low, high = (min(1.0, max(0.0, bound)) for bound in (found.low, found.high))
    return Estimate(float(np.mean([row.mean() for row in rows])), low, high)
