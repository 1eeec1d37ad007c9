"""The words of the numbers of encoders that learn by comparing views."""

from triptych.report import timing
from triptych.report.reader import Metrics
from triptych.report.record import Metric


def collapse_in_words(metrics: Metrics) -> str:
    """`no`, or the kind of collapse and since when: `complete from epoch 2`."""
    if not metrics.values["collapsed"]:
        return "no"
    kind, since = metrics.value("collapse_kind"), metrics.value("collapsed_since_epoch")
    return (kind or "yes") + ("" if since is None else f" from epoch {since}")


METRICS = (
    Metric(
        "knn_accuracy",
        "kNN accuracy",
        "k nearest neighbours in the encoder's features, last epoch, all test images.",
        ".1%",
        "random_init_knn_accuracy",
        "untrained",
        headline=True,
        short="kNN",
    ),
    Metric(
        "random_init_knn_accuracy",
        "kNN accuracy, untrained",
        "The floor: the same encoder with random weights, and with statistics of training images in its batch norms.",
        ".1%",
    ),
    Metric(
        "pixel_knn_accuracy",
        "kNN accuracy of pixels",
        "Without any encoder: nearest neighbours among the pixels as the encoder receives them, standardised.",
        ".1%",
    ),
    Metric(
        "raw_pixel_knn_accuracy",
        "kNN accuracy of raw pixels",
        "The same among the pixels of the dataset, as they are.",
        ".1%",
    ),
    Metric(
        "linear_accuracy",
        "linear accuracy",
        "A linear classifier on frozen features.",
        ".1%",
        "random_init_linear_accuracy",
        "untrained",
        headline=True,
        short="linear",
    ),
    Metric(
        "pixel_linear_accuracy",
        "linear accuracy of pixels",
        "Without any encoder: a linear classifier on the pixels as the encoder receives them, standardised.",
        ".1%",
    ),
    Metric(
        "raw_pixel_linear_accuracy",
        "linear accuracy of raw pixels",
        "The same on the pixels of the dataset, as they are.",
        ".1%",
    ),
    Metric(
        "embedding_std",
        "embedding std",
        "Spread of the normalised embedding times √d: 1 is healthy, 0 is collapsed.",
        short="std",
    ),
    Metric(
        "effective_rank",
        "effective rank",
        "RankMe: how many directions the embedding uses.",
        ".1f",
        short="rank",
    ),
    Metric(
        "alignment",
        "alignment",
        "Mean squared distance of two views of an image on the unit sphere: 0 alike, 2 unrelated.",
    ),
    Metric(
        "uniformity",
        "uniformity",
        "How evenly embeddings cover the sphere: 0 is one point, about −4 is even.",
        ".2f",
    ),
    Metric("final_loss", "final loss", "Training loss of the last epoch."),
    Metric(
        "collapsed",
        "collapsed",
        "By embedding std and rank, not by accuracy.",
        headline=True,
        short="collapsed",
        words=collapse_in_words,
        tells=("collapsed_since_epoch",),
    ),
    # Of each seed
    Metric("collapsed_since_epoch", "collapsed since epoch", format=".0f"),
    Metric("seed", "seed", format=".0f"),
    *timing.METRICS,
)
