"""All studies, in the order in which they are shown."""

from collections.abc import Mapping

from triptych.ddpm.words import study as ddpm
from triptych.judge import words as judge
from triptych.report.record import Claim, Figure, Metric, Study
from triptych.ssl.words import study as ssl
from triptych.vae.words import study as vae

STUDIES: tuple[Study, ...] = (judge.STUDY, vae.STUDY, ddpm.STUDY, ssl.STUDY)
CLAIMS: tuple[Claim, ...] = tuple(claim for study in STUDIES for claim in study.claims)
# The words of every key; what a number is read against goes by that number's name.
METRICS: dict[str, Metric] = {
    metric.reference: Metric(metric.reference, f"{metric.name}, {metric.reference_name}", format=metric.format)
    for study in STUDIES
    for metric in study.metrics
    if metric.reference
} | {metric.key: metric for study in STUDIES for metric in study.metrics}


def figures() -> list[Figure]:
    """The figures of all studies."""
    return [figure for study in STUDIES for figure in study.figures]


def writers(params: Mapping) -> dict[str, str]:
    """Every file of numbers that is shown under the given params.yaml, with the stage that writes it."""
    return {path: stage for study in STUDIES for path, stage in study.writers(params).items()}
