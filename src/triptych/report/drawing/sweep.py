"""Measures against a setting: a plot a measure, in it a line a group, each point with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from triptych.report.drawing import style
from triptych.report.drawing.curves import Level, draw_level, write_ticks


@dataclass(frozen=True)
class Measure:
    """One plot.

    Attributes:
        column: of the table.
        bounds: the columns of its interval, low and high.
        label: of the vertical axis.
        form: of its ticks; see `results.formatting.written`.
        level: a line to compare with.
    """

    column: str
    bounds: tuple[str, str]
    label: str
    form: str
    level: Level


def by_group(
    path: Path, table: pd.DataFrame, setting: str, measures: Sequence[Measure], label: str, title: str, note: str
) -> None:
    """Plots side by side, above them the headline and what the lines are.

    Args:
        path: of the PNG.
        table: columns group (the name of a line), that of the setting, and those of the measures.
        setting: the column on the horizontal axis.
        measures: what is shown.
        label: of the horizontal axis.
        title: of the figure.
        note: below the title.
    """
    page, cells = plt.subplots(1, len(measures), figsize=(style.WIDTH, style.HEIGHT), squeeze=False)
    for axes, measure in zip(cells.flat, measures, strict=True):
        for colour, (name, group) in zip(style.PALETTE, table.groupby("group", sort=False), strict=False):
            spread = np.abs(group[list(measure.bounds)].to_numpy().T - group[measure.column].to_numpy())
            axes.errorbar(
                group[setting], group[measure.column], yerr=spread, marker="o", capsize=3, color=colour, label=name
            )
        draw_level(axes, measure.level)
        axes.lines[-1].set_label(measure.level.label)
        axes.set(xlabel=label, ylabel=measure.label, ylim=(0, None))
        axes.set_xticks(sorted(table[setting].unique()))
        write_ticks(axes, measure.form)
        axes.legend(frameon=False, fontsize=style.LABEL - 1)
    style.finish(path, page, title, note)
