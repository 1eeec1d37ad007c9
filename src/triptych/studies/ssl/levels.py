"""The lines that accuracies are compared with in figures: pixels, the untrained encoder, chance."""

from collections.abc import Mapping, Sequence

from triptych.drawing import style
from triptych.drawing.curves import Level
from triptych.results.formatting import PERCENT, written
from triptych.results.reader import Metrics, Results
from triptych.studies.ssl.baselines import PIXELS, UNTRAINED, Baseline, measured

# What there is room for in every figure.
USUAL = (UNTRAINED, PIXELS)


def baseline_levels(metrics: Metrics, key: str, wanted: Sequence[Baseline] = USUAL, between: str = "\n") -> list[Level]:
    """A line for each baseline of an accuracy, named with its value; one that was not measured has none."""
    found: Mapping[Baseline, float] = measured(metrics, key, wanted)
    return [
        Level(value, f"{baseline.name}{between}{written(value, PERCENT)}", line=baseline.dash)
        for baseline, value in found.items()
    ]


def chance(results: Results) -> list[Level]:
    """The line of a guess; none where images have no labels."""
    classes = len(results.metrics("data").values["ssl"]["classes"])
    return [Level(1 / classes, f"chance\n{written(1 / classes, PERCENT)}", style.MUTED, ":", 1.5)] if classes else []
