"""The study of the DDPM, and the numbers of its claims that need code."""

from pathlib import Path

from triptych.ddpm.words.figures import FIGURES
from triptych.report.claims import Evidence, Measure, read_claims
from triptych.report.metrics import metrics
from triptych.report.reader import Metrics, UnmeasuredError
from triptych.report.record import Model, Study


def restored(t: int, key: str) -> Measure:
    """Return the measure of images restored from time t, with its interval."""
    return lambda evidence: _restored_from(evidence, t).estimate(key)


def restored_value(t: int, key: str) -> Measure:
    """Return the measure of images restored from time t, without its interval."""
    return lambda evidence: _restored_from(evidence, t).number(key)


def _restored_from(evidence: Evidence, t: int) -> Metrics:
    ddpm = evidence.results.metrics("ddpm")
    for row in ddpm.rows("restoration"):
        if row.number("t") == t:
            return row
    raise UnmeasuredError(f"{ddpm.path} has no restoration from t = {t}; add {t} to sampling.ddpm.restoration.times")


STUDY = Study(
    slug="ddpm",
    short="DDPM",
    title="Denoising diffusion",
    question="A network learns to undo noise, one small step at a time: do its samples beat the VAE's, and from how "
    "much noise does an image come back?",
    models=lambda params: [Model("ddpm", "DDPM", "ddpm", "evaluate_ddpm")],
    metrics=metrics("ddpm", "samples", "guided", "timing"),
    claims=read_claims(Path(__file__).with_name("claims.yaml"), restored, restored_value),
    figures=FIGURES,
    tables={
        "plots/ddpm/training.csv": "ddpm",
        "plots/ddpm/sampling.csv": "evaluate_ddpm",
        "plots/ddpm/guidance.csv": "evaluate_ddpm",
        "metrics/timing/sample/ddpm.json": "sample@ddpm",
    },
    settings={
        "ddpm.network.name": "DDPM: network",
        "ddpm.process.parameterisation": "DDPM: what the network predicts",
        "ddpm.process.schedule.name": "DDPM: noise schedule",
        "ddpm.training.epochs": "DDPM: epochs",
        "ddpm.training.batch_size": "DDPM: batch size",
        "ddpm.training.optimiser.learning_rate": "DDPM: learning rate",
    },
    remark=lambda params: (
        "The DDPM was trained once, with one seed, as was the VAE that it is held against. The "
        "intervals behind these verdicts are over images, so they do not say how far another training would differ."
    ),
)
