"""The words of wall-clock times, which every training stage writes."""

from triptych.report.record import Metric

METRICS = (
    Metric("seconds_per_epoch", "seconds per epoch", format=",.2f"),
    Metric("seconds_total", "training, seconds", format=",.1f", headline=True),
    Metric("images_per_second", "images per second", format=",.0f"),
    Metric("parameters", "parameters", format=",.0f"),
)
