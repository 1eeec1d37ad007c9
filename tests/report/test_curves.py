"""Curves show the mean over seeds where it was measured, and their names keep apart."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from triptych.report.drawing.curves import Curve, name_ends, plot_seeds, spread_out, unit_of_time


def test_the_line_is_the_mean_over_seeds_where_measured():
    history = pd.DataFrame(
        {"epoch": [1, 2, 3, 1, 2, 3], "seed": [0, 0, 0, 1, 1, 1], "knn": [0.1, np.nan, 0.3, 0.3, np.nan, 0.5]}
    )
    curve = Curve("a", "A", "teal", history)
    assert curve.mean("knn").to_dict() == pytest.approx({1: 0.2, 3: 0.4})
    assert (curve.epochs, curve.seeds) == (3, 2)


def test_names_keep_apart():
    for heights, placed in [
        ([0.9, 0.1], [0.9, 0.1]),  # far apart: nobody moves
        ([0.5, 0.5], [0.45, 0.55]),  # both give way alike
        ([0.52, 0.48, 0.9], [0.55, 0.45, 0.9]),
        ([0.0, 0.01], [0.0, 0.1]),  # none leaves the plot
        ([1.0, 0.99, 1.0], [0.9, 0.8, 1.0]),
    ]:
        assert spread_out(heights, 0.1) == pytest.approx(placed), heights


def test_a_line_stands_where_its_epochs_cost_what_they_cost_on_average_in_a_band_over_seeds():
    history = pd.DataFrame(
        {"epoch": [1, 2, 1, 2], "seed": [0, 0, 1, 1], "knn": [0.1, 0.3, 0.3, 0.5], "seconds": [1.0, 2.0, 3.0, 6.0]}
    )
    curves = [Curve("a", "A", "teal", history), Curve("b", "B", "navy", history, dash="--")]
    page, axes = plt.subplots()
    plot_seeds(axes, curves, "knn", x="seconds", pale=["b"])
    pale, line = axes.get_lines()
    assert line.get_xydata().tolist() == pytest.approx(np.array([[2.0, 0.2], [4.0, 0.4]]))
    assert (pale.get_color(), pale.get_linestyle()) == ("navy", "--") and pale.get_linewidth() < line.get_linewidth()
    [band] = axes.collections  # that of the other alone
    assert band.get_datalim(axes.transData).extents == pytest.approx([2.0, 0.1, 4.0, 0.5])
    plt.close(page)


def test_names_stand_beside_the_ends_that_they_name():
    page, axes = plt.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 2))
    heights = name_ends(axes, [(1, 0.5, "low", "teal"), (0.5, 1.5, "high", "navy")])
    assert heights == pytest.approx([0.25, 0.75])
    assert {text.get_text(): text.get_position()[1] for text in axes.texts} == pytest.approx({"low": 0.5, "high": 1.5})
    plt.close(page)


def test_times_are_written_in_a_unit_that_leaves_small_numbers():
    assert [unit_of_time(seconds) for seconds in (20, 100, 1000, 20_000)] == [
        ("seconds", 1),
        ("seconds", 1),
        ("minutes", 60),
        ("hours", 3600),
    ]
