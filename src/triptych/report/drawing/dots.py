"""Estimates at a few settings: dots on their intervals, joined along each series, with each seed beside them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib.pyplot as plt

from triptych.measures.estimate import Estimate
from triptych.report.drawing import style
from triptych.report.drawing.curves import Level, draw_level, name_ends, spread_out, write_ticks
from triptych.report.formatting import PERCENT, written

NAME = 9.5  # points, of names and numbers


@dataclass(frozen=True)
class Dot:
    """One run.

    Attributes:
        place: of its setting along the axis, from 0.
        value: its estimate.
        seeds: the value of each seed.
        hollow: whether its dot is.
    """

    place: float
    value: Estimate
    seeds: Sequence[float] = ()
    hollow: bool = False


@dataclass(frozen=True)
class Series:
    """Runs that belong together, joined by a line.

    Attributes:
        label: what stands at its left; empty for none.
        colour: its own.
        dots: from left to right.
    """

    label: str
    colour: str
    dots: Sequence[Dot]


@dataclass(frozen=True)
class Settings:
    """One plot.

    Attributes:
        title: above it.
        ticks: the name of each setting.
        series: what was measured there.
        label: of the horizontal axis.
        levels: lines to compare with.
    """

    title: str
    ticks: Sequence[str]
    series: Sequence[Series]
    label: str = ""
    levels: Sequence[Level] = field(default=())


def by_setting(path: Path, plots: Sequence[Settings], label: str, height: float, title: str, note: str) -> None:
    """Shares by setting, plots side by side with one vertical axis.

    Args:
        path: of the PNG.
        plots: see `Settings`; the last names its levels at the right.
        label: of the vertical axis.
        height: of the plots in inches.
        title: of the figure.
        note: below the title.
    """
    page, cells = plt.subplots(1, len(plots), figsize=(style.WIDTH, height), sharey=True, squeeze=False)
    every = [dot for plot in plots for series in plot.series for dot in series.dots]
    values = [level.value for plot in plots for level in plot.levels]
    low = min([*values, *(min(dot.value.low, *dot.seeds, 1) for dot in every)])
    high = max([*values, *(max(dot.value.high, *dot.seeds, 0) for dot in every)])
    for axes, plot in zip(cells.flat, plots, strict=True):
        for level in plot.levels:
            draw_level(axes, level)
        for series in plot.series:
            _draw(axes, series)
        axes.set_title(plot.title, fontsize=11, fontweight="normal")
        axes.set(xlim=(-0.5, len(plot.ticks) - 0.5), ylim=(max(0.0, low - 0.06), min(1.04, high + 0.06)))
        _write(axes, plot.series)
        axes.set_xticks(range(len(plot.ticks)), plot.ticks, fontsize=9.5)
        axes.set_xlabel(plot.label)
        axes.grid(axis="x", visible=False)
        write_ticks(axes, ".0%")
    edge = cells.flat[-1].get_xlim()[1]
    if plots[-1].levels:
        ends = [(edge, level.value, level.label, level.colour) for level in plots[-1].levels]
        name_ends(cells.flat[-1], ends, NAME)
    cells.flat[0].set_ylabel(label)
    style.finish(path, page, title, note)


def _write(axes: plt.Axes, every: Sequence[Series]) -> None:
    """The number of each dot at its right and the label of each series at its left, clear of those of other series.

    Numbers stand on the side of the line that leaves room. Call it when the limits are set.
    """
    low, high = axes.get_ylim()
    points = 72 * axes.get_position().height * axes.figure.get_size_inches()[1]
    texts: dict[tuple[float, str], list[tuple[float, str, str]]] = {}
    for series in every:
        first = series.dots[0]
        label = ((first.value.value - low) / (high - low), series.label, series.colour)
        texts.setdefault((first.place, "right"), []).append(label)
        for dot, following in zip(series.dots, [*series.dots[1:], None], strict=True):
            rises = following is not None and following.value.value > dot.value.value
            height = (dot.value.value - low) / (high - low) + (-7 if rises else 7) / points
            number = (height, written(dot.value.value, PERCENT), series.colour)
            texts.setdefault((dot.place, "left"), []).append(number)
    for (place, side), found in texts.items():
        left = side == "left"  # where a text begins
        size = NAME if left else NAME + 1
        heights = spread_out([height for height, _, _ in found], 1.2 * size / points)
        for height, (_, text, colour) in zip(heights, found, strict=True):
            axes.annotate(
                text,
                (place if left else place - 0.16, low + height * (high - low)),
                xytext=(8 if left else 0, 0),
                textcoords="offset points",
                ha=side,
                va="center",
                fontsize=size,
                color=colour,
            )


def _draw(axes: plt.Axes, series: Series) -> None:
    """The dots on their intervals, and the seeds at their left."""
    places, values = [dot.place for dot in series.dots], [dot.value.value for dot in series.dots]
    axes.plot(places, values, color=series.colour, linewidth=1.4, alpha=0.6, zorder=2)
    for dot in series.dots:
        bounds = [dot.value.low, dot.value.high]
        axes.plot([dot.place, dot.place], bounds, color=series.colour, linewidth=2.2, zorder=2)
        axes.plot([dot.place - 0.1] * len(dot.seeds), dot.seeds, "o", color=series.colour, markersize=3, alpha=0.5)
        face = "white" if dot.hollow else series.colour
        axes.plot(
            dot.place,
            dot.value.value,
            "o",
            color=series.colour,
            markerfacecolor=face,
            markeredgewidth=1.8,
            markersize=8,
            zorder=3,
        )
