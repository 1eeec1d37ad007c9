"""All studies, in the order in which they are shown."""

from collections.abc import Mapping

from triptych.ddpm.words import study as ddpm
from triptych.judge import words as judge
from triptych.report.claims import Claim
from triptych.report.metrics import METRICS
from triptych.report.record import Figure, Study
from triptych.ssl.words import study as ssl
from triptych.vae.words import study as vae

__all__ = ["CLAIMS", "METRICS", "STUDIES", "figures", "writers"]

STUDIES: tuple[Study, ...] = (judge.STUDY, vae.STUDY, ddpm.STUDY, ssl.STUDY)
CLAIMS: tuple[Claim, ...] = tuple(claim for study in STUDIES for claim in study.claims)


def figures() -> list[Figure]:
    """Return the figures of all studies."""
    return [figure for study in STUDIES for figure in study.figures]


def writers(params: Mapping) -> dict[str, str]:
    """Return every file of numbers that is shown under params.yaml, with the stage that writes it."""
    return {path: stage for study in STUDIES for path, stage in study.writers(params).items()}
