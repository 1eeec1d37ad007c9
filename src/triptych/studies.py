"""The three studies and the reference classifier, in the order of the HTML page."""

from collections.abc import Mapping
from pathlib import Path

import triptych.ddpm.words.figures as ddpm
import triptych.ssl.words.figures as ssl
import triptych.vae.words.figures as vae
from triptych.report.claims import Claim
from triptych.report.record import METRICS, Figure, Study, read_study
from triptych.ssl.words import compared, variants
from triptych.vae.words.claims import epoch_times, latent_shares

__all__ = ["CLAIMS", "METRICS", "STUDIES", "figures", "writers"]

PACKAGE = Path(__file__).parent
STUDIES: tuple[Study, ...] = (
    read_study(PACKAGE / "judge"),
    read_study(PACKAGE / "vae/words", epoch_times, latent_shares, figures=vae.FIGURES),
    read_study(PACKAGE / "ddpm/words", figures=ddpm.FIGURES),
    read_study(
        PACKAGE / "ssl/words",
        *compared.FUNCTIONS,
        figures=ssl.FIGURES,
        models=variants.models,
        remark=variants.remark,
    ),
)
CLAIMS: tuple[Claim, ...] = tuple(claim for study in STUDIES for claim in study.claims)


def figures() -> list[Figure]:
    """Return the figures of all studies in the order of the studies."""
    return [figure for study in STUDIES for figure in study.figures]


def writers(params: Mapping) -> dict[str, str]:
    """Map the path of each result file to the DVC stage that writes it. `params` is the content of params.yaml."""
    return {path: stage for study in STUDIES for path, stage in study.writers(params).items()}
