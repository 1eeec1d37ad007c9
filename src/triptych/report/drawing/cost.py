"""Quality against cost: a line a group, each point with its interval and its name."""

import itertools
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from triptych.report.drawing import style
from triptych.report.drawing.curves import Level


def by_group(path: Path, table: pd.DataFrame, floor: Level, labels: tuple[str, str], title: str, note: str) -> None:
    """Values against cost on a logarithmic axis.

    Args:
        path: of the PNG.
        table: columns group, point (a whole number, written beside the point), cost, value, low, high.
        floor: what no value falls below.
        labels: of the axes, x and y.
        title: of the figure.
        note: below the title.
    """
    figure, axes = plt.subplots(figsize=(style.WIDTH, 4.6))
    # Groups of equal points cost almost the same: each has its own corner for the names.
    corners = itertools.cycle([(5, -14), (5, 6), (-5, -14), (-5, 6)])
    groups = table.sort_values("cost").groupby("group", sort=False)
    for colour, corner, (name, group) in zip(style.PALETTE, corners, groups, strict=False):
        spread = np.abs(group[["low", "high"]].to_numpy().T - group["value"].to_numpy())
        axes.errorbar(
            group["cost"],
            group["value"],
            yerr=spread,
            marker="o",
            capsize=3,
            color=colour,
            label=name.replace("_", " "),
        )
        for row in group.itertuples():
            axes.annotate(
                f"{row.point:,}",
                (row.cost, row.value),
                xytext=corner,
                textcoords="offset points",
                ha="left" if corner[0] > 0 else "right",
                fontsize=9,
                color=colour,
            )
    axes.axhline(floor.value, color=floor.colour, linestyle=floor.line, linewidth=floor.width, label=floor.label)
    axes.set(xlabel=labels[0], ylabel=labels[1], xscale="log", ylim=(0, None))
    # Whole decades are far apart here, and matplotlib's ticks between them overlap.
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.1)
    axes.legend(frameon=False)
    style.finish_below(path, figure, 0.86, title, note)
