"""Comparison of estimates with thresholds, and their form in files."""

import json

import pytest

from triptych.core.errors import InputError
from triptych.measures.estimate import Estimate, LeftOut, joined, split


def test_an_estimate_is_beyond_a_threshold_only_with_its_whole_interval():
    number = Estimate(0.5, 0.4, 0.6)
    assert [number.above(threshold) for threshold in (0.3, 0.5, 0.7)] == [True, None, False]
    assert [number.below(threshold) for threshold in (0.3, 0.5, 0.7)] == [False, None, True]
    # An interval whose bound equals the threshold is not beyond it.
    assert (number.above(0.4), number.above(0.6)) == (None, False)
    assert (number.below(0.4), number.below(0.6)) == (False, None)


def test_an_estimate_is_within_a_margin_only_with_its_whole_interval():
    assert Estimate(0.0, -0.1, 0.1).within(0.2) is True
    assert Estimate(0.0, -0.1, 0.3).within(0.2) is None
    assert Estimate(0.5, 0.4, 0.6).within(0.2) is False and Estimate(-0.5, -0.6, -0.4).within(0.2) is False


def test_files_hold_values_under_their_keys_and_bounds_under_intervals():
    rows = [{"t": 30, "psnr": Estimate(2.0, 1.0, 3.0)}, {"t": 60, "psnr": Estimate(3.0, 2.0, 4.0)}]
    numbers = {"floor": 0.1, "share": Estimate(0.5, 0.4, 0.6), "rows": rows, "seeds": [{"seed": 0}]}
    written = split(numbers)
    assert written == {
        "floor": 0.1,
        "share": 0.5,
        "rows": [
            {"t": 30, "psnr": 2.0, "intervals": {"psnr": {"low": 1.0, "high": 3.0}}},
            {"t": 60, "psnr": 3.0, "intervals": {"psnr": {"low": 2.0, "high": 4.0}}},
        ],
        "seeds": [{"seed": 0}],
        "intervals": {"share": {"low": 0.4, "high": 0.6}},
    }
    read = json.loads(json.dumps(written))
    assert joined(read, "share") == numbers["share"]
    assert joined(read["rows"][1], "psnr") == rows[1]["psnr"]
    assert joined(read, "floor") is None and joined(read, "missing") is None


def test_what_is_left_out_has_a_reason_and_no_number():
    few = LeftOut("there are two images")
    written = split({"floor": 0.1, "share": few, "guided": {"share": few, "weight": 2.0}, "rows": [{"psnr": few}]})
    assert written == {
        "floor": 0.1,
        "guided": {"weight": 2.0, "left_out": {"share": "there are two images"}, "intervals": {}},
        "rows": [{"left_out": {"psnr": "there are two images"}, "intervals": {}}],
        "left_out": {"share": "there are two images"},
        "intervals": {},
    }


def test_no_file_holds_a_number_that_is_none():
    for wrong in (float("nan"), float("inf"), Estimate(1.0, 0.0, float("nan"))):
        with pytest.raises(InputError, match=r"rows\.0\..*distance.* must be finite, got (nan|inf); the metrics file"):
            split({"rows": [{"distance": wrong}]})


def test_an_estimate_s_three_numbers_have_names_of_their_own():
    assert Estimate(2.0, 1.0, 3.0).flat("psnr") == {"psnr": 2.0, "psnr_low": 1.0, "psnr_high": 3.0}
