"""The study of the judge, the classifier that evaluates generated images. It has no figures or claims."""

from triptych.report.metrics import metrics
from triptych.report.record import Model, Study

STUDY = Study(
    slug="judge",
    short="The judge",
    title="The judge",
    question="A classifier, trained with labels, reads the digits that the other networks draw, and distances between "
    "images are measured in its features. How far can it be trusted?",
    models=lambda params: [Model("classifier", "The judge", "classifier", "evaluate_classifier")],
    metrics=metrics("judge", "timing"),
    settings={"classifier.training.epochs": "judge: epochs"},
)
