"""Estimates of several runs, a row each: a dot on its interval, and its number at the right."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from triptych.drawing import style
from triptych.results.formatting import written
from triptych.statistics.estimate import Estimate


@dataclass(frozen=True)
class Kind:
    """A measure that each row has.

    Attributes:
        name: before its number.
        marker: its dot.
        line: the style of the line that rows are compared with.
        offset: where in its row it stands.
    """

    name: str
    marker: str
    line: str
    offset: float


@dataclass(frozen=True)
class Row:
    """A run.

    Attributes:
        label: its name, at the left.
        colour: its own.
        values: an estimate of each kind.
        floors: the value of each kind that the run must beat.
        hollow: whether its dots are.
    """

    label: str
    colour: str
    values: Sequence[Estimate]
    floors: Sequence[float]
    hollow: bool = False


def intervals(
    path: Path,
    kinds: Sequence[Kind],
    rows: Sequence[Row],
    baseline: Row,
    label: str,
    forms: tuple[str, str],
    title: str,
    note: str,
) -> None:
    """The rows from above, and the baseline below a line; forms: of the numbers, and of the ticks."""
    page, axes = plt.subplots(figsize=(style.WIDTH, 1.0 + 0.55 * (len(rows) + 1)))
    everything = [*rows, baseline]
    for place, row in enumerate(everything):
        _draw(axes, place, row, kinds, forms[0])
    for number, kind in enumerate(kinds):
        # A row's own floor: where they are the same for all, the pieces make one line.
        for place, row in enumerate(everything):
            floor, ends = row.floors[number], [place - 0.5, place + 0.5]
            axes.plot([floor, floor], ends, color=style.INK, linestyle=kind.line, linewidth=1.2, zorder=1)
    last = len(rows)
    axes.axhline(last - 0.5, color="#cccccc", linewidth=1)
    axes.set_yticks(range(last + 1), [row.label for row in everything])
    for tick, row in zip(axes.get_yticklabels(), rows, strict=False):
        tick.set_color(row.colour)
    axes.set(ylim=(last + 0.5, -0.5), xlim=(0, None), xlabel=label)
    axes.xaxis.set_major_formatter(lambda value, _: written(value, forms[1]))
    axes.grid(axis="y", visible=False)
    style.finish(path, page, title, note)


def _draw(axes: Axes, place: int, row: Row, kinds: Sequence[Kind], form: str) -> None:
    """The estimates of one row on their intervals, and their numbers at the right."""
    for kind, estimate in zip(kinds, row.values, strict=True):
        y = place + kind.offset
        axes.plot([estimate.low, estimate.high], [y, y], color=row.colour, linewidth=2.2, solid_capstyle="butt")
        face = "white" if row.hollow else row.colour
        axes.plot(
            estimate.value, y, kind.marker, color=row.colour, markerfacecolor=face, markeredgewidth=1.8, markersize=7
        )
        text = f"{kind.name} {written(estimate, form)}"
        axes.text(1.02, y, text, transform=axes.get_yaxis_transform(), fontsize=style.LABEL - 0.5, va="center")
