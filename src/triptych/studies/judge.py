"""The judge: a classifier that evaluates everything generated. It has numbers and no figures or claims."""

from triptych.studies import timing
from triptych.studies.record import Metric, Part, Study

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
        "Share of test images of which the judge is sure: the most that samples can reach.",
        ".1%",
    ),
    *timing.METRICS,
)

STUDY = Study(
    slug="judge",
    short="The judge",
    title="The judge",
    question="A classifier trained with labels, whose predictions and features evaluate everything that the other "
    "networks draw: how far can it be trusted?",
    parts=lambda params: [Part("classifier", "The judge", "classifier", "evaluate_classifier")],
    metrics=METRICS,
    settings={"classifier.training.epochs": "judge: epochs"},
)
