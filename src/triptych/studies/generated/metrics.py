"""The words of what is measured on generated images, by the same measures for every model that makes some."""

from triptych.studies.record import Metric

METRICS = (
    Metric(
        "frechet_distance",
        "Fréchet distance",
        "Between samples and test images, in the judge's penultimate features; lower is better.",
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
        "Sharpness of samples over that of real images: 1 is as sharp, below is blurry.",
        ".2f",
    ),
    Metric(
        "precision",
        "precision",
        "Share of samples that lie among the real images in the judge's features.",
        ".1%",
        "real_precision",
        "training images",
    ),
    Metric(
        "recall", "recall", "Share of real images that lie among the samples.", ".1%", "real_recall", "training images"
    ),
    Metric("clipped_share", "clipped values", "Share of sample values cut off at black or white.", ".1%"),
    Metric("median_spread", "spread of a median sample", "Standard deviation of its pixels, on [-1, 1].", ".2f"),
    Metric("samples", "samples", "How many images were drawn for these numbers.", ",.0f"),
)
