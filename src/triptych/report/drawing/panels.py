"""Several small plots on one page: runs by several measures, and measures with their bands against a setting."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from triptych.report.drawing import style
from triptych.report.drawing.curves import Curve, Level, draw_level, name_ends, plot_seeds, write_ticks

ZONE = "#F7DEDB"  # of values to stay out of


@dataclass(frozen=True)
class Panel:
    """One plot of the page.

    Attributes:
        column: of the curves' histories.
        title: above it.
        label: of the vertical axis.
        curves: the runs that it shows.
        limits: of the vertical axis; None leaves an end to the data.
        logarithmic: whether the vertical axis is.
        zone: (low, high) of values to stay out of.
        levels: lines to compare with.
        form: of the ticks; see `results.formatting.written`.
        x: what the horizontal axis shows: a column of the histories.
        x_label: of the horizontal axis.
        ends: what is written at the end of each curve; empty where a legend names them.
    """

    column: str
    title: str
    label: str
    curves: Sequence[Curve]
    limits: tuple[float | None, float | None] | None = None
    logarithmic: bool = False
    zone: tuple[float, float] | None = None
    levels: Sequence[Level] = ()
    form: str = ""
    x: str = "epoch"
    x_label: str = "epoch"
    ends: Sequence[str] = ()


def by_measure(
    path: Path,
    panels: Sequence[Panel],
    names: Mapping[str, str],
    pale: Mapping[str, str],
    marks: Mapping[str, float],
    mark_name: str,
    zone_name: str,
    title: str,
    note: str,
) -> None:
    """A plot a measure, at most five, and in the next cell what the lines are.

    Args:
        path: of the PNG.
        panels: the plots.
        names: what the legend calls the curves that stand out, by the curve's name.
        pale: what it calls the others, which are drawn thin; those without a name are left out of it.
        marks: the epoch at which a curve has a cross, by the curve's name.
        mark_name: what the crosses are.
        zone_name: what the zones are.
        title: of the figure.
        note: below the title.
    """
    curves = {curve.name: curve for panel in panels for curve in panel.curves}
    behind = [name for name in curves if name not in names]
    entries = [
        (Line2D([], [], color=curves[name].colour, linestyle=curves[name].dash, linewidth=2.2), words)
        for name, words in names.items()
    ]
    entries += [
        (Line2D([], [], color=curves[name].colour, linestyle=curves[name].dash, linewidth=1.0, alpha=0.7), words)
        for name, words in pale.items()
        if words
    ]
    entries.append((Line2D([], [], color=style.MUTED, marker="X", linestyle="", markersize=9), mark_name))
    entries.append((Patch(color=ZONE), zone_name))
    levels = {level.label: level for panel in panels for level in panel.levels}
    entries += [(Line2D([], [], color=level.colour, linestyle=level.line), name) for name, level in levels.items()]
    page, cells = plt.subplots(2, 3, figsize=(style.WIDTH, max(5.6, 1.2 + 0.42 * len(entries))))
    for axes, panel in zip(cells.flat, panels, strict=False):
        _draw(axes, panel, marks, behind)
    empty = cells.flat[len(panels) :]
    for axes in empty:
        axes.set_axis_off()
    # Left of its cell, so that long names stay on the page.
    place = {"loc": "upper left", "bbox_to_anchor": (-0.3, 1.08), "frameon": False, "fontsize": style.LABEL - 0.5}
    empty[0].legend(handles=[handle for handle, _ in entries], labels=[words for _, words in entries], **place)
    style.finish(path, page, title, note)


def in_a_row(path: Path, panels: Sequence[Panel], height: float, title: str, note: str) -> None:
    """Plots side by side, as high as given in inches, each naming its curves at their ends where it has names."""
    page, cells = plt.subplots(1, len(panels), figsize=(style.WIDTH, height), squeeze=False)
    for axes, panel in zip(cells.flat, panels, strict=True):
        _draw(axes, panel, {}, ())
        if panel.ends:
            ends = [
                (*_end(curve, panel), name, curve.colour) for curve, name in zip(panel.curves, panel.ends, strict=True)
            ]
            last = max(x for x, *_ in ends)
            name_ends(axes, ends + [(last, level.value, level.label, level.colour) for level in panel.levels], 9.5)
    style.finish(path, page, title, note)


def against(
    path: Path,
    table: pd.DataFrame,
    names: Mapping[str, str],
    shares: Sequence[str],
    marked: Sequence[int],
    label: str,
    title: str,
    note: str,
) -> None:
    """A plot a measure against t, with its band; table: t, metric, value, low, high.

    Args:
        path: of the PNG.
        table: the measures.
        names: what the plot calls each metric.
        shares: the metrics that lie between 0 and 1.
        marked: values of t with a vertical line.
        label: of the horizontal axis.
        title: of the figure.
        note: below the title.
    """
    figure, panels = plt.subplots(1, len(names), figsize=(style.WIDTH, 3.9))
    for axes, (metric, name) in zip(panels, names.items(), strict=True):
        rows = table[table["metric"] == metric].sort_values("t")
        sns.lineplot(rows, x="t", y="value", marker="o", ax=axes, errorbar=None)
        axes.fill_between(rows["t"], rows["low"], rows["high"], alpha=0.2)
        for t in marked:
            axes.axvline(t, color=style.ACCENT, linestyle="--", linewidth=1.2)
        axes.set(xlabel=label, ylabel=name, xscale="log")
        ticks = sorted({int(rows["t"].min()), int(rows["t"].max()), *marked})
        axes.set_xticks(ticks, [str(t) for t in ticks], fontsize=9)
        axes.minorticks_off()
        if metric in shares:
            axes.set_ylim(0, 1.03)
    style.finish_below(path, figure, 0.84, title, note)


def _end(curve: Curve, panel: Panel) -> tuple[float, float]:
    """Where a curve ends in a plot."""
    rows = curve.history.dropna(subset=[panel.column])
    last = rows[rows["epoch"] == rows["epoch"].max()]
    return float(last[panel.x].mean()), float(last[panel.column].mean())


def _draw(axes: Axes, panel: Panel, marks: Mapping[str, float], behind: Collection[str]) -> None:
    plot_seeds(axes, panel.curves, panel.column, panel.x, markersize=4, pale=behind)
    axes.set_title(panel.title, fontsize=11, fontweight="normal")
    axes.set(xlabel=panel.x_label, ylabel=panel.label)
    for curve in panel.curves:
        if curve.name in marks:
            mean = curve.mean(panel.column)
            height = np.interp(marks[curve.name], mean.index, mean)
            axes.plot(
                marks[curve.name], height, "X", color=curve.colour, markeredgecolor="white", markersize=9, zorder=5
            )
    if panel.logarithmic:
        axes.set(yscale="log")
    if panel.limits:
        axes.set(ylim=panel.limits)
    if panel.zone:
        axes.axhspan(*panel.zone, color=ZONE, linewidth=0, zorder=0)
    if panel.logarithmic:
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    for level in panel.levels:
        draw_level(axes, level)
    if panel.form:
        write_ticks(axes, panel.form)
