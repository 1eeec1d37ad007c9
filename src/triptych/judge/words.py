"""The judge: a classifier that evaluates everything generated. It has numbers and no figures or claims."""

from triptych.report import timing
from triptych.report.record import Metric, Part, Study

METRICS = (
    Metric(
        "test_accuracy",
        "test accuracy",
        "Share of test images that the judge classifies correctly.",
        ".1%",
        headline=True,
    ),
    Metric(
        "test_recognisability",
        "recognised test images",
        "Share of test images in which the judge is sure of a class: the most that samples can be expected to reach.",
        ".1%",
    ),
    *timing.METRICS,
)

STUDY = Study(
    slug="judge",
    short="The judge",
    title="The judge",
    question="A classifier, trained with labels, reads the digits that the other networks draw, and distances between "
    "images are measured in its features. How far can it be trusted?",
    parts=lambda params: [Part("classifier", "The judge", "classifier", "evaluate_classifier")],
    metrics=METRICS,
    settings={"classifier.training.epochs": "judge: epochs"},
)
