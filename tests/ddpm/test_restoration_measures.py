"""Metrics of restoration: the time at which half of the images have changed class, and the table."""

import numpy as np
import pytest
import torch
from toy_images import pictures

from triptych.ddpm.measure import half_time, restoration_at, restoration_table
from triptych.judge.measure import Judge
from triptych.judge.model import Classifier
from triptych.measures.intervals import Resampling


def test_half_time_is_where_half_of_the_digits_have_changed():
    for shares, time, reached in [
        ([1.0, 0.9, 0.3], 100, True),  # two thirds of the way from 60 to 120
        ([0.9, 0.5, 0.2], 60, True),
        ([0.2, 0.1, 0.1], 18.75, True),  # before the first time, interpolated from share 1 at time 0
        ([1.0, 0.9, 0.6], 120, False),
        ([0.9, 0.45, 0.6], 56.667, True),  # the first of two crossings
    ]:
        result, half_changed = half_time([30, 60, 120], shares)
        assert result == pytest.approx(time, abs=1e-3) and half_changed is reached, shares


def test_perfectly_restored_images_keep_their_class_and_other_images_are_less_similar(one_thread):
    torch.manual_seed(0)
    judge = Judge(Classifier(3, 4, 4, [1, 1], 2), torch.device("cpu"), 5)
    originals, other = pictures(12), pictures(12, seed=1)
    classes, resampling = judge(originals).classes(), Resampling(0, 0.95, 50, "test")
    whole = restoration_at(30, 0.1, originals, classes, other, originals, judge, resampling)
    lost = restoration_at(500, 0.9, originals, classes, other, other, judge, resampling)
    assert whole["same_class"].value == 1 and whole["ssim"].value == pytest.approx(1)
    assert lost["ssim"].high < 0.5 and lost["psnr"].high < whole["psnr"].low
    assert lost["same_class"].value == np.mean(judge(other).classes() == classes)
    assert lost["noised_psnr"] == pytest.approx(lost["psnr"].value)
    table = restoration_table([whole, lost])
    assert list(table) == ["t", "metric", "value", "low", "high"]
    assert table["metric"].tolist() == 2 * ["same_class", "psnr", "ssim"] and table["t"].tolist() == 3 * [30] + 3 * [
        500
    ]
