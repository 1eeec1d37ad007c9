"""Curves over epochs or time: one a run in a band over its seeds, named at its end, over levels to compare with."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from triptych.report.drawing import style
from triptych.report.formatting import written

MARKED = 40  # epochs up to which each has its dot
LINE = 0.205  # inches, of a line of a name
UNITS = (("hours", 3600), ("minutes", 60), ("seconds", 1))


@dataclass(frozen=True)
class Curve:
    """One run.

    Attributes:
        name: unlike any other's.
        label: what the figure calls it.
        colour: its own.
        history: columns epoch, seed and what was measured; gaps where it was not.
        dash: how its line is drawn, as matplotlib has it.
    """

    name: str
    label: str
    colour: str
    history: pd.DataFrame = field(repr=False)
    dash: object = "-"

    @property
    def epochs(self) -> int:
        """The last epoch."""
        return int(self.history["epoch"].max())

    @property
    def seeds(self) -> int:
        """How many seeds it has."""
        return self.history["seed"].nunique()

    def mean(self, column: str) -> pd.Series:
        """The mean over seeds at each epoch where the column was measured."""
        return self.history.dropna(subset=[column]).groupby("epoch")[column].mean()


@dataclass(frozen=True)
class Level:
    """A horizontal line to compare with.

    Attributes:
        value: its height.
        label: what it is.
        colour: its own.
        line: its style, as matplotlib has it.
        width: in points.
    """

    value: float
    label: str
    colour: str = style.INK
    line: object = "--"
    width: float = 1.3


def over_epochs(
    path: Path,
    curves: Sequence[Curve],
    column: str,
    ends: Sequence[str],
    levels: Sequence[Level],
    label: str,
    limits: tuple[float, float],
    form: str,
    title: str,
    note: str,
) -> None:
    """One plot of a column over epochs.

    Args:
        path: of the PNG.
        curves: the runs.
        column: of their histories.
        ends: what is written at the end of each curve.
        levels: lines to compare with.
        label: of the vertical axis.
        limits: of the vertical axis.
        form: of its ticks; see `results.formatting.written`.
        title: of the figure.
        note: below the title.
    """
    page, axes = plt.subplots(figsize=(style.WIDTH, style.HEIGHT))
    plot_seeds(axes, curves, column)
    for level in levels:
        draw_level(axes, level)
    axes.set(xlabel="epoch", ylabel=label, ylim=limits)
    write_ticks(axes, form)
    named = [
        (curve.epochs, curve.mean(column).iloc[-1], end, curve.colour) for curve, end in zip(curves, ends, strict=True)
    ]
    named += [(curves[0].epochs, level.value, level.label, level.colour) for level in levels]
    name_ends(axes, named)
    style.finish(path, page, title, note)


def seconds_of_epochs(path: Path, seconds: pd.DataFrame, title: str, note: str) -> None:
    """Time per epoch and in total against the epoch; seconds: columns epoch, seconds."""
    figure, (each, total) = plt.subplots(1, 2, figsize=(style.WIDTH, 4.1))
    sns.lineplot(seconds, x="epoch", y="seconds", marker="o", ax=each, errorbar=None)
    each.axhline(seconds["seconds"].median(), color=style.MUTED, linestyle="--", linewidth=1)
    each.set(xlabel="epoch", ylabel="seconds for the epoch", ylim=(0, 1.25 * seconds["seconds"].max()))
    each.set_title("each epoch (dashed: median)", fontweight="normal", fontsize=10.5)
    sns.lineplot(x=seconds["epoch"], y=seconds["seconds"].cumsum() / 60, marker="o", ax=total, errorbar=None)
    total.set(xlabel="epoch", ylabel="minutes since the start", ylim=(0, None))
    total.set_title("in total", fontweight="normal", fontsize=10.5)
    for axes in (each, total):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.finish_below(path, figure, 0.86, title, note)


# Parts of plots -------------------------------------------------------------------------------------------------------


def plot_seeds(
    axes: Axes,
    curves: Sequence[Curve],
    column: str,
    x: str = "epoch",
    markersize: float = 7,
    pale: Collection[str] = (),
) -> None:
    """A line for each curve, the mean over seeds, in a band from the lowest to the highest seed.

    Args:
        axes: where.
        curves: the runs.
        column: what is shown.
        x: against what; each epoch stands at the mean over seeds.
        markersize: in points.
        pale: names of curves that are drawn thin and without a band, behind the others.
    """
    drawn = {curve.name: curve.history.dropna(subset=[column]).groupby("epoch") for curve in curves}
    marker = "o" if max(len(epochs) for epochs in drawn.values()) <= MARKED else None
    for curve in sorted(curves, key=lambda curve: curve.name not in pale):
        epochs, behind = drawn[curve.name], curve.name in pale
        places, seeds = epochs[x].mean(), epochs[column]
        axes.plot(
            places,
            seeds.mean(),
            color=curve.colour,
            linestyle=curve.dash,
            marker=None if behind else marker,
            markersize=markersize,
            markeredgecolor="white",
            linewidth=1.0 if behind else 1.8,
            alpha=0.55 if behind else 1.0,
            zorder=2.0 if behind else 2.5,
        )
        if not behind:
            axes.fill_between(places, seeds.min(), seeds.max(), color=curve.colour, alpha=0.2, linewidth=0)
    axes.set_xlim(0, 1.02 * max(float(epochs[x].mean().max()) for epochs in drawn.values()))
    if x == "epoch":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def draw_level(axes: Axes, level: Level) -> None:
    """The line of a level, without its name."""
    axes.axhline(level.value, color=level.colour, linestyle=level.line, linewidth=level.width)


def write_ticks(axes: Axes, form: str) -> None:
    """Numbers of the vertical axis in a format."""
    axes.yaxis.set_major_formatter(lambda value, _: written(value, form))


def name_ends(
    axes: Axes, ends: Sequence[tuple[float, float, str, str]], size: float = style.LABEL, reach: float = 0.025
) -> list[float]:
    """Names curves beside the right edge, each tied to its end.

    Call it when the limits are set.

    Args:
        axes: where.
        ends: (x, y, name, colour).
        size: of the names, in points.
        reach: how far the ties go beyond the edge, as a share of the width.

    Returns:
        Where each name stands, as a share of the height.
    """
    low, high = axes.get_ylim()
    right = axes.get_xlim()[1]
    lines = max(name.count("\n") + 1 for _, _, name, _ in ends)
    inches = axes.figure.get_size_inches()[1] - 0.75  # less the axis below
    gap = LINE * size / style.LABEL * lines / inches
    heights = spread_out([(y - low) / (high - low) for _, y, _, _ in ends], gap)
    across = axes.get_yaxis_transform()  # x as a share of the width, y as data
    for (x, y, name, colour), height in zip(ends, heights, strict=True):
        level = low + height * (high - low)
        axes.plot([x, right], [y, y], color=colour, linewidth=0.8, alpha=0.45, zorder=1)
        axes.plot([1, 1 + reach], [y, level], color=colour, linewidth=0.8, transform=across, clip_on=False)
        axes.text(
            1.007 + reach, level, name, color=colour, fontsize=size, va="center", transform=across, linespacing=1.1
        )
    return heights


def unit_of_time(seconds: float) -> tuple[str, int]:
    """The unit in which so long a time is written on an axis, and its seconds."""
    return next(((unit, length) for unit, length in UNITS if seconds >= 3 * length), UNITS[-1])


def spread_out(heights: Sequence[float], gap: float) -> list[float]:
    """The heights moved to lie at least `gap` apart within [0, 1], by the least squares (pool adjacent violators)."""
    order = np.argsort(heights, kind="stable")
    # Less the gaps that are due below each, the heights need only rise; groups that would fall share their mean.
    groups: list[list[float]] = []
    for place, index in enumerate(order):
        groups.append([heights[index] - gap * place])
        while len(groups) > 1 and np.mean(groups[-2]) >= np.mean(groups[-1]):
            groups[-2:] = [groups[-2] + groups[-1]]
    means = np.clip([np.mean(group) for group in groups for _ in group], 0, max(0, 1 - gap * (len(order) - 1)))
    placed = np.empty(len(order))
    placed[order] = means + gap * np.arange(len(order))
    return placed.tolist()
