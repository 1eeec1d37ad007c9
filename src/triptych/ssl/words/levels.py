"""The lines that accuracies are compared with in figures: pixels, the untrained encoder, chance."""

from collections.abc import Mapping, Sequence

from triptych.report.drawing import style
from triptych.report.drawing.curves import Level
from triptych.report.formatting import PERCENT, written
from triptych.report.reader import Metrics, Results
from triptych.ssl.words.baselines import PIXELS, UNTRAINED, Baseline, measured

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
