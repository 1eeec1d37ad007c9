"""Metrics of generated images, which the studies of both generative models share."""

from dataclasses import replace

from triptych.report.record import Metric

# What samples drawn in another way from the same weights are compared by.
COMPARED = ("frechet_distance", "recognisability", "sharpness_ratio", "precision", "recall")
METRICS = (
    Metric(
        "frechet_distance",
        "Fréchet distance",
        "How far the samples as a whole are from the test images, in the judge's last features; lower is better.",
        ",.2f",
        "frechet_floor",
        "training against test images",
        headline=True,
    ),
    Metric(
        "recognisability",
        "recognisability",
        "Share of samples in which the judge is sure of a class.",
        ".1%",
        "real_recognisability",
        "test images",
        headline=True,
    ),
    Metric(
        "sharpness_ratio",
        "sharpness ratio",
        "Sharpness of samples over that of real images: 1 is as sharp, less is blurry.",
        ".2f",
    ),
    Metric(
        "precision",
        "precision",
        "Share of samples that look real: in the judge's features they lie among real images.",
        ".1%",
        "real_precision",
        "training images",
    ),
    Metric(
        "recall",
        "recall",
        "Share of real images that the samples cover: in the judge's features they lie among samples.",
        ".1%",
        "real_recall",
        "training images",
    ),
    Metric("clipped_share", "clipped values", "Share of sample values cut off at black or white.", ".1%"),
    Metric(
        "median_spread",
        "spread of a median sample",
        "Contrast of a typical sample: standard deviation of its pixels, on [-1, 1].",
        ".2f",
    ),
    Metric("samples", "samples", "Images drawn for these numbers.", ",.0f"),
)


def of_other_samples(key: str, name: str) -> tuple[Metric, ...]:
    """The words of the numbers of samples drawn in another way from the same weights.

    Args:
        key: of the mapping in which they stand.
        name: what such samples are called.
    """
    return tuple(
        replace(
            metric,
            key=f"{key}.{metric.key}",
            name=f"{metric.name}, {name}",
            reference="",
            reference_name="",
            headline=False,
        )
        for metric in METRICS
        if metric.key in COMPARED
    )
