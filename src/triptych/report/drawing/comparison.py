"""Estimates of several runs by several measures: a row each in one plot a measure, or against what they cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from triptych.measures.estimate import Estimate
from triptych.report.drawing import style
from triptych.report.drawing.curves import LINE, name_ends, unit_of_time, write_ticks
from triptych.report.formatting import PERCENT, written

ROW = 0.27  # inches, of a row
REACH = 0.13  # of the lines between a plot and the names, as a share of its width
NAME = 9.0  # points, of the name of a run


@dataclass(frozen=True)
class Row:
    """A run.

    Attributes:
        label: its name.
        colour: its own.
        values: an estimate of each measure.
        hollow: whether its dots are.
        cost: seconds, where runs are compared by them.
    """

    label: str
    colour: str
    values: Sequence[Estimate]
    hollow: bool = False
    cost: float = 0.0


def intervals(
    path: Path,
    measures: Sequence[str],
    rows: Sequence[Row],
    baselines: Sequence[tuple[Row, object]],
    form: str,
    title: str,
    note: str,
) -> None:
    """A plot a measure: the rows from above, and below a rule the baselines, from whose values lines go up.

    Args:
        path: of the PNG.
        measures: their names.
        rows: the runs.
        baselines: what they are compared with, each with how its line is drawn, as matplotlib has it.
        form: of the ticks; see `results.formatting.written`.
        title: of the figure.
        note: below the title.
    """
    everything = [*rows, *(row for row, _ in baselines)]
    page, plots = plt.subplots(
        1, len(measures), sharey=True, squeeze=False, figsize=(style.WIDTH, 0.9 + ROW * len(everything))
    )
    for number, (axes, measure) in enumerate(zip(plots.flat, measures, strict=True)):
        for place, row in enumerate(everything):
            estimate = row.values[number]
            axes.plot([estimate.low, estimate.high], [place, place], color=row.colour, linewidth=2, alpha=0.75)
            _dot(axes, estimate.value, place, row)
            axes.text(
                1.015,
                place,
                written(estimate.value, PERCENT),
                transform=axes.get_yaxis_transform(),
                fontsize=NAME,
                color=row.colour,
                va="center",
            )
        for row, dash in baselines:
            axes.axvline(row.values[number].value, color=style.INK, linestyle=dash, linewidth=1.1, zorder=1)
        axes.axhline(len(rows) - 0.5, color="#bbbbbb", linewidth=1)
        axes.set(ylim=(len(everything) - 0.5, -0.5), xlim=(0, 1.0), xlabel=measure)
        axes.xaxis.set_major_formatter(lambda value, _: written(value, form))
        axes.set_yticks(range(len(everything)), [row.label for row in everything], fontsize=NAME + 0.5)
        for tick, row in zip(axes.get_yticklabels(), everything, strict=False):  # none where the axis is shared
            tick.set_color(row.colour)
        axes.grid(axis="y", visible=False)
    style.finish(path, page, title, note)


def against_cost(
    path: Path,
    measures: tuple[str, str],
    rows: Sequence[Row],
    baselines: Sequence[tuple[Row, object]],
    label: str,
    form: str,
    title: str,
    note: str,
) -> None:
    """Two measures against cost, side by side: each run stands where its cost is, and its name between the plots.

    Args:
        path: of the PNG.
        measures: the labels of the vertical axes.
        rows: the runs.
        baselines: what they are compared with, each with how its line is drawn, as matplotlib has it.
        label: of the horizontal axis, behind the unit of time.
        form: of the ticks; see `results.formatting.written`.
        title: of the figure.
        note: below the title.
    """
    longest = max(row.cost for row in rows)
    unit, length = unit_of_time(longest)
    everything = [*rows, *(row for row, _ in baselines)]
    page, plots = plt.subplots(1, 2, figsize=(style.WIDTH, max(style.HEIGHT, 1.2 + LINE * len(everything))))
    for number, (axes, measure) in enumerate(zip(plots, measures, strict=True)):
        for row in rows:
            estimate, x = row.values[number], row.cost / length
            axes.plot([x, x], [estimate.low, estimate.high], color=row.colour, linewidth=1.6, alpha=0.6)
            _dot(axes, x, estimate.value, row)
        for row, dash in baselines:
            axes.axhline(row.values[number].value, color=row.colour, linestyle=dash, linewidth=1.2, zorder=1)
        bounds = [row.values[number] for row in everything]
        axes.set(xlabel=f"{unit} {label}", ylabel=measure, xlim=(0, 1.06 * longest / length))
        axes.set_ylim(
            max(0.0, min(one.low for one in bounds) - 0.03), min(1.02, max(one.high for one in bounds) + 0.03)
        )
        write_ticks(axes, form)
    left, right = plots
    right.yaxis.tick_right()
    right.yaxis.set_label_position("right")
    edges = left.get_xlim()[1], right.get_xlim()[0]
    ends = [
        (row.cost / length if row.cost else edges[0], row.values[0].value, row.label, row.colour) for row in everything
    ]
    heights = name_ends(left, ends, NAME, REACH)
    low, high = right.get_ylim()
    for row, height in zip(everything, heights, strict=True):
        y, name = row.values[1].value, low + height * (high - low)
        across = right.get_yaxis_transform()
        right.plot([edges[1], row.cost / length], [y, y], color=row.colour, linewidth=0.8, alpha=0.45, zorder=1)
        right.plot([-REACH, 0], [name, y], color=row.colour, linewidth=0.8, transform=across, clip_on=False)
    style.finish(path, page, title, note)


def _dot(axes: Axes, x: float, y: float, row: Row) -> None:
    face = "white" if row.hollow else row.colour
    axes.plot(x, y, "o", color=row.colour, markerfacecolor=face, markeredgewidth=1.6, markersize=6, zorder=3)
