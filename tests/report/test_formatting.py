"""Numbers as text."""

from triptych.measures.estimate import Estimate
from triptych.report.formatting import (
    PERCENT,
    PLAIN,
    POINTS,
    duration,
    hardware,
    written,
    written_interval,
    written_limit,
)


def test_written():
    for value, form, text in [
        (None, ".3f", "–"),
        (True, ".3f", "yes"),
        (False, ".3f", "no"),
        (-0.25, ".2f", "−0.25"),
        (0.973, PERCENT, "97.3 %"),
        (-0.284, POINTS, "−28.4 points"),
        (0.5, PLAIN, "0.50"),
        (-12.34, PLAIN, "−12.3"),
        (12000, ",", "12,000"),
        ([1, 2.5], "", "1, 2.5"),
        ("mlp", ".3f", "mlp"),
        (Estimate(0.382, 0.352, 0.423), PERCENT, "38.2 % (35.2 to 42.3 %)"),
        (Estimate(-0.285, -0.303, -0.267), POINTS, "−28.5 points (−30.3 to −26.7 points)"),
        (Estimate(-12.348, -12.74, -11.98), "#.3g", "−12.3 (−12.7 to −12.0)"),
    ]:
        assert written(value, form).replace("\u00a0", " ") == text, (value, form)


def test_no_line_breaks_between_a_number_and_its_percent_sign():
    assert written(0.5, PERCENT) == "50.0\u00a0%" and written_interval(Estimate(0, 0.1, 0.2), PERCENT).endswith(
        "\u00a0%"
    )


def test_a_threshold_keeps_the_digits_it_was_given():
    assert [written_limit(0.8), written_limit(-0.95)] == ["0.8", "−0.95"]
    assert written_limit(0.55, PERCENT) == "55\u00a0%"
    assert [written_limit(0.05, POINTS), written_limit(0.01, POINTS)] == ["5 points", "1 point"]


def test_durations():
    assert [duration(s) for s in (1.25, 48.2, 204, 7500)] == ["1.25 s", "48 s", "3 min 24 s", "2 h 05 min"]


def test_hardware():
    assert hardware({"device": "cpu", "threads": 2, "processes": 1}) == "CPU, 2 threads"
    assert hardware({"device": "cpu", "threads": 1, "processes": 2}) == "CPU, 2 processes of 1 thread"
    assert hardware({"device": "NVIDIA H100", "threads": 8}) == "NVIDIA H100, 8 threads"
    assert hardware({}) == "unknown device, 1 thread"
