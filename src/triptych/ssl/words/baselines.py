"""What an encoder must beat to have learned anything: pixels, and the encoder before its training."""

from collections.abc import Sequence
from dataclasses import dataclass

from triptych.report.reader import Metrics


@dataclass(frozen=True)
class Baseline:
    """Features that nothing has learned.

    Attributes:
        key: what its numbers begin with: `pixel` of `pixel_knn_accuracy`.
        name: what it is called.
        dash: how its line is drawn, as matplotlib has it.
    """

    key: str
    name: str
    dash: object


PIXELS = Baseline("pixel", "pixels", (0, (1.2, 1.6)))
RAW_PIXELS = Baseline("raw_pixel", "raw pixels", (0, (6, 1.8, 1.2, 1.8)))
UNTRAINED = Baseline("random_init", "untrained encoder", (0, (5, 2)))
BASELINES = (UNTRAINED, PIXELS, RAW_PIXELS)


def measured(metrics: Metrics, key: str, wanted: Sequence[Baseline] = BASELINES) -> dict[Baseline, float]:
    """The values of an accuracy, `knn_accuracy` or `linear_accuracy`; a baseline that was not measured is left out."""
    found = {baseline: f"{baseline.key}_{key}" for baseline in wanted}
    return {baseline: metrics.number(name) for baseline, name in found.items() if name in metrics}
