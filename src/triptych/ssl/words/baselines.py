"""Baselines that an encoder must beat to have learned anything: pixels, and the encoder before its training."""

from collections.abc import Sequence
from dataclasses import dataclass

from triptych.report.reader import Metrics


@dataclass(frozen=True)
class Baseline:
    """Features that nothing has learned.

    Attributes:
        key: prefix of its metrics: `pixel` of `pixel_knn_accuracy`.
        name: for people.
        dash: linestyle in figures, as matplotlib takes it.
    """

    key: str
    name: str
    dash: object


PIXELS = Baseline("pixel", "pixels", (0, (1.2, 1.6)))
RAW_PIXELS = Baseline("raw_pixel", "raw pixels", (0, (6, 1.8, 1.2, 1.8)))
UNTRAINED = Baseline("random_init", "untrained encoder", (0, (5, 2)))
BASELINES = (UNTRAINED, PIXELS, RAW_PIXELS)


def measured(metrics: Metrics, key: str, wanted: Sequence[Baseline] = BASELINES) -> dict[Baseline, float]:
    """Return `knn_accuracy` or `linear_accuracy` of the baselines for which it was measured."""
    keys = {baseline: f"{baseline.key}_{key}" for baseline in wanted}
    return {baseline: metrics.number(name) for baseline, name in keys.items() if name in metrics}
