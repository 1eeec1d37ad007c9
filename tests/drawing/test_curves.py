"""Curves show the mean over seeds where it was measured, and their names keep apart."""

import numpy as np
import pandas as pd
import pytest

from triptych.drawing.curves import Curve, spread_out


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
